/**
 * Plugs disks into v86's IDE controller, which by itself offers two disks and a CD drive. Four drives, in the order in
 * which Linux names them:
 *
 *   sda  primary master      sdb  primary slave
 *   sdc  secondary master    sdd  secondary slave
 *
 * The CD drive, which stands where sdc does, stays as long as no disk takes its place.
 */

/** A disk as v86 wants it: its own buffers in memory have the same shape. Offsets and lengths are whole sectors, in bytes. */
export interface DriveDevice {
  readonly byteLength: number;
  onload?: unknown;
  load(): void;
  get(offset: number, length: number, done: (bytes: Uint8Array) => void, options?: unknown): void;
  /** The bytes must be taken before it returns: v86 uses their memory again. */
  set(offset: number, bytes: Uint8Array, done: () => void): void;
  /** What is in memory already, or undefined. The first sector is read this way: its partitions tell the disk's geometry. */
  get_from_cache(offset: number, length: number): Uint8Array | undefined;
  get_buffer(done: (buffer?: ArrayBuffer) => void): void;
  get_state(): unknown;
  set_state(state: unknown): void;
  /**
   * Has the device its write cache stored, for good: then `done` is called. A device that has this tells the guest of a write
   * cache, and may answer writes before they are stored once it was called.
   */
  flush?(done: () => void): void;
  /** The guest switches the write cache on or off. */
  setCaching?(isOn: boolean): void;
  /** Resolves when everything that was asked of it is answered and stored; one without it always answers at once. */
  settled?(): Promise<void>;
  /** Whether something is not answered or not stored yet. */
  isBusy?(): boolean;
  /** Set by `plugDrives`. The device calls it in place of `done` when it cannot do what it was asked. */
  onFault?: (() => void) | null;
}

/** v86's IDE interface, as far as it is used. Its objects are sealed: nothing can be added to them. */
export interface IdeInterface {
  is_atapi: boolean | undefined;
  drive_connected: boolean;
  sector_size: number;
  buffer: unknown;
  status_reg: number;
  error_reg: number;
  features_reg: number;
  current_command: number;
  channel: { dma_status: number };
  /** Of the command that is being answered. */
  data: Uint8Array;
  ata_command(command: number): void;
  /** Answers IDENTIFY DEVICE into `data`. */
  create_identify_packet(): void;
  push_irq(): void;
  set_disk_buffer(buffer: unknown): void;
}

export interface IdeController {
  primary: { master: IdeInterface; slave: IdeInterface } | undefined;
  secondary: { master: IdeInterface; slave: IdeInterface } | undefined;
}

const SECTOR_BYTES = 512;
const GAP_BYTES = 1024 * 1024;

/** Registers of the ATA and the bus master IDE standards. */
const STATUS_READY_AND_ERROR = 0x41;
/** "Uncorrectable": what Linux does not try again. */
const ERROR_UNCORRECTABLE = 0x40;
const DMA_ACTIVE = 0x01;
const NO_COMMAND = -1;
const STATUS_BUSY = 0x80;
const STATUS_READY = 0x50;
const FLUSH_CACHE = 0xe7;
const FLUSH_CACHE_EXT = 0xea;
const SET_FEATURES = 0xef;
const WRITE_CACHE_ON = 0x02;
const WRITE_CACHE_OFF = 0x82;
/** Words of IDENTIFY DEVICE with the features that there are and those that are on, and the write cache's bit in both. */
const SUPPORTED_WORD = 82;
const ENABLED_WORD = 85;
const WRITE_CACHE = 0x20;

/**
 * What v86 is given as first disk: it makes the primary channel only when there is one, and reads its first sector. Every
 * machine has both channels, so that one that was saved without disks can be restored with some.
 */
export function placeholder(): object {
  const empty = emptyDrive();
  return Object.assign(empty, { get_and_cache: empty.get });
}

/** Zeros that nobody can write to, to fill a gap between drives: Linux names them in the order in which they are there. */
export function emptyDrive(): DriveDevice {
  const device: DriveDevice = {
    byteLength: GAP_BYTES,
    load: () => (device.onload as ((event: object) => void) | undefined)?.({}),
    get: (_offset, length, done) => done(new Uint8Array(length)),
    set: () => device.onFault?.(),
    get_from_cache: (_offset, length) => new Uint8Array(length),
    get_buffer: (done) => done(),
    get_state: () => [],
    set_state: () => {},
  };
  return device;
}

/** The drives of a machine. */
export interface PluggedDrives {
  /** Plugs others in: the guest must not know of those places yet. */
  plug(drives: readonly (DriveDevice | null)[]): void;
  /** Says again which places have a drive: v86 forgets it when it restores a machine. */
  connect(): void;
}

/**
 * To be called after v86 has made the controller and before the machine runs.
 * @param wake is called when a device has answered
 */
export function plugDrives(
  { primary, secondary }: IdeController,
  drives: readonly (DriveDevice | null)[],
  wake: () => void,
): PluggedDrives {
  const places = [primary?.master, primary?.slave, secondary?.master, secondary?.slave];
  const result = {
    plug(devices: readonly (DriveDevice | null)[]) {
      for (const [index, place] of places.entries()) {
        const device = devices[index];
        if (place && device) plugIn(place, device, wake);
      }
    },
    connect() {
      for (const place of places) if (place && !place.is_atapi) place.drive_connected = place.buffer !== null;
    },
  };
  // v86's own first disk was only there to make the channel.
  if (primary) primary.master.buffer = null;
  result.plug(drives);
  result.connect();
  return result;
}

interface Plugged {
  device: DriveDevice;
  wake: () => void;
  isCaching: boolean;
}

/** What is plugged in, of all machines. */
const plugged = new WeakMap<IdeInterface, Plugged>();
const taught = new WeakSet<object>();

/** v86's drives say that they have no write cache, and answer flushes at once: they learn it from their prototype. */
function teachFlush(drive: IdeInterface): void {
  const kind = Object.getPrototypeOf(drive) as IdeInterface;
  if (taught.has(kind)) return;
  taught.add(kind);
  const { ata_command: command, create_identify_packet: identify } = kind;
  kind.create_identify_packet = function (this: IdeInterface) {
    identify.call(this);
    const known = plugged.get(this);
    if (!known?.device.flush) return;
    const words = known.isCaching ? [SUPPORTED_WORD, ENABLED_WORD] : [SUPPORTED_WORD];
    for (const word of words) this.data[word * 2] = (this.data[word * 2] as number) | WRITE_CACHE;
  };
  kind.ata_command = function (this: IdeInterface, code: number) {
    const known = plugged.get(this);
    if (!known?.device.flush || !flushes(this, code, known)) return command.call(this, code);
    this.current_command = code;
    this.error_reg = 0;
    this.status_reg = STATUS_BUSY;
    known.device.flush(() => {
      // The guest may have reset the drive meanwhile.
      if (this.status_reg !== STATUS_BUSY) return;
      this.status_reg = STATUS_READY;
      this.current_command = NO_COMMAND;
      this.push_irq();
      known.wake();
    });
  };
}

/** Whether a command is answered when the write cache is stored; one that switches it on or off does so. */
function flushes(drive: IdeInterface, code: number, known: Plugged): boolean {
  if (code === FLUSH_CACHE || code === FLUSH_CACHE_EXT) return true;
  // v86 keeps what was written to the register before in its upper half.
  const feature = drive.features_reg & 0xff;
  if (code !== SET_FEATURES || (feature !== WRITE_CACHE_ON && feature !== WRITE_CACHE_OFF)) return false;
  known.isCaching = feature === WRITE_CACHE_ON;
  known.device.setCaching?.(known.isCaching);
  return true;
}

function plugIn(drive: IdeInterface, device: DriveDevice, wake: () => void): void {
  teachFlush(drive);
  plugged.set(drive, { device, wake, isCaching: true });
  drive.drive_connected = true;
  drive.is_atapi = false;
  drive.sector_size = SECTOR_BYTES;
  drive.set_disk_buffer(waking(device, wake));
  device.onFault = () => {
    drive.error_reg = ERROR_UNCORRECTABLE;
    drive.status_reg = STATUS_READY_AND_ERROR;
    drive.channel.dma_status &= ~DMA_ACTIVE;
    drive.current_command = NO_COMMAND;
    drive.push_irq();
    wake();
  };
}

/** The device as v86 sees it: it lets the machine go on when it has answered. */
function waking(device: DriveDevice, wake: () => void): DriveDevice {
  const face: DriveDevice = {
    byteLength: device.byteLength,
    load: () => device.load(),
    get: (offset, length, done) =>
      device.get(offset, length, (bytes) => {
        done(bytes);
        wake();
      }),
    set: (offset, bytes, done) =>
      device.set(offset, bytes, () => {
        done();
        wake();
      }),
    get_from_cache: (offset, length) => device.get_from_cache(offset, length),
    get_buffer: (done) => device.get_buffer(done),
    get_state: () => device.get_state(),
    set_state: (state) => device.set_state(state),
  };
  // v86 logs plain objects when it saves them.
  return Object.setPrototypeOf(face, null) as DriveDevice;
}

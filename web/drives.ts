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
  get_buffer(done: (buffer?: ArrayBuffer) => void): void;
  get_state(): unknown;
  set_state(state: unknown): void;
}

/** v86's IDE interface, as far as it is used. Its objects are sealed: nothing can be added to them. */
export interface IdeInterface {
  is_atapi: boolean | undefined;
  drive_connected: boolean;
  sector_size: number;
  buffer: unknown;
  set_disk_buffer(buffer: unknown): void;
}

export interface IdeController {
  primary: { master: IdeInterface; slave: IdeInterface } | undefined;
  secondary: { master: IdeInterface; slave: IdeInterface } | undefined;
}

const SECTOR_BYTES = 512;

/** What v86 is given as first disk: it makes the primary channel only when there is one. */
export function firstDrive(drives: readonly (DriveDevice | null)[]): DriveDevice | null {
  return drives[0] ?? drives[1] ?? null;
}

/** To be called after v86 has made the controller and before the machine runs. */
export function plugDrives({ primary, secondary }: IdeController, drives: readonly (DriveDevice | null)[]): void {
  const [a, b, c, d] = drives;
  if (primary) {
    plug(primary.master, a ?? null);
    plug(primary.slave, b ?? null);
  }
  if (!secondary) return;
  if (c) plug(secondary.master, c);
  if (d) plug(secondary.slave, d);
}

function plug(drive: IdeInterface, device: DriveDevice | null): void {
  drive.drive_connected = device !== null;
  if (!device) {
    drive.buffer = null;
    return;
  }
  drive.is_atapi = false;
  drive.sector_size = SECTOR_BYTES;
  drive.set_disk_buffer(device);
}

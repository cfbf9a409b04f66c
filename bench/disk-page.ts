/** What the disk benchmarks do inside a page: the page's own builder, machine and disk store, without the views. */

import systemFiles, { emulator } from "virtual:system";
import emulatorPath from "v86/build/v86.wasm?url";
import { createAgent } from "../web/agent.ts";
import { createBootWatch } from "../web/boot.ts";
import { createBuilder } from "../web/builder.ts";
import type { DiskDrive } from "../web/disk-drive.ts";
import { openDiskStore } from "../web/disk-store.ts";
import { createDownloads } from "../web/downloads.ts";
import { type DriveDevice, emptyDrive } from "../web/drives.ts";
import { startMachine } from "../web/machine.ts";
import { createSystemLoader, findFile } from "../web/system.ts";
import type { Overlay } from "../worker/api.ts";

declare global {
  interface Window {
    bench: typeof bench;
  }
}

const MIB = 1024 * 1024;
const system = new URL("/system/", location.href);
const builder = createBuilder(system);
const { loadSystem } = createSystemLoader(
  createDownloads(() => {}),
  (name) => findFile(systemFiles, system, name),
  { name: "the emulator", url: new URL(emulatorPath, location.href), ...emulator },
);
const store = await openDiskStore();
const IDENTITY = { uuid: new Uint8Array(16).fill(7), label: "bench", time: 1_700_000_000 };

/** Files of some 8 kB on the average, as in /etc and /usr/share, or of one size. */
function files(count: number, bytes?: number): Overlay {
  return Array.from({ length: count }, (_, index) => {
    const content = new Uint8Array(bytes ?? 500 + ((index * 7919) % 15_000));
    content.fill(32 + (index % 90));
    return {
      path: `/srv/d${Math.floor(index / 100)}/file-${index}`,
      kind: "file" as const,
      content,
      mode: 0o644,
    };
  });
}

/** A disk in an ArrayBuffer, answered at once: what v86 does with a buffer that it is given. */
function memoryDrive(sizeMb: number): DriveDevice {
  const { buffer } = new Uint8Array(sizeMb * MIB);
  const device: DriveDevice = {
    byteLength: buffer.byteLength,
    load: () => (device.onload as ((event: object) => void) | undefined)?.({}),
    get: (offset, length, done) => done(new Uint8Array(buffer, offset, length)),
    set(offset, bytes, done) {
      new Uint8Array(buffer, offset, bytes.length).set(bytes);
      done();
    },
    get_from_cache: (offset, length) => new Uint8Array(buffer, offset, length),
    get_buffer: (done) => done(buffer as ArrayBuffer),
    get_state: () => [],
    set_state: () => {},
  };
  return device;
}

let stored: DiskDrive | null = null;
let run: ((command: string) => Promise<string>) | null = null;

const bench = {
  /** Builds a bootable disk in the worker; time until its image is in this page. */
  async build(count: number, sizeMb: number, bytes?: number): Promise<{ ms: number; stored: number }> {
    const overlay = files(count, bytes);
    const startedAt = performance.now();
    const result = await builder.buildDisk({
      overlay,
      sizeMb,
      fileSystem: "ext4",
      commandLine: "console=ttyS0",
      label: IDENTITY.label,
    });
    const ms = performance.now() - startedAt;
    if (!result.ok) throw new Error(result.problem);
    return { ms, stored: result.image.extents.reduce((sum, extent) => sum + extent.bytes.length, 0) };
  },

  /** The last built image, put into the store and read back as a stream of base64: for the native tools. */
  async image(count: number, sizeMb: number, bytes?: number): Promise<{ offset: number; text: string }[]> {
    const result = await builder.buildDisk({
      overlay: files(count, bytes),
      sizeMb,
      fileSystem: "ext4",
      commandLine: "console=ttyS0",
      label: IDENTITY.label,
    });
    if (!result.ok) throw new Error(result.problem);
    return Promise.all(
      result.image.extents.map(async ({ offset, bytes: content }) => ({ offset, text: await base64(content) })),
    );
  },

  /** Boots a guest with two empty disks: one in memory at /mnt/memory, one that is stored at /mnt/stored. */
  async boot(sizeMb: number): Promise<void> {
    const built = await builder.build({ target: "initramfs", overlay: [], compression: "none", memoryMb: 256 });
    if (!built.ok) throw new Error(built.problem);
    const { emulator, bios, vgaBios, kernel, unpackedKernel } = await loadSystem();
    const result = await builder.formatDisk({ fileSystem: "ext4", sizeBytes: sizeMb * MIB, identity: IDENTITY });
    if (!result.ok) throw new Error(result.problem);
    const { image } = result;
    const memory = memoryDrive(sizeMb);
    for (const { offset, bytes } of image.extents) memory.set(offset, bytes, () => {});
    await store.put("bench", image.size, image.extents);
    stored = await store.open("bench", { onProblem: (problem) => console.error(problem), onWrite() {} });
    const watch = createBootWatch();
    const decoder = new TextDecoder();
    const startedAt = performance.now();
    const machine = await startMachine({
      emulator,
      bios,
      vgaBios,
      start: {
        kernel,
        unpackedKernel,
        initramfs: built.bytes,
        commandLine: "console=ttyS0 tsc=reliable root=/dev/ram0",
      },
      drives: [emptyDrive(), memory, stored, null],
      memoryMb: 256,
      screen: null,
      onSerial: (bytes) => watch.serial(decoder.decode(bytes, { stream: true }), performance.now() - startedAt),
      onChannel: (bytes) => agent.receive(bytes),
      onFrame() {},
      onBios() {},
      onHalt() {},
    });
    const agent = createAgent((bytes) => machine.sendChannel(bytes));
    while (watch.promptMs === null) await new Promise((resolve) => setTimeout(resolve, 20));
    await agent.ready;
    run = async (command) => {
      const { status, output } = await agent.run(command, 300_000);
      if (status !== 0) throw new Error(`${command}: ${output}`);
      return output;
    };
    await run("cd /mnt && mkdir memory stored && mount /dev/sdb memory && mount /dev/sdc stored");
  },
  /** Milliseconds that a command took in the guest, as the page sees it. */
  async time(command: string): Promise<number> {
    if (!run) throw new Error("no guest");
    const startedAt = performance.now();
    await run(command);
    return performance.now() - startedAt;
  },
  statistics: () => stored?.statistics ?? null,
};

async function base64(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const reader = new FileReader();
  return new Promise((resolve) => {
    reader.onload = () => resolve((reader.result as string).split(",")[1] as string);
    reader.readAsDataURL(new Blob([bytes]));
  });
}

window.bench = bench;

/** What kernel-build/ made and what rootfs/ has, for the builder in Node. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type DefaultFile, readRootfs } from "../tools/rootfs.ts";
import type { DiskParts } from "../worker/disk.ts";
import type { SystemParts } from "../worker/recipe.ts";

const ROOT = join(import.meta.dirname, "..");

export function readSystem(name: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(join(ROOT, "public/system", name)));
}

export function readInputs(): {
  defaults: readonly DefaultFile[];
  loadParts(): Promise<SystemParts>;
  loadDiskParts(): Promise<DiskParts>;
} {
  return {
    defaults: readRootfs(join(ROOT, "rootfs")),
    loadParts: async () => ({
      busybox: readSystem("busybox"),
      busyboxLinks: new TextDecoder().decode(readSystem("busybox.links")),
      modules: readSystem("modules.cpio"),
    }),
    loadDiskParts: async () => ({
      kernel: readSystem("bzImage"),
      grub: { boot: readSystem("boot.img"), core: readSystem("core.img") },
    }),
  };
}

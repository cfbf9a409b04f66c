/** `node --import tsx tools/states/make.ts`: makes the states of warm boots, one for each memory size. */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { unpackKernel } from "../../web/kernel.ts";
import { DEFAULT_COMMAND_LINE, memoryCommandLine } from "../../web/project.ts";
import { makeState } from "../../web/warm-state.ts";
import { composeDelta, listTree } from "../../worker/delta.ts";
import { buildInitramfs } from "../../worker/initramfs.ts";
import { composeTree } from "../../worker/recipe.ts";
import { readEmulator } from "../emulator.ts";
import { readRootfs } from "../rootfs.ts";
import { forgetOtherStates, readStates, SITE_ROOT, STATE_SIZES_MB, stateFolder } from "../states.ts";

if (readStates().length > 0) process.exit(0);
console.log("Making the states of warm boots …");

const read = (name: string): Uint8Array<ArrayBuffer> =>
  new Uint8Array(readFileSync(join(SITE_ROOT, "public/system", name)));

const parts = {
  busybox: read("busybox"),
  busyboxLinks: new TextDecoder().decode(read("busybox.links")),
  modules: read("modules.cpio"),
};
const defaults = readRootfs(join(SITE_ROOT, "rootfs"));
const tree = composeTree(parts, defaults, []);
const waiting = composeTree(parts, defaults, [{ path: "/init", kind: "file", mode: 0o755, content: read("waiter") }]);
const kernel = read("bzImage");
const emulator = await WebAssembly.compile(readEmulator());

const folder = stateFolder();
const next = `${folder}.new`;
rmSync(next, { recursive: true, force: true });
mkdirSync(next, { recursive: true });
for (const memoryMb of STATE_SIZES_MB) {
  const state = await makeState({
    emulator,
    bios: read("bios.bin"),
    vgaBios: read("vgabios.bin"),
    memoryMb,
    start: {
      kernel,
      unpackedKernel: unpackKernel(kernel),
      initramfs: buildInitramfs(waiting, memoryMb),
      commandLine: memoryCommandLine(DEFAULT_COMMAND_LINE, false),
    },
  }).catch((error: Error) => {
    console.error(`${memoryMb} MB: ${error.message}`);
    process.exit(1);
  });
  writeFileSync(join(next, `warm-${memoryMb}.state`), state);
}
const listing = listTree(tree);
const delta = composeDelta(listing, { overlay: [], present: null, memoryMb: STATE_SIZES_MB[0] });
if (!delta) throw new Error("Cannot make the states: the default files are not in them");
writeFileSync(join(next, "default.delta"), delta);
writeFileSync(join(next, "listing.json"), JSON.stringify(listing));
rmSync(folder, { recursive: true, force: true });
renameSync(next, folder);
for (const path of forgetOtherStates()) rmSync(path, { recursive: true });
process.exit(0);

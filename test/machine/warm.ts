/** Warm boots in Node: the state, made once for all tests of a file, and what a project hands over. */
import { DEFAULT_COMMAND_LINE, memoryCommandLine } from "../../web/project.ts";
import { makeState } from "../../web/warm-state.ts";
import { composeDelta, type Listing, listTree } from "../../worker/delta.ts";
import { buildInitramfs } from "../../worker/initramfs.ts";
import { composeTree } from "../../worker/recipe.ts";
import { defaults, readMachineParts, readParts, readSystem } from "./guest.ts";

export const COMMAND_LINE = memoryCommandLine(DEFAULT_COMMAND_LINE, false);

export const listing: Listing = listTree(composeTree(readParts(), defaults, []));

export async function makeTestState(memoryMb: number): Promise<ArrayBuffer> {
  const waiter = readSystem("waiter");
  const tree = composeTree(readParts(), defaults, [{ path: "/init", kind: "file", mode: 0o755, content: waiter }]);
  const { kernel, unpackedKernel, ...parts } = await readMachineParts();
  return makeState({
    ...parts,
    memoryMb,
    start: { kernel, unpackedKernel, initramfs: buildInitramfs(tree, memoryMb), commandLine: COMMAND_LINE },
  });
}

export { composeDelta };

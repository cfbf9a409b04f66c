/** Warm boots in Node: the state, made once for all tests of a file, and what a project hands over. */
import type { Delivery } from "../../web/hand-over.ts";
import { contentsOf, outlineOf } from "../../web/outline.ts";
import { DEFAULT_COMMAND_LINE, memoryCommandLine } from "../../web/project.ts";
import { makeState } from "../../web/warm-state.ts";
import type { Overlay } from "../../worker/api.ts";
import { composeDelta, type Listing, listTree } from "../../worker/delta.ts";
import { buildInitramfs } from "../../worker/initramfs.ts";
import { composeTree } from "../../worker/recipe.ts";
import { defaults, readMachineParts, readParts, readSystem } from "./guest.ts";

export const COMMAND_LINE = memoryCommandLine(DEFAULT_COMMAND_LINE, false);

export const listing: Listing = listTree(composeTree(readParts(), defaults, []));

/** @param waiter what stands in for the program that waits */
export async function makeTestState(memoryMb: number, waiter = readSystem("waiter")): Promise<Uint8Array> {
  const tree = composeTree(readParts(), defaults, [{ path: "/init", kind: "file", mode: 0o755, content: waiter }]);
  const { kernel, unpackedKernel, ...parts } = await readMachineParts();
  return makeState({
    ...parts,
    memoryMb,
    start: { kernel, unpackedKernel, initramfs: buildInitramfs(tree, memoryMb), commandLine: COMMAND_LINE },
  });
}

/**
 * What a machine is handed that has the default files and `present`; null where it has to be another machine.
 * @throws FormatError, MemoryError
 */
export function deliver(overlay: Overlay, memoryMb: number, present: Overlay | null = null): Delivery | null {
  const request = { overlay: outlineOf(overlay), present: present && outlineOf(present), memoryMb };
  const records = composeDelta(listing, request);
  return records && { records, contents: contentsOf(overlay) };
}

/** Deliveries for one version of the files after the other, beginning with the last one for which it took another machine. */
export function deliverAll(versions: readonly Overlay[], memoryMb: number): [...ahead: Delivery[], last: Delivery] {
  let deliveries: Delivery[] = [];
  for (const [index, overlay] of versions.entries()) {
    const next = deliver(overlay, memoryMb, versions[index - 1]);
    deliveries = next ? [...deliveries, next] : [deliver(overlay, memoryMb) as Delivery];
  }
  return deliveries as [...Delivery[], Delivery];
}

/** What a state of the page's own is made from. */
import type { Builder } from "./builder.ts";
import type { StateKind } from "./own-states.ts";
import { memoryCommandLine } from "./project.ts";
import type { SystemFiles } from "./system.ts";
import type { StateParts } from "./warm-state.ts";

/**
 * They are packed in a worker of their own: the builder's own may be asked for a boot meanwhile.
 * @param newBuilder a worker that packs, ended here
 * @throws Error with the builder's words
 */
export async function composeState(
  newBuilder: () => Builder,
  { emulator, bios, vgaBios, kernel, unpackedKernel }: SystemFiles,
  waiter: Uint8Array,
  { memoryMb, commandLine, kernel: own }: StateKind,
): Promise<StateParts> {
  const builder = newBuilder();
  const overlay = [{ path: "/init", kind: "file", mode: 0o755, content: waiter } as const];
  const built = await builder.build({ target: "initramfs", overlay, compression: "none", memoryMb });
  builder.stop();
  if (!built.ok) throw new Error(built.problem);
  const start = {
    ...(own ? { kernel: own.content, unpackedKernel: null } : { kernel, unpackedKernel }),
    initramfs: built.bytes,
    commandLine: memoryCommandLine(commandLine, false),
  };
  return { emulator, bios, vgaBios, memoryMb, start };
}

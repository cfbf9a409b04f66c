/** A machine's state put together from its packed pieces, in the page's storage and on the command line. */
import { inflate } from "./deflate.ts";
import { xxh32 } from "./disk-checksum.ts";
import { checkState } from "./machine-state-check.ts";
import type { SnapshotRecord, StatePiece } from "./snapshot-record.ts";
import { DAMAGED } from "./snapshot-words.ts";

type Bytes = Uint8Array<ArrayBuffer>;
/** Streams that are at work at once. */
const STREAMS = 8;

/**
 * The state that a snapshot's file has, looked at before the emulator believes it.
 * @param packed all pieces, one after the other
 * @returns the state, and the pieces one by one, packed
 * @throws Error "Cannot use …"
 */
export async function openState(
  { pieces, sum, run }: SnapshotRecord,
  packed: ArrayBuffer,
): Promise<{ state: ArrayBuffer; stored: Bytes[] }> {
  let at = 0;
  const stored = pieces.map((piece) => {
    at += piece.stored;
    return new Uint8Array(packed.slice(at - piece.stored, at));
  });
  const state = await joinState(pieces, stored, sum);
  checkState(new Uint8Array(state), run.memoryMb);
  return { state, stored };
}

/** @throws Error DAMAGED when the pieces do not make the state that was saved */
export async function joinState(
  pieces: readonly StatePiece[],
  stored: readonly Bytes[],
  sum: number,
): Promise<ArrayBuffer> {
  const state = new Uint8Array(pieces.reduce((total, { size }) => total + size, 0));
  let at = 0;
  const places = pieces.map(({ size }) => {
    at += size;
    return at - size;
  });
  await inOrder(stored, async (bytes, index) => {
    const { size } = pieces[index] as StatePiece;
    const piece = await inflate(bytes, size).catch(() => null);
    if (piece?.length !== size) throw new Error(DAMAGED);
    state.set(piece, places[index]);
  });
  if (xxh32(state, 0) !== sum) throw new Error(DAMAGED);
  return state.buffer;
}

/** Several at once; results stand in the order of the items. */
export async function inOrder<T, R>(items: readonly T[], work: (item: T, index: number) => Promise<R>): Promise<R[]> {
  const results: R[] = new Array(items.length);
  let next = 0;
  await Promise.all(
    Array.from({ length: STREAMS }, async () => {
      while (next < items.length) {
        const at = next++;
        results[at] = await work(items[at] as T, at);
      }
    }),
  );
  return results;
}

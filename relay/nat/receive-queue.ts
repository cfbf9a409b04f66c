/**
 * Data that came out of order: pieces in order of their sequence numbers, without overlap. What is here first stays;
 * of a piece that overlaps only the new parts are kept.
 */
import { advance, distance } from "./sequence.ts";
import { copyOf } from "./words.ts";

/** A window of 256 KB in segments of 1460 bytes, twice; a sender of crumbs is told nothing and sends again. */
const PIECES = 384;

interface Piece {
  seq: number;
  bytes: Uint8Array;
}

export class ReceiveQueue {
  private pieces: Piece[] = [];
  private newest = 0;

  get isEmpty(): boolean {
    return this.pieces.length === 0;
  }

  /** Keeps a copy of `bytes` from `start` to `end`. @returns whether anything of it was new */
  insert(seq: number, bytes: Uint8Array, start: number, end: number): boolean {
    let isNew = false;
    let at = this.firstEndingAfter(seq);
    while (start < end && this.pieces.length < PIECES) {
      const next = this.pieces[at];
      const gap = next ? distance(next.seq, seq) : end - start;
      if (gap > 0) {
        const length = Math.min(gap, end - start);
        this.pieces.splice(at, 0, { seq, bytes: copyOf(bytes, start, start + length) });
        this.newest = seq;
        isNew = true;
        at++;
        start += length;
        seq = advance(seq, length);
      } else if (next) {
        const overlap = next.bytes.length + gap;
        start += overlap;
        seq = advance(seq, overlap);
        at++;
      }
    }
    return isNew;
  }

  /** Takes the piece that continues at `seq`, without what is before it; pieces wholly before it are forgotten. */
  take(seq: number): Uint8Array | null {
    for (let first = this.pieces[0]; first; first = this.pieces[0]) {
      const before = distance(seq, first.seq);
      if (before < 0) return null;
      this.pieces.shift();
      if (before < first.bytes.length) return before === 0 ? first.bytes : first.bytes.subarray(before);
    }
    return null;
  }

  /** Blocks for the option of RFC 2018, section 4: the one with the newest piece first, then the others, at most four. */
  blocks(): number[] {
    const blocks: number[] = [];
    let newestAt = 0;
    for (const { seq, bytes } of this.pieces) {
      const end = advance(seq, bytes.length);
      if (blocks.length > 0 && blocks[blocks.length - 1] === seq) blocks[blocks.length - 1] = end;
      else blocks.push(seq, end);
      if (seq === this.newest) newestAt = blocks.length - 2;
    }
    const first = blocks.splice(newestAt, 2);
    return [...first, ...blocks.slice(0, 6)];
  }

  clear(): void {
    this.pieces = [];
  }

  private firstEndingAfter(seq: number): number {
    // New data mostly come at the end.
    let at = this.pieces.length;
    while (at > 0) {
      const piece = this.pieces[at - 1] as Piece;
      if (distance(advance(piece.seq, piece.bytes.length), seq) <= 0) break;
      at--;
    }
    return at;
  }
}

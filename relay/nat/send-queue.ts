/**
 * Bytes that were sent and are not acknowledged, and bytes that wait to be sent. They are copied into blocks that all
 * connections share: all are full but the last.
 */
import { Blocks } from "../blocks.ts";

/** Of a queue that was empty: most connections carry little, and there may be many. */
const SMALL = 4 * 1024;
/** At most 1 MB is kept for later. */
const large = new Blocks(16 * 1024, 64);

export class SendQueue {
  private blocks: Uint8Array[] = [];
  /** Bytes of the first block that are gone. */
  private gone = 0;
  /** Bytes of the last block that are used. */
  private used = 0;
  private bytes = 0;

  get length(): number {
    return this.bytes;
  }

  push(bytes: Uint8Array): void {
    this.bytes += bytes.length;
    for (let from = 0; from < bytes.length; ) {
      let last = this.blocks[this.blocks.length - 1];
      if (!last || this.used === last.length) {
        last = last || bytes.length > SMALL ? large.take() : new Uint8Array(SMALL);
        this.blocks.push(last);
        this.used = 0;
      }
      const part = Math.min(bytes.length - from, last.length - this.used);
      last.set(from === 0 && part === bytes.length ? bytes : bytes.subarray(from, from + part), this.used);
      this.used += part;
      from += part;
    }
  }

  /** Copies `length` bytes from `offset` on to `target`. */
  copy(offset: number, length: number, target: Uint8Array, at: number): void {
    let from = offset + this.gone;
    let index = 0;
    let block = this.blocks[0] as Uint8Array;
    while (from >= block.length) {
      from -= block.length;
      block = this.blocks[++index] as Uint8Array;
    }
    for (let left = length; ; ) {
      const part = Math.min(left, block.length - from);
      target.set(from === 0 && part === block.length ? block : block.subarray(from, from + part), at);
      left -= part;
      if (left === 0) return;
      at += part;
      from = 0;
      block = this.blocks[++index] as Uint8Array;
    }
  }

  /** Forgets the first bytes. */
  drop(length: number): void {
    this.bytes -= length;
    if (this.bytes === 0) return this.clear();
    this.gone += length;
    let first = this.blocks[0] as Uint8Array;
    let whole = 0;
    while (this.gone >= first.length) {
      this.gone -= first.length;
      large.give(first);
      first = this.blocks[++whole] as Uint8Array;
    }
    if (whole > 0) this.blocks.splice(0, whole);
  }

  clear(): void {
    for (const block of this.blocks) large.give(block);
    this.blocks = [];
    this.gone = 0;
    this.used = 0;
    this.bytes = 0;
  }
}

/**
 * Bytes that were sent and are not acknowledged, and bytes that wait to be sent: a list of the blocks they came in.
 * Large blocks are kept as they are and copied once, into a frame; small ones are gathered, so that a server that sends
 * byte by byte does not cost a block for each.
 */

const SMALL = 1024;
const GATHERED = 4096;

export class SendQueue {
  private blocks: Uint8Array[] = [];
  /** Bytes of the first block that are gone. */
  private gone = 0;
  /** The last block is ours, and this much of it is used; 0 when it is not ours. */
  private used = 0;
  private bytes = 0;

  get length(): number {
    return this.bytes;
  }

  /** Takes the block over: it must not change afterwards. */
  push(block: Uint8Array): void {
    this.bytes += block.length;
    if (block.length === 0) return;
    if (block.length > SMALL) {
      this.trimLast();
      this.blocks.push(block);
      this.used = 0;
      return;
    }
    const last = this.used > 0 ? this.blocks[this.blocks.length - 1] : undefined;
    if (last && this.used + block.length <= last.length) {
      last.set(block, this.used);
      this.used += block.length;
      return;
    }
    this.trimLast();
    const fresh = new Uint8Array(GATHERED);
    fresh.set(block);
    this.blocks.push(fresh);
    this.used = block.length;
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
    this.gone += length;
    let first = this.blocks[0];
    let whole = 0;
    while (first && this.gone >= first.length) {
      this.gone -= first.length;
      first = this.blocks[++whole];
    }
    if (whole > 0) this.blocks.splice(0, whole);
    if (this.bytes === 0) this.clear();
  }

  clear(): void {
    this.blocks = [];
    this.gone = 0;
    this.used = 0;
    this.bytes = 0;
  }

  /** Blocks are counted by their lengths: the unused end of a gathering block must go before another follows it. */
  private trimLast(): void {
    if (this.used === 0) return;
    const at = this.blocks.length - 1;
    this.blocks[at] = (this.blocks[at] as Uint8Array).subarray(0, this.used);
  }
}

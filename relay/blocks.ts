/**
 * Memory of its own that holds whatever was there before. No Buffer: a view of one takes half as long again to make, and
 * what is queued here leaves in views.
 */
export const rawBytes = (size: number): Uint8Array => new Uint8Array(Buffer.allocUnsafeSlow(size).buffer);

/**
 * Blocks of memory that are used again. What streams through the relay would otherwise leave a new block behind for every
 * 64 KB, and the process would hold tens of megabytes of them until its next collection of garbage.
 */
export class Blocks {
  private readonly free: Uint8Array[] = [];

  /**
   * @param size bytes of each
   * @param most so many are kept for later
   */
  constructor(
    readonly size: number,
    private readonly most: number,
  ) {}

  /** What it holds is arbitrary: whoever takes it writes before it reads. */
  take(): Uint8Array {
    return this.free.pop() ?? rawBytes(this.size);
  }

  /** Takes a block back that nobody looks at any more; one of another size is left to the garbage. */
  give(block: Uint8Array): void {
    if (block.length === this.size && this.free.length < this.most) this.free.push(block);
  }
}

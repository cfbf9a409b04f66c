/**
 * The journal of ext3 and ext4, read: what a crash has left in the log. Source:
 * Documentation/filesystems/ext4/journal.rst of Linux; what ends the log, and what is damage, as the kernel has it.
 *
 *   superblock | … | descriptor, blocks … | revocations | commit | descriptor, blocks … | commit | …
 *
 * The log goes round. Everything in it is big endian. A transaction without its commit has not happened.
 *
 * Limitations: no journals on disks of their own; fast commits, which name changes instead of blocks, are refused.
 */
import { CHECKSUM_START, checksumWithout, crc32c, crc32Forward } from "./extfs-checksum.ts";
import { runsOf } from "./extfs-reader-map.ts";
import { unreadable } from "./extfs-reader-superblock.ts";
import { type ExtVolume, JOURNAL_MAGIC, type LoggedBlock } from "./extfs-reader-volume.ts";

const BLOCK_TYPES = { descriptor: 1, commit: 2, superblock: 3, superblockWithFeatures: 4, revoke: 5 } as const;
const COMPATIBLE_CHECKSUM = 0x1;
const FEATURES = { revoke: 0x1, wide: 0x2, asyncCommit: 0x4, checksum2: 0x8, checksum3: 0x10, fastCommit: 0x20 };
const KNOWN_FEATURES = 0x3f;
const TAG_FLAGS = { escaped: 1, sameUuid: 2, last: 8 } as const;
const HEADER_BYTES = 12;
const REVOKE_HEADER_BYTES = 16;
const UUID_BYTES = 16;
const TAIL_BYTES = 4;
/** Blocks for fast commits where the journal does not say how many. */
const FAST_COMMIT_BLOCKS = 256;
const FAST_COMMIT_HEAD = 9;

interface Tag {
  /** Where the block belongs in the file system. */
  block: number;
  /** Where it is in the log. */
  at: number;
  isEscaped: boolean;
  checksum: number;
}

interface Transaction {
  sequence: number;
  /** Their places in the log. */
  descriptors: number[];
  revocations: number[];
}

/**
 * The newest version of each block that the log has and that still counts.
 * @returns null when the log is empty
 * @throws FormatError when the journal is damaged or uses something that is not supported
 */
export async function readJournal(volume: ExtVolume): Promise<Map<number, LoggedBlock> | null> {
  const log = await Log.open(volume);
  return log && (await log.replay());
}

class Log {
  private constructor(
    private readonly volume: ExtVolume,
    /** Where in the file system each part of the journal's file is. */
    private readonly runs: readonly { logical: number; start: number; length: number }[],
    /** The log is what is from `first` to `end - 1`. */
    private readonly first: number,
    private readonly end: number,
    /** All blocks of the journal's file that it uses. */
    private readonly length: number,
    private readonly start: number,
    private readonly sequence: number,
    private readonly compatible: number,
    private readonly features: number,
    private readonly seed: number,
  ) {}

  static async open(volume: ExtVolume): Promise<Log | null> {
    const { blockBytes, journalInode } = volume.superblock;
    const inode = await volume.inode(journalInode);
    const fileBlocks = Math.floor(inode.size / blockBytes);
    if (fileBlocks < 2 || fileBlocks > volume.superblock.blocks) throw damaged(`it has ${inode.size} bytes`);
    const runs: { logical: number; start: number; length: number }[] = [];
    for await (const { logical, start, length } of runsOf(volume, inode, 0, fileBlocks)) {
      if (start === null) throw damaged("a block of it is missing");
      runs.push({ logical, start, length });
    }
    const bytes = (await volume.block(runs[0]?.start ?? 0)).subarray(0, 1024);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const type = view.getUint32(4);
    if (
      view.getUint32(0) !== JOURNAL_MAGIC ||
      (type !== BLOCK_TYPES.superblock && type !== BLOCK_TYPES.superblockWithFeatures)
    )
      throw damaged("its superblock is none");
    const hasFeatures = type === BLOCK_TYPES.superblockWithFeatures;
    const compatible = hasFeatures ? view.getUint32(36) : 0;
    const features = hasFeatures ? view.getUint32(40) : 0;
    const unknown = (features & ~KNOWN_FEATURES) >>> 0;
    if (unknown) throw unreadable(`its journal uses features that are not known, 0x${unknown.toString(16)}`);
    const hasChecksums = (features & (FEATURES.checksum2 | FEATURES.checksum3)) !== 0;
    if (hasChecksums && checksumWithout(CHECKSUM_START, bytes, 252) !== view.getUint32(252))
      throw damaged("the checksum of its superblock does not match");
    const [length, first, sequence, start] = [
      view.getUint32(16),
      view.getUint32(20),
      view.getUint32(24),
      view.getUint32(28),
    ];
    if (view.getUint32(12) !== blockBytes) throw damaged(`its blocks have ${view.getUint32(12)} bytes`);
    const fast = features & FEATURES.fastCommit ? view.getUint32(84) || FAST_COMMIT_BLOCKS : 0;
    const end = length - fast;
    if (length > fileBlocks || first < 1 || first >= end) throw damaged(`its log has ${length} blocks`);
    if (start === 0) return null;
    if (start < first || start >= end) throw damaged(`its log begins at the block ${start} of ${length}`);
    const seed = crc32c(CHECKSUM_START, bytes.subarray(48, 64));
    return new Log(volume, runs, first, end, length, start, sequence, compatible, features, seed);
  }

  async replay(): Promise<Map<number, LoggedBlock>> {
    const { transactions, next } = await this.#scan();
    if (this.features & FEATURES.fastCommit) await this.#refuseFastCommits(next);
    /** The last transaction after which what the log has for a block no longer counts. */
    const revoked = new Map<number, number>();
    for (const [index, { revocations }] of transactions.entries())
      for (const at of revocations) for (const block of await this.#readRevocations(at)) revoked.set(block, index);
    const newest = new Map<number, LoggedBlock>();
    for (const [index, { sequence, descriptors }] of transactions.entries())
      for (const at of descriptors)
        for (const tag of this.#readTags(at, await this.#read(at))) {
          if ((revoked.get(tag.block) ?? -1) >= index) continue;
          if (this.#hasChecksums && !(await this.#matches(tag, sequence)))
            throw damaged(`the checksum of the block ${tag.at} of its log does not match`);
          if (!this.#isWithin(tag.block))
            throw damaged(`it has a version of the block ${tag.block}, which there is not`);
          newest.set(tag.block, { offset: this.#offset(tag.at), isEscaped: tag.isEscaped });
        }
    return newest;
  }

  /** Finds the transactions that have been committed, and the sequence number of the one that has not. */
  async #scan(): Promise<{ transactions: Transaction[]; next: number }> {
    const transactions: Transaction[] = [];
    let current: Transaction = { sequence: this.sequence, descriptors: [], revocations: [] };
    let at = this.start;
    let visited = 0;
    let sum = CHECKSUM_START;
    let isSuspect = false;
    let lastTime = 0n;
    const step = (blocks: number): void => {
      at = this.#wrap(at + blocks);
      visited += blocks;
    };
    for (;;) {
      if (visited > this.end - this.first) throw damaged("its log has no end");
      const place = at;
      const bytes = await this.#read(place);
      const view = viewOf(bytes);
      if (view.getUint32(0) !== JOURNAL_MAGIC || view.getUint32(8) !== current.sequence) break;
      step(1);
      const type = view.getUint32(4);
      if (type === BLOCK_TYPES.descriptor) {
        // A log that was not zeroed when it was made can go on in what an older one has left: the commit will tell.
        if (!this.#isSound(bytes)) isSuspect = true;
        current.descriptors.push(place);
        const tags = this.#readTags(place, bytes);
        if (this.compatible & COMPATIBLE_CHECKSUM) {
          sum = crc32Forward(sum, bytes);
          for (const tag of tags) sum = crc32Forward(sum, await this.#read(tag.at));
        }
        step(tags.length);
      } else if (type === BLOCK_TYPES.revoke) {
        if (!this.#isSound(bytes)) isSuspect = true;
        current.revocations.push(place);
      } else if (type === BLOCK_TYPES.commit) {
        const time = view.getBigUint64(48);
        if (isSuspect) {
          if (time < lastTime) break;
          throw damaged(`the checksum of the transaction ${current.sequence} in its log does not match`);
        }
        if (!this.#isCommitted(bytes, sum)) break;
        sum = CHECKSUM_START;
        lastTime = time;
        transactions.push(current);
        current = { sequence: (current.sequence + 1) >>> 0, descriptors: [], revocations: [] };
      } else {
        break;
      }
    }
    return { transactions, next: current.sequence };
  }

  #isCommitted(bytes: Uint8Array, sum: number): boolean {
    const view = viewOf(bytes);
    if (this.#hasChecksums) return checksumWithout(this.seed, bytes, 16) === view.getUint32(16);
    if (!(this.compatible & COMPATIBLE_CHECKSUM)) return true;
    // The type of the checksum and its size, then itself: CRC-32 of four bytes, or none at all.
    const type = view.getUint16(12);
    const stored = view.getUint32(16);
    return (type === 0x0104 && stored === sum) || (type === 0 && stored === 0);
  }

  get #hasChecksums(): boolean {
    return (this.features & (FEATURES.checksum2 | FEATURES.checksum3)) !== 0;
  }

  /** Descriptors and revocations have a checksum at their end. */
  #isSound(bytes: Uint8Array): boolean {
    if (!this.#hasChecksums) return true;
    const tail = bytes.length - TAIL_BYTES;
    return checksumWithout(this.seed, bytes, tail) === viewOf(bytes).getUint32(tail);
  }

  #readTags(place: number, bytes: Uint8Array): Tag[] {
    const view = viewOf(bytes);
    const isThird = (this.features & FEATURES.checksum3) !== 0;
    const isWide = (this.features & FEATURES.wide) !== 0;
    // With checksums of version 2, two bytes more than their field needs.
    const tagBytes = isThird ? 16 : (isWide ? 12 : 8) + (this.features & FEATURES.checksum2 ? 2 : 0);
    const end = bytes.length - (this.#hasChecksums ? TAIL_BYTES : 0);
    const tags: Tag[] = [];
    for (let at = HEADER_BYTES; at + tagBytes <= end; ) {
      const flags = isThird ? view.getUint32(at + 4) : view.getUint16(at + 6);
      tags.push({
        block: view.getUint32(at) + (isWide ? view.getUint32(at + 8) * 2 ** 32 : 0),
        at: this.#wrap(place + 1 + tags.length),
        isEscaped: (flags & TAG_FLAGS.escaped) !== 0,
        checksum: isThird ? view.getUint32(at + 12) : view.getUint16(at + 4),
      });
      if (flags & TAG_FLAGS.last) break;
      at += tagBytes + (flags & TAG_FLAGS.sameUuid ? 0 : UUID_BYTES);
    }
    return tags;
  }

  async #matches(tag: Tag, sequence: number): Promise<boolean> {
    const number = new Uint8Array(4);
    new DataView(number.buffer).setUint32(0, sequence);
    const sum = crc32c(crc32c(this.seed, number), await this.#read(tag.at));
    return tag.checksum === (this.features & FEATURES.checksum3 ? sum : sum & 0xffff);
  }

  async #readRevocations(place: number): Promise<number[]> {
    const bytes = await this.#read(place);
    const view = viewOf(bytes);
    const end = view.getUint32(12);
    if (end > bytes.length - (this.#hasChecksums ? TAIL_BYTES : 0))
      throw damaged(`a record in its log has ${end} bytes`);
    const isWide = (this.features & FEATURES.wide) !== 0;
    const blocks: number[] = [];
    for (let at = REVOKE_HEADER_BYTES; at + (isWide ? 8 : 4) <= end; at += isWide ? 8 : 4) {
      const block = isWide ? Number(view.getBigUint64(at)) : view.getUint32(at);
      // Those that no tag can name are not worth the memory.
      if (this.#isWithin(block)) blocks.push(block);
    }
    return blocks;
  }

  /** Fast commits begin with the number of the transaction that they are a part of, which has no full commit yet. */
  async #refuseFastCommits(next: number): Promise<void> {
    for (let at = this.end; at < this.length; at += 1) {
      const view = viewOf(await this.#read(at));
      // Unlike the log, they are little endian: a tag, the length of what follows, features, the number.
      if (view.getUint16(0, true) === FAST_COMMIT_HEAD && view.getUint32(8, true) === next)
        throw unreadable("its journal has changes in a form that is not supported, fast_commit");
    }
  }

  /** The log may be about to make the file system larger: its disk is the limit. */
  #isWithin(block: number): boolean {
    return (block + 1) * this.volume.superblock.blockBytes <= this.volume.source.size;
  }

  #wrap(at: number): number {
    return at >= this.end ? at - (this.end - this.first) : at;
  }

  #read(at: number): Promise<Uint8Array> {
    return this.volume.block(this.#offset(at) / this.volume.superblock.blockBytes);
  }

  #offset(at: number): number {
    let low = 0;
    let high = this.runs.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((this.runs[middle]?.logical ?? 0) <= at) low = middle;
      else high = middle - 1;
    }
    const run = this.runs[low];
    if (!run || at >= run.logical + run.length) throw damaged(`it has no block ${at}`);
    return (run.start + at - run.logical) * this.volume.superblock.blockBytes;
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function damaged(state: string): Error {
  return unreadable(`its journal is damaged, ${state}`);
}

/**
 * Blocks, group descriptors and inodes of ext2, ext3 and ext4, read as they are asked for. Sources:
 * Documentation/filesystems/ext4/group_descr.rst, inodes.rst and checksums.rst of Linux.
 */
import { crc32c, littleEndian } from "./extfs-checksum.ts";
import {
  decodeSuperblock,
  SUPERBLOCK_BYTES,
  SUPERBLOCK_OFFSET,
  type Superblock,
  unreadable,
} from "./extfs-reader-superblock.ts";
import type { BlockSource } from "./sparse-image.ts";

/** An inode as it is on the disk, without what its format makes of it. */
export interface RawInode {
  number: number;
  /** One of FORMAT_BITS. */
  format: number;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  /** Seconds since 1970-01-01 UTC, before it when negative. */
  mtime: number;
  links: number;
  flags: number;
  /** Blocks of 512 bytes that belong to it, its extended attributes included. */
  sectors: number;
  /** The block of its extended attributes, 0: there is none. */
  attributeBlock: number;
  /** 60 bytes. */
  map: Uint8Array;
  /** What checksums of its blocks begin with, or null: there are none. */
  seed: number | null;
  /** All of it, as it is on the disk. */
  bytes: Uint8Array;
}

export const INODE_FLAGS = {
  encrypted: 0x800,
  indexed: 0x1000,
  extents: 0x8_0000,
  verity: 0x10_0000,
  ea: 0x20_0000,
  inline: 0x1000_0000,
};

/** Where the newest version of a block is while the journal has not been written back. */
export interface LoggedBlock {
  /** In bytes from the file system's start. */
  offset: number;
  /** The block begins with the journal's magic number, which is zero in the log. */
  isEscaped: boolean;
}

export const JOURNAL_MAGIC = 0xc03b_3998;

/** What is read at once of tables and directories. */
const PAGE_BYTES = 16_384;
const MOST_PAGES = 128;
/** What is read at once of a file: the source's copy of it is gone before the next is asked for. */
const CHUNK_BYTES = 1024 * 1024;

export class ExtVolume {
  readonly #pages = new Map<number, Promise<Uint8Array>>();
  readonly #pageBytes: number;
  #logged: ReadonlyMap<number, LoggedBlock> = new Map();

  private constructor(
    readonly source: BlockSource,
    readonly superblock: Superblock,
    /** While the journal is not replayed, descriptors may be half-written and their checksums say nothing. */
    private readonly isSettled: boolean,
  ) {
    this.#pageBytes = Math.max(PAGE_BYTES, superblock.blockBytes);
  }

  /** @throws FormatError "Cannot read the file system: …" */
  static async open(source: BlockSource): Promise<ExtVolume> {
    if (source.size < SUPERBLOCK_OFFSET + SUPERBLOCK_BYTES)
      throw unreadable(`the disk has ${source.size} bytes, which is too small for one`);
    const bytes = await source.read(SUPERBLOCK_OFFSET, SUPERBLOCK_BYTES);
    const superblock = decodeSuperblock(bytes, source.size);
    return new ExtVolume(source, superblock, !superblock.needsRecovery);
  }

  /** The file system as it is after these blocks have got their newest version, the superblock included. */
  async withLogged(logged: ReadonlyMap<number, LoggedBlock>): Promise<ExtVolume> {
    const old = new ExtVolume(this.source, this.superblock, true);
    old.#logged = logged;
    const bytes = new Uint8Array(SUPERBLOCK_BYTES);
    await old.read(SUPERBLOCK_OFFSET, bytes);
    const superblock = decodeSuperblock(bytes, this.source.size);
    if (superblock.blockBytes !== this.superblock.blockBytes)
      throw unreadable("its journal is damaged, it would change the size of blocks");
    const volume = new ExtVolume(this.source, superblock, true);
    volume.#logged = logged;
    return volume;
  }

  /** Fills `target` with the bytes at `offset`, which must be within the disk. */
  async read(offset: number, target: Uint8Array): Promise<void> {
    if (target.length > this.#pageBytes) {
      for (let done = 0; done < target.length; done += CHUNK_BYTES) {
        const bytes = await this.source.read(offset + done, Math.min(CHUNK_BYTES, target.length - done));
        await this.#patch(offset + done, bytes);
        target.set(bytes, done);
      }
      return;
    }
    for (let done = 0; done < target.length; ) {
      const at = (offset + done) % this.#pageBytes;
      const page = await this.#page((offset + done - at) / this.#pageBytes);
      const part = page.subarray(at, at + target.length - done);
      target.set(part, done);
      done += part.length;
    }
  }

  /** A block of a table, for reading only. @throws FormatError when there is no such block */
  async block(block: number): Promise<Uint8Array> {
    this.checkBlocks(block, 1);
    const { blockBytes } = this.superblock;
    const perPage = this.#pageBytes / blockBytes;
    const page = await this.#page(Math.floor(block / perPage));
    const at = (block % perPage) * blockBytes;
    return page.subarray(at, at + blockBytes);
  }

  /** Whether the newest version of a block is in the journal. */
  isLogged(block: number): boolean {
    return this.#logged.has(block);
  }

  get hasLogged(): boolean {
    return this.#logged.size > 0;
  }

  /** @throws FormatError when one of the blocks is not the file system's, or is its first superblock */
  checkBlocks(start: number, length: number): void {
    const { blocks, firstDataBlock } = this.superblock;
    if (start <= firstDataBlock || start + length > blocks)
      throw unreadable(`it is damaged, something is said to be at the block ${start} of ${blocks}`);
  }

  /** Blocks that are free, over all groups. @throws FormatError */
  async countFree(): Promise<number> {
    const { groups, blocks, blocksPerGroup, firstDataBlock, clusterBlocks } = this.superblock;
    let free = 0;
    for (let group = 0; group < groups; group += 1) {
      const own = Math.min(blocksPerGroup, blocks - firstDataBlock - group * blocksPerGroup);
      const { freeClusters } = await this.#descriptor(group);
      if (freeClusters > Math.ceil(own / clusterBlocks))
        throw unreadable(`it is damaged, ${freeClusters} blocks are said to be free in the group ${group}`);
      free += freeClusters * clusterBlocks;
    }
    return Math.min(free, blocks);
  }

  /** @throws FormatError when it is not in use, or damaged */
  async inode(number: number): Promise<RawInode> {
    const { inodes, inodesPerGroup, inodeBytes, blockBytes, seed } = this.superblock;
    if (number < 1 || number > inodes) throw unreadable(`it is damaged, it names the inode ${number} of ${inodes}`);
    const { inodeTable } = await this.#descriptor(Math.floor((number - 1) / inodesPerGroup));
    const offset = ((number - 1) % inodesPerGroup) * inodeBytes;
    const block = await this.block(inodeTable + Math.floor(offset / blockBytes));
    const bytes = block.subarray(offset % blockBytes, (offset % blockBytes) + inodeBytes);
    return decodeInode(number, bytes, seed);
  }

  async #descriptor(group: number): Promise<{ inodeTable: number; freeClusters: number }> {
    const { blockBytes, descriptorBytes, seed, inodesPerGroup, inodeBytes } = this.superblock;
    const bytes = new Uint8Array(descriptorBytes);
    // They follow the superblock, which blocks of 1024 bytes have in the block 1 and larger ones in the block 0.
    const first = Math.floor(SUPERBLOCK_OFFSET / blockBytes) + 1;
    await this.read(first * blockBytes + group * descriptorBytes, bytes);
    const view = new DataView(bytes.buffer);
    if (seed !== null && this.isSettled) {
      const stored = view.getUint16(30, true);
      view.setUint16(30, 0);
      if ((crc32c(crc32c(seed, littleEndian(group)), bytes) & 0xffff) !== stored)
        throw unreadable(`it is damaged, the checksum of the group ${group} does not match`);
    }
    const isWide = descriptorBytes >= 64;
    const inodeTable = view.getUint32(8, true) + (isWide ? view.getUint32(40, true) * 2 ** 32 : 0);
    this.checkBlocks(inodeTable, Math.ceil((inodesPerGroup * inodeBytes) / blockBytes));
    return { inodeTable, freeClusters: view.getUint16(12, true) + (isWide ? view.getUint16(44, true) * 2 ** 16 : 0) };
  }

  #page(index: number): Promise<Uint8Array> {
    const present = this.#pages.get(index);
    this.#pages.delete(index);
    const page = present ?? this.#load(index);
    // Those that were used last stand last.
    this.#pages.set(index, page);
    if (present) return page;
    page.catch(() => this.#pages.delete(index));
    for (const oldest of this.#pages.keys()) {
      if (this.#pages.size <= MOST_PAGES) break;
      this.#pages.delete(oldest);
    }
    return page;
  }

  async #load(index: number): Promise<Uint8Array> {
    const offset = index * this.#pageBytes;
    const bytes = await this.source.read(offset, Math.min(this.#pageBytes, this.source.size - offset));
    await this.#patch(offset, bytes);
    return bytes;
  }

  /** Puts the newest versions of blocks over what the disk has. */
  async #patch(offset: number, bytes: Uint8Array): Promise<void> {
    if (this.#logged.size === 0) return;
    const { blockBytes } = this.superblock;
    const end = offset + bytes.length;
    for (let block = Math.floor(offset / blockBytes); block * blockBytes < end; block += 1) {
      const logged = this.#logged.get(block);
      if (!logged) continue;
      const newest = await this.source.read(logged.offset, blockBytes);
      if (logged.isEscaped) new DataView(newest.buffer).setUint32(0, JOURNAL_MAGIC);
      const start = Math.max(offset, block * blockBytes);
      const stop = Math.min(end, (block + 1) * blockBytes);
      bytes.set(newest.subarray(start - block * blockBytes, stop - block * blockBytes), start - offset);
    }
  }
}

function decodeInode(number: number, bytes: Uint8Array, seed: number | null): RawInode {
  const damaged = (state: string): Error => unreadable(`the inode ${number} is damaged, ${state}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const u16 = (at: number): number => view.getUint16(at, true);
  const u32 = (at: number): number => view.getUint32(at, true);
  const extra = bytes.length > 128 ? u16(128) : 0;
  if (extra > bytes.length - 128 || extra % 4 !== 0) throw damaged(`${extra} bytes of it are said to be in use`);
  const ownSeed = seed === null ? null : crc32c(crc32c(seed, littleEndian(number)), littleEndian(u32(100)));
  if (ownSeed !== null) {
    const copy = new Uint8Array(bytes);
    // The checksum is in two halves; the upper one is there when the inode is long enough to have it.
    const hasUpper = extra >= 4;
    copy.fill(0, 124, 126);
    if (hasUpper) copy.fill(0, 130, 132);
    const stored = u16(124) + (hasUpper ? u16(130) * 2 ** 16 : 0);
    const sum = crc32c(ownSeed, copy);
    if ((hasUpper ? sum : sum & 0xffff) !== stored) throw damaged("its checksum does not match");
  }
  const links = u16(26);
  if (links === 0) throw damaged("it is named, but deleted");
  // Two bits of the field behind it carry the time past 2038.
  const mtime = view.getInt32(16, true) + (extra >= 12 ? (u32(136) & 3) * 2 ** 32 : 0);
  const size = u32(4) + u32(108) * 2 ** 32;
  if (!Number.isSafeInteger(size)) throw damaged("it is larger than a file can be");
  return {
    number,
    format: u16(0) & 0xf000,
    mode: u16(0) & 0o7777,
    uid: u16(2) + u16(120) * 2 ** 16,
    gid: u16(24) + u16(122) * 2 ** 16,
    size,
    mtime,
    links,
    flags: u32(32),
    sectors: u32(28) + u16(116) * 2 ** 32,
    attributeBlock: u32(104) + u16(118) * 2 ** 32,
    map: new Uint8Array(bytes.subarray(40, 100)),
    seed: ownSeed,
    bytes: new Uint8Array(bytes),
  };
}

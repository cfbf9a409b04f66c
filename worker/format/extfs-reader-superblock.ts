/**
 * The superblock of ext2, ext3 and ext4, read. Source: Documentation/filesystems/ext4/super.rst of Linux.
 *
 * Limitations: the first superblock only, none of its copies. What the features in REFUSED change is not understood, and
 * neither is any other incompatible feature that is not in READABLE; features that only writers must know do not matter.
 */
import { CHECKSUM_START, crc32c } from "./extfs-checksum.ts";
import { hasCopies } from "./extfs-layout.ts";
import { FormatError } from "./file-tree.ts";

/** What is wrong with a file system, for the user. */
export function unreadable(state: string): FormatError {
  return new FormatError(`Cannot read the file system: ${state}`);
}

export interface Superblock {
  kind: "ext2" | "ext3" | "ext4";
  label: string;
  uuid: Uint8Array;
  blockBytes: number;
  blocks: number;
  /** The first block that belongs to a group. */
  firstDataBlock: number;
  blocksPerGroup: number;
  /** Blocks that one bit of a bitmap and one unit of a free count stand for: 1 without bigalloc. */
  clusterBlocks: number;
  groups: number;
  inodesPerGroup: number;
  inodeBytes: number;
  /** The first inode that is not the file system's own. */
  firstInode: number;
  inodes: number;
  descriptorBytes: number;
  /** Directory records say what kind of file they name. */
  hasTypes: boolean;
  /** What checksums of metadata begin with, or null: there are none. */
  seed: number | null;
  hasWideBlocks: boolean;
  needsRecovery: boolean;
  /** 0: there is none. */
  journalInode: number;
  /** Blocks of superblocks, descriptors, bitmaps and tables of inodes, over all groups. */
  tableBlocks: number;
}

export const SUPERBLOCK_OFFSET = 1024;
export const SUPERBLOCK_BYTES = 1024;
const CHECKSUM = 1020;

const COMPATIBLE = { hasJournal: 0x4, resizeInode: 0x10, sparse2: 0x200 } as const;
const INCOMPATIBLE = {
  filetype: 0x2,
  recover: 0x4,
  extents: 0x40,
  wide: 0x80,
  mmp: 0x100,
  flexGroups: 0x200,
  attributeInodes: 0x400,
  seed: 0x2000,
  largeDirectories: 0x4000,
} as const;
const READ_ONLY_COMPATIBLE = { sparse: 0x1, largeFile: 0x2, btree: 0x4, bigalloc: 0x200, checksums: 0x400 } as const;
const READABLE = Object.values(INCOMPATIBLE).reduce((all, bit) => all | bit, 0);
const REFUSED: readonly (readonly [number, string])[] = [
  [0x1, "compression"],
  [0x8, "journal_dev: it is the journal of another file system"],
  [0x10, "meta_bg"],
  [0x1000, "dirdata"],
  [0x8000, "inline_data"],
  [0x1_0000, "encrypt"],
  [0x2_0000, "casefold"],
];

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * @param sourceBytes how large the disk is
 * @throws FormatError "Cannot read the file system: …"
 */
export function decodeSuperblock(bytes: Uint8Array, sourceBytes: number): Superblock {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const u16 = (at: number): number => view.getUint16(at, true);
  const u32 = (at: number): number => view.getUint32(at, true);
  if (u16(56) !== 0xef53) throw unreadable("it is none of ext2, ext3 and ext4");
  const revision = u32(76);
  if (revision > 1) throw unreadable(`it is of revision ${revision}, and only 0 and 1 are known`);
  const [compatible, incompatible, readOnly] = revision === 0 ? [0, 0, 0] : [u32(92), u32(96), u32(100)];
  const hasChecksums = (readOnly & READ_ONLY_COMPATIBLE.checksums) !== 0;
  if (hasChecksums && crc32c(CHECKSUM_START, bytes.subarray(0, CHECKSUM)) !== u32(CHECKSUM))
    throw unreadable("its superblock is damaged, the checksum does not match");
  refuseFeatures(incompatible);

  const damaged = (state: string): FormatError => unreadable(`its superblock is damaged, ${state}`);
  if (u32(24) > 6) throw damaged(`a block would have 2^${u32(24) + 10} bytes`);
  const blockBytes = 1024 << u32(24);
  const hasClusters = (readOnly & READ_ONLY_COMPATIBLE.bigalloc) !== 0;
  if (hasClusters && (u32(28) < u32(24) || u32(28) > 20)) throw damaged(`a cluster would have 2^${u32(28) + 10} bytes`);
  const clusterBlocks = hasClusters ? 2 ** (u32(28) - u32(24)) : 1;
  const hasWideBlocks = (incompatible & INCOMPATIBLE.wide) !== 0;
  const blocks = u32(4) + (hasWideBlocks ? u32(336) * 2 ** 32 : 0);
  const firstDataBlock = u32(20);
  const blocksPerGroup = u32(32);
  const inodesPerGroup = u32(40);
  const inodeBytes = revision === 0 ? 128 : u16(88);
  const descriptorBytes = hasWideBlocks ? u16(254) : 32;
  // With clusters, the first group of blocks of 1024 bytes begins at 0 all the same.
  if (firstDataBlock > 1 || firstDataBlock !== (blockBytes === 1024 && clusterBlocks === 1 ? 1 : 0))
    throw damaged(`its first group begins at the block ${firstDataBlock}`);
  if (blocks <= firstDataBlock) throw damaged(`it has ${blocks} blocks`);
  if (blocks * blockBytes > sourceBytes)
    throw unreadable(`it has ${blocks * blockBytes} bytes, but its disk has ${sourceBytes}`);
  if (blocksPerGroup < 8 || blocksPerGroup > 8 * blockBytes * clusterBlocks)
    throw damaged(`a group has ${blocksPerGroup} blocks`);
  if (inodesPerGroup < 8 || inodesPerGroup > 8 * blockBytes) throw damaged(`a group has ${inodesPerGroup} inodes`);
  if (!isPowerOfTwo(inodeBytes) || inodeBytes < 128 || inodeBytes > blockBytes)
    throw damaged(`an inode has ${inodeBytes} bytes`);
  if (!isPowerOfTwo(descriptorBytes) || descriptorBytes < (hasWideBlocks ? 64 : 32) || descriptorBytes > 1024)
    throw damaged(`a group descriptor has ${descriptorBytes} bytes`);
  const groups = Math.ceil((blocks - firstDataBlock) / blocksPerGroup);
  const inodes = u32(0);
  if (inodes !== groups * inodesPerGroup) throw damaged(`it has ${inodes} inodes in ${groups} groups`);
  // The descriptors are in the first group, all of them: this bounds how many groups a small disk can claim.
  if (groups * descriptorBytes > blocksPerGroup * blockBytes) throw damaged(`it has ${groups} groups`);

  const hasJournal = (compatible & COMPATIBLE.hasJournal) !== 0;
  const needsRecovery = (incompatible & INCOMPATIBLE.recover) !== 0;
  if (hasJournal && u32(224) === 0 && u32(228) !== 0) throw unreadable("its journal is on another disk (journal_dev)");
  if (needsRecovery && (!hasJournal || u32(224) === 0))
    throw unreadable("it is to be recovered from a journal, but has none");
  const afterExt3 =
    (incompatible & ~(INCOMPATIBLE.filetype | INCOMPATIBLE.recover)) |
    (readOnly & ~(READ_ONLY_COMPATIBLE.sparse | READ_ONLY_COMPATIBLE.largeFile | READ_ONLY_COMPATIBLE.btree));
  const name = bytes.subarray(120, 136);
  const nameEnd = name.indexOf(0);
  const uuid = new Uint8Array(bytes.subarray(104, 120));
  const ownSeed = (incompatible & INCOMPATIBLE.seed) !== 0;
  return {
    kind: afterExt3 !== 0 ? "ext4" : hasJournal ? "ext3" : "ext2",
    label: decoder.decode(nameEnd < 0 ? name : name.subarray(0, nameEnd)),
    uuid,
    blockBytes,
    blocks,
    firstDataBlock,
    blocksPerGroup,
    clusterBlocks,
    groups,
    inodesPerGroup,
    inodeBytes,
    firstInode: revision === 0 ? 11 : u32(84),
    inodes,
    descriptorBytes,
    hasTypes: (incompatible & INCOMPATIBLE.filetype) !== 0,
    seed: hasChecksums ? (ownSeed ? u32(624) : crc32c(CHECKSUM_START, uuid)) : null,
    hasWideBlocks,
    needsRecovery,
    journalInode: hasJournal ? u32(224) : 0,
    tableBlocks: countTables(),
  };

  function countTables(): number {
    const isSparse = (readOnly & READ_ONLY_COMPATIBLE.sparse) !== 0;
    const copies = Array.from({ length: groups }, (_, group) => group).filter((group) =>
      compatible & COMPATIBLE.sparse2
        ? group === 0 || group === u32(588) || group === u32(592)
        : !isSparse || hasCopies(group),
    ).length;
    const reserved = compatible & COMPATIBLE.resizeInode ? u16(206) : 0;
    const descriptors = Math.ceil((groups * descriptorBytes) / blockBytes);
    const inodeTable = Math.ceil((inodesPerGroup * inodeBytes) / blockBytes);
    return firstDataBlock + copies * (1 + descriptors + reserved) + groups * (2 + inodeTable);
  }
}

function refuseFeatures(incompatible: number): void {
  for (const [bit, name] of REFUSED)
    if (incompatible & bit) throw unreadable(`it uses a feature that is not supported, ${name}`);
  const unknown = (incompatible & ~READABLE) >>> 0;
  if (unknown) throw unreadable(`it uses features that are not known, 0x${unknown.toString(16)}`);
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && (value & (value - 1)) === 0;
}

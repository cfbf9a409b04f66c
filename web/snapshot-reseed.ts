/**
 * A program of 200 bytes that gives a guest's kernel chance and has it used at once. No program of the guest's own can say
 * the latter: what is written to /dev/urandom counts from the kernel's next reseeding on, up to a minute later.
 *
 *   ELF header, program header   System V ABI, chapter 4 and 5: one segment with everything, read and executed
 *   code                         the calls open, ioctl RNDADDENTROPY, ioctl RNDRESEEDCRNG, exit (drivers/char/random.c)
 *   "/dev/urandom", 0
 *   struct rand_pool_info        i32 bits of entropy, i32 bytes, the bytes (include/uapi/linux/random.h)
 *
 * Limitations: i386, and only root may.
 */

export const SEED_BYTES = 64;

const BASE = 0x0804_8000;
const HEADER_BYTES = 52;
const PROGRAM_HEADER_BYTES = 32;
const CODE_AT = HEADER_BYTES + PROGRAM_HEADER_BYTES;
const PATH = "/dev/urandom\0";
const [EXIT, OPEN, IOCTL] = [1, 5, 54];
const WRITE_ONLY = 1;
const RNDADDENTROPY = 0x4008_5203;
const RNDRESEEDCRNG = 0x5207;

const word = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
const half = (value: number): number[] => [value & 0xff, value >>> 8];
const setEax = (value: number): number[] => [0xb8, ...word(value)];
const setEbx = (value: number): number[] => [0xbb, ...word(value)];
const setEcx = (value: number): number[] => [0xb9, ...word(value)];
const setEdx = (value: number): number[] => [0xba, ...word(value)];
const CALL = [0xcd, 0x80];
const EBX_IS_RESULT = [0x89, 0xc3];
/** The kernel answers with minus the number of an error: exit with what went wrong, or with 0. */
const NEGATE_EBX = [0xf7, 0xdb];

/** @returns a program for the guest; it exits with 0 when the kernel has taken the seed and uses it */
export function reseedProgram(seed: Uint8Array): Uint8Array<ArrayBuffer> {
  if (seed.length !== SEED_BYTES) throw new Error(`Cannot reseed: ${seed.length} bytes instead of ${SEED_BYTES}`);
  const code = (path: number, pool: number): number[] => [
    ...[...setEax(OPEN), ...setEbx(path), ...setEcx(WRITE_ONLY), ...CALL, ...EBX_IS_RESULT],
    ...[...setEax(IOCTL), ...setEcx(RNDADDENTROPY), ...setEdx(pool), ...CALL],
    ...[...setEax(IOCTL), ...setEcx(RNDRESEEDCRNG), ...CALL],
    ...[...EBX_IS_RESULT, ...NEGATE_EBX, ...setEax(EXIT), ...CALL],
  ];
  const pathAt = CODE_AT + code(0, 0).length;
  const poolAt = (pathAt + PATH.length + 3) & ~3;
  const length = poolAt + 8 + SEED_BYTES;
  const program = new Uint8Array(length);
  program.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]);
  // An executable for the i386 with one program header.
  program.set([...half(2), ...half(3), ...word(1), ...word(BASE + CODE_AT), ...word(HEADER_BYTES), ...word(0)], 16);
  program.set([...word(0), ...half(HEADER_BYTES), ...half(PROGRAM_HEADER_BYTES), ...half(1), ...half(40)], 36);
  // Loaded as a whole, to be read and executed.
  const load = [1, 0, BASE, BASE, length, length, 5, 0x1000];
  program.set(load.flatMap(word), HEADER_BYTES);
  program.set(code(BASE + pathAt, BASE + poolAt), CODE_AT);
  program.set(new TextEncoder().encode(PATH), pathAt);
  program.set([...word(SEED_BYTES * 8), ...word(SEED_BYTES)], poolAt);
  program.set(seed, poolAt + 8);
  return program;
}

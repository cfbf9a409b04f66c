/**
 * XXH32, the checksum of stored chunks. https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
 *
 * A 32-bit sum finds what storage breaks, not what somebody forges. It is taken because four independent lanes of 32-bit
 * multiplications are what JavaScript engines do fastest: a gigabyte and more a second.
 */

const PRIME1 = 0x9e3779b1;
const PRIME2 = 0x85ebca77;
const PRIME3 = 0xc2b2ae3d;
const PRIME4 = 0x27d4eb2f;
const PRIME5 = 0x165667b1;

/**
 * @param bytes that begin at a multiple of four in their buffer
 * @param seed a 32-bit number that the sum depends on
 * @returns an unsigned 32-bit number
 */
export function xxh32(bytes: Uint8Array, seed: number): number {
  const { length } = bytes;
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, length >>> 2);
  let word = 0;
  let sum: number;
  if (length >= 16) {
    let a = (seed + PRIME1 + PRIME2) | 0;
    let b = (seed + PRIME2) | 0;
    let c = seed | 0;
    let d = (seed - PRIME1) | 0;
    for (const end = words.length - 4; word <= end; word += 4) {
      a = round(a, words[word] as number);
      b = round(b, words[word + 1] as number);
      c = round(c, words[word + 2] as number);
      d = round(d, words[word + 3] as number);
    }
    sum = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
  } else sum = seed + PRIME5;
  sum = (sum + length) | 0;
  for (; word < words.length; word += 1)
    sum = Math.imul(rotate((sum + Math.imul(words[word] as number, PRIME3)) | 0, 17), PRIME4);
  for (let at = word * 4; at < length; at += 1)
    sum = Math.imul(rotate((sum + Math.imul(bytes[at] as number, PRIME5)) | 0, 11), PRIME1);
  sum = Math.imul(sum ^ (sum >>> 15), PRIME2);
  sum = Math.imul(sum ^ (sum >>> 13), PRIME3);
  return (sum ^ (sum >>> 16)) >>> 0;
}

function round(lane: number, word: number): number {
  return Math.imul(rotate((lane + Math.imul(word, PRIME2)) | 0, 13), PRIME1);
}

function rotate(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

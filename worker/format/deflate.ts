/**
 * Packs clusters of a disk as raw deflate (RFC 1951): one block with codes of its own for each. Everything that it needs lies
 * there from the beginning, so that nothing but the results is left for the garbage collector, whatever the disk's size.
 *
 * Matches are looked for in two places of a table of hashes, greedily; where nothing is found for long, steps get larger.
 * Limitations: at most 64 KiB at once, matches of four bytes and more.
 */
import { type Code, createCode, writeLengths } from "./deflate-code.ts";

export const MOST_BYTES = 65_536;
const HASH_BITS = 15;
const LEAST_MATCH = 4;
const MOST_MATCH = 258;
const MOST_DISTANCE = 32_768;
/** After 2^SKIP_BITS places without a match the steps get larger by one. */
const SKIP_BITS = 5;
const END = 256;
const FIRST_LENGTH = 257;
const LITERAL_SYMBOLS = 286;
const DISTANCE_SYMBOLS = 30;

/** Section 3.2.5: lengths and distances, each a symbol and further bits. */
const LENGTH_BITS = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const DISTANCE_BITS = [
  0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13,
];
const LENGTH_BASE = new Uint16Array(LENGTH_BITS.length);
const LENGTH_SYMBOL = new Uint8Array(MOST_MATCH + 1);
const DISTANCE_BASE = new Uint16Array(DISTANCE_SYMBOLS);
/** Of distances up to 256, then of those less one in steps of 128. */
const DISTANCE_SYMBOL = new Uint8Array(512);
fillTables();

/** Takes at most MOST_BYTES. @returns null when it would be no shorter */
export type Deflater = (bytes: Uint8Array) => Uint8Array<ArrayBuffer> | null;

export function createDeflater(): Deflater {
  /** Two places for each hash, as numbers that grow from one cluster to the next: what is from before is too small. */
  const table = new Int32Array(2 << HASH_BITS);
  let base = 1;
  /** A literal is its byte, a match its length × 65,536 + its distance. */
  const tokens = new Int32Array(MOST_BYTES + 1);
  const literals = createCode(LITERAL_SYMBOLS, 15);
  const distances = createCode(DISTANCE_SYMBOLS, 15);
  const output = new BitWriter(MOST_BYTES + 1024);

  const findTokens = (bytes: Uint8Array): number => {
    const { length } = bytes;
    const last = length - LEAST_MATCH;
    let count = 0;
    let at = 0;
    let misses = 0;
    while (at <= last) {
      const word =
        (bytes[at] as number) |
        ((bytes[at + 1] as number) << 8) |
        ((bytes[at + 2] as number) << 16) |
        ((bytes[at + 3] as number) << 24);
      const slot = (Math.imul(word, 0x9e3779b1) >>> (32 - HASH_BITS)) << 1;
      const first = (table[slot] as number) - base;
      const second = (table[slot + 1] as number) - base;
      table[slot + 1] = first + base;
      table[slot] = at + base;
      let found = first >= 0 && at - first <= MOST_DISTANCE ? matchLength(bytes, first, at) : 0;
      let from = first;
      if (second >= 0 && at - second <= MOST_DISTANCE && found < MOST_MATCH) {
        const other = matchLength(bytes, second, at);
        if (other > found) {
          found = other;
          from = second;
        }
      }
      if (found < LEAST_MATCH) {
        misses += 1;
        for (let step = 1 + (misses >> SKIP_BITS); step > 0 && at < length; step -= 1)
          tokens[count++] = bytes[at++] as number;
        continue;
      }
      misses = 0;
      tokens[count++] = (found << 16) | (at - from);
      const end = at + found;
      // What lies within a match is found again as well, as far as it is worth it.
      for (at += 1; at < end; at += found > 32 ? 4 : 1) {
        if (at > last) break;
        const within =
          (bytes[at] as number) |
          ((bytes[at + 1] as number) << 8) |
          ((bytes[at + 2] as number) << 16) |
          ((bytes[at + 3] as number) << 24);
        const place = (Math.imul(within, 0x9e3779b1) >>> (32 - HASH_BITS)) << 1;
        table[place + 1] = table[place] as number;
        table[place] = at + base;
      }
      at = end;
    }
    while (at < length) tokens[count++] = bytes[at++] as number;
    base += MOST_BYTES + MOST_DISTANCE;
    if (base > 2 ** 30) {
      table.fill(0);
      base = 1;
    }
    return count;
  };

  /** @returns bits that stand beside the symbols */
  const countSymbols = (count: number): number => {
    literals.counts.fill(0);
    distances.counts.fill(0);
    literals.counts[END] = 1;
    let bits = 0;
    for (let at = 0; at < count; at += 1) {
      const token = tokens[at] as number;
      if (token < 256) {
        literals.counts[token] = (literals.counts[token] as number) + 1;
        continue;
      }
      const length = LENGTH_SYMBOL[token >>> 16] as number;
      const distance = distanceSymbol(token & 0xffff);
      literals.counts[FIRST_LENGTH + length] = (literals.counts[FIRST_LENGTH + length] as number) + 1;
      distances.counts[distance] = (distances.counts[distance] as number) + 1;
      bits += (LENGTH_BITS[length] as number) + (DISTANCE_BITS[distance] as number);
    }
    // A block without any matches has a code for distances all the same.
    if (distances.counts.every((one) => one === 0)) distances.counts[0] = 1;
    return bits;
  };

  return (bytes) => {
    if (bytes.length > MOST_BYTES) throw new Error(`Cannot pack ${bytes.length} bytes at once`);
    const count = findTokens(bytes);
    let bits = countSymbols(count);
    literals.build();
    distances.build();
    bits += literals.bits() + distances.bits();
    // The codes themselves take some 60 bytes and more.
    if (bits >= (bytes.length - 40) * 8) return null;
    output.reset();
    // The last block, with codes of its own.
    output.write(0b101, 3);
    writeLengths(output, literals, distances);
    writeTokens(output, tokens, count, literals, distances);
    output.writeSymbol(literals, END);
    const packed = output.finish();
    return packed.length < bytes.length ? packed : null;
  };
}

function matchLength(bytes: Uint8Array, from: number, at: number): number {
  const most = Math.min(MOST_MATCH, bytes.length - at);
  let length = 0;
  while (length < most && bytes[from + length] === bytes[at + length]) length += 1;
  return length;
}

function writeTokens(output: BitWriter, tokens: Int32Array, count: number, literals: Code, distances: Code): void {
  for (let at = 0; at < count; at += 1) {
    const token = tokens[at] as number;
    if (token < 256) {
      output.writeSymbol(literals, token);
      continue;
    }
    const length = LENGTH_SYMBOL[token >>> 16] as number;
    output.writeSymbol(literals, FIRST_LENGTH + length);
    output.write((token >>> 16) - (LENGTH_BASE[length] as number), LENGTH_BITS[length] as number);
    const distance = distanceSymbol(token & 0xffff);
    output.writeSymbol(distances, distance);
    output.write((token & 0xffff) - (DISTANCE_BASE[distance] as number), DISTANCE_BITS[distance] as number);
  }
}

function distanceSymbol(distance: number): number {
  return DISTANCE_SYMBOL[distance <= 256 ? distance - 1 : 256 + ((distance - 1) >> 7)] as number;
}

function fillTables(): void {
  let length = 3;
  for (const [symbol, bits] of LENGTH_BITS.entries()) {
    if (symbol === LENGTH_BITS.length - 1) length = MOST_MATCH;
    LENGTH_BASE[symbol] = length;
    for (let count = 0; count < 1 << bits && length <= MOST_MATCH; count += 1) LENGTH_SYMBOL[length++] = symbol;
  }
  let distance = 1;
  for (const [symbol, bits] of DISTANCE_BITS.entries()) {
    DISTANCE_BASE[symbol] = distance;
    for (let count = 0; count < 1 << bits; count += 1, distance += 1)
      DISTANCE_SYMBOL[distance <= 256 ? distance - 1 : 256 + ((distance - 1) >> 7)] = symbol;
  }
}

/** Bits from the lowest on. */
export class BitWriter {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  #end = 0;
  #held = 0;
  #heldBits = 0;

  constructor(mostBytes: number) {
    this.#bytes = new Uint8Array(mostBytes);
  }

  reset(): void {
    this.#end = 0;
    this.#held = 0;
    this.#heldBits = 0;
  }

  /** @param count up to 16 */
  write(value: number, count: number): void {
    this.#held |= value << this.#heldBits;
    this.#heldBits += count;
    if (this.#heldBits < 16) return;
    this.#bytes[this.#end++] = this.#held;
    this.#bytes[this.#end++] = this.#held >>> 8;
    this.#held >>>= 16;
    this.#heldBits -= 16;
  }

  writeSymbol(code: Code, symbol: number): void {
    this.write(code.words[symbol] as number, code.lengths[symbol] as number);
  }

  finish(): Uint8Array<ArrayBuffer> {
    for (; this.#heldBits > 0; this.#heldBits -= 8, this.#held >>>= 8) this.#bytes[this.#end++] = this.#held;
    return this.#bytes.slice(0, this.#end);
  }
}

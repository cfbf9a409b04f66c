/**
 * Prefix codes of deflate (RFC 1951, section 3.2.2) and how a block tells them (section 3.2.7). Lengths are those of A. Moffat and
 * J. Katajainen, "In-Place Calculation of Minimum-Redundancy Codes" (1995); ones that are too long are made up for by
 * lengthening the longest of the others.
 */

export interface Code {
  /** How often each symbol comes. */
  readonly counts: Uint32Array;
  /** Bits of each symbol's word; 0 when it does not come. */
  readonly lengths: Uint8Array;
  /** The words, lowest bit first. */
  readonly words: Uint16Array;
  /** Makes lengths and words from the counts. */
  build(): void;
  /** Of all symbols that were counted. */
  bits(): number;
}

interface Output {
  write(value: number, count: number): void;
}

/** Two places in a word are for the symbol, the rest is its count. */
const SYMBOL_BITS = 9;

export function createCode(symbols: number, mostBits: number): Code {
  const counts = new Uint32Array(symbols);
  const lengths = new Uint8Array(symbols);
  const words = new Uint16Array(symbols);
  const sorted = new Float64Array(symbols);
  const work = new Int32Array(symbols);
  const ofLength = new Int32Array(33);
  const next = new Int32Array(33);
  return {
    ...{ counts, lengths, words },
    build() {
      lengths.fill(0);
      let used = 0;
      for (let symbol = 0; symbol < symbols; symbol += 1) {
        const count = counts[symbol] as number;
        if (count > 0) sorted[used++] = count * (1 << SYMBOL_BITS) + symbol;
      }
      const order = sorted.subarray(0, used).sort();
      for (let at = 0; at < used; at += 1) work[at] = Math.floor((order[at] as number) / (1 << SYMBOL_BITS));
      minimumRedundancy(work, used);
      ofLength.fill(0);
      for (let at = 0; at < used; at += 1) {
        const length = Math.min(work[at] as number, mostBits);
        ofLength[length] = (ofLength[length] as number) + 1;
      }
      if (used > 1) shorten(ofLength, mostBits);
      // The rarest have the longest.
      let at = used;
      for (let length = 1; length <= mostBits; length += 1)
        for (let left = ofLength[length] as number; left > 0; left -= 1) {
          at -= 1;
          lengths[(order[at] as number) % (1 << SYMBOL_BITS)] = length;
        }
      let word = 0;
      for (let length = 1; length <= mostBits; length += 1) {
        word = (word + (length === 1 ? 0 : (ofLength[length - 1] as number))) << 1;
        next[length] = word;
      }
      for (let symbol = 0; symbol < symbols; symbol += 1) {
        const length = lengths[symbol] as number;
        if (length === 0) continue;
        words[symbol] = reversed(next[length] as number, length);
        next[length] = (next[length] as number) + 1;
      }
    },
    bits() {
      let sum = 0;
      for (let symbol = 0; symbol < symbols; symbol += 1)
        sum += (counts[symbol] as number) * (lengths[symbol] as number);
      return sum;
    },
  };
}

/** In place: counts in ascending order become lengths. */
function minimumRedundancy(work: Int32Array, count: number): void {
  const of = (at: number): number => work[at] as number;
  if (count === 1) work[0] = 1;
  if (count < 2) return;
  work[0] = of(0) + of(1);
  let root = 0;
  let leaf = 2;
  for (let next = 1; next < count - 1; next += 1) {
    const take = (isFirst: boolean): number => {
      if (leaf >= count || ((isFirst || root < next) && of(root) < of(leaf))) {
        const value = of(root);
        work[root++] = next;
        return value;
      }
      return of(leaf++);
    };
    work[next] = take(true);
    work[next] = of(next) + take(false);
  }
  work[count - 2] = 0;
  for (let next = count - 3; next >= 0; next -= 1) work[next] = of(of(next)) + 1;
  let free = 1;
  let used = 0;
  let depth = 0;
  root = count - 2;
  for (let next = count - 1; free > 0; depth += 1) {
    for (; root >= 0 && of(root) === depth; root -= 1) used += 1;
    for (; free > used; free -= 1) work[next--] = depth;
    free = 2 * used;
    used = 0;
  }
}

/** Makes the sum of 2^-length one again, after lengths were cut. */
function shorten(ofLength: Int32Array, most: number): void {
  let total = 0;
  for (let length = most; length > 0; length -= 1) total += (ofLength[length] as number) << (most - length);
  for (; total > 1 << most; total -= 1) {
    ofLength[most] = (ofLength[most] as number) - 1;
    let length = most - 1;
    while (ofLength[length] === 0) length -= 1;
    ofLength[length] = (ofLength[length] as number) - 1;
    ofLength[length + 1] = (ofLength[length + 1] as number) + 2;
  }
}

function reversed(word: number, length: number): number {
  let result = 0;
  for (let bit = 0; bit < length; bit += 1) result |= ((word >> bit) & 1) << (length - 1 - bit);
  return result;
}

/** The order in which the lengths of the code for lengths stand. */
const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const REPEAT = 16;
const ZEROS = 17;
const MANY_ZEROS = 18;
const FURTHER_BITS = { [REPEAT]: 2, [ZEROS]: 3, [MANY_ZEROS]: 7 } as Readonly<Record<number, number>>;
const forLengths = createCode(19, 7);

/** Tells the two codes of a block, after its kind. */
export function writeLengths(output: Output, literals: Code, distances: Code): void {
  const literalCount = Math.max(257, used(literals.lengths));
  const distanceCount = Math.max(1, used(distances.lengths));
  const all = [...literals.lengths.subarray(0, literalCount), ...distances.lengths.subarray(0, distanceCount)];
  const steps = runs(all);
  forLengths.counts.fill(0);
  for (const { symbol } of steps) forLengths.counts[symbol] = (forLengths.counts[symbol] as number) + 1;
  // A code of one word is none that is read everywhere.
  if (forLengths.counts.filter((count) => count > 0).length < 2)
    forLengths.counts[forLengths.counts[0] === 0 ? 0 : 1] = 1;
  forLengths.build();
  let orderCount = ORDER.length;
  while (orderCount > 4 && forLengths.lengths[ORDER[orderCount - 1] as number] === 0) orderCount -= 1;
  output.write(literalCount - 257, 5);
  output.write(distanceCount - 1, 5);
  output.write(orderCount - 4, 4);
  for (const symbol of ORDER.slice(0, orderCount)) output.write(forLengths.lengths[symbol] as number, 3);
  for (const { symbol, further } of steps) {
    output.write(forLengths.words[symbol] as number, forLengths.lengths[symbol] as number);
    output.write(further, FURTHER_BITS[symbol] ?? 0);
  }
}

function used(lengths: Uint8Array): number {
  return lengths.findLastIndex((length) => length > 0) + 1;
}

function runs(lengths: readonly number[]): { symbol: number; further: number }[] {
  const steps: { symbol: number; further: number }[] = [];
  for (let at = 0; at < lengths.length; ) {
    const length = lengths[at] as number;
    let count = 1;
    while (lengths[at + count] === length) count += 1;
    at += count;
    if (length !== 0) {
      steps.push({ symbol: length, further: 0 });
      count -= 1;
    }
    while (count >= 3) {
      const [symbol, least, most] = length !== 0 ? [REPEAT, 3, 6] : count < 11 ? [ZEROS, 3, 10] : [MANY_ZEROS, 11, 138];
      const taken = Math.min(count, most as number);
      steps.push({ symbol: symbol as number, further: taken - (least as number) });
      count -= taken;
    }
    for (; count > 0; count -= 1) steps.push({ symbol: length, further: 0 });
  }
  return steps;
}

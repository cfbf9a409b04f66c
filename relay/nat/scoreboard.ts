/**
 * What the other side has told by selective acknowledgements (RFC 2018), and what follows from it about losses
 * (RFC 6675). All positions are sequence numbers above the last cumulative acknowledgement.
 */
import { distance } from "./sequence.ts";

const RANGES = 64;
/** So many acknowledgements of the same are a loss, and so are so many ranges (RFC 5681, 3.2; RFC 6675, section 2). */
export const DUPLICATE_THRESHOLD = 3;

export class Scoreboard {
  /** Start and end, one after the other, in order, without overlap. */
  private edges: number[] = [];

  get isEmpty(): boolean {
    return this.edges.length === 0;
  }

  clear(): void {
    this.edges = [];
  }

  /** @returns whether it told something new */
  add(start: number, end: number): boolean {
    const { edges } = this;
    let first = 0;
    while (first < edges.length && distance(edges[first + 1] as number, start) < 0) first += 2;
    let last = first;
    while (last < edges.length && distance(edges[last] as number, end) <= 0) last += 2;
    if (last === first) {
      if (edges.length >= 2 * RANGES) return false;
      edges.splice(first, 0, start, end);
      return true;
    }
    const lowest = edges[first] as number;
    const highest = edges[last - 1] as number;
    if (last === first + 2 && distance(lowest, start) <= 0 && distance(highest, end) >= 0) return false;
    edges.splice(
      first,
      last - first,
      distance(start, lowest) < 0 ? start : lowest,
      distance(end, highest) > 0 ? end : highest,
    );
    return true;
  }

  /** Forgets what is acknowledged up to `seq` now. */
  advance(seq: number): void {
    const { edges } = this;
    while (edges.length > 0 && distance(edges[1] as number, seq) <= 0) edges.splice(0, 2);
    if (edges.length > 0 && distance(edges[0] as number, seq) < 0) edges[0] = seq;
  }

  /** How many bytes from `start` to `end` have not arrived, as far as is known. */
  missing(start: number, end: number): number {
    let bytes = distance(end, start);
    if (bytes <= 0) return 0;
    const { edges } = this;
    for (let i = 0; i < edges.length; i += 2) {
      const from = Math.max(0, distance(edges[i] as number, start));
      const to = Math.min(distance(end, start), distance(edges[i + 1] as number, start));
      if (to > from) bytes -= to - from;
    }
    return bytes;
  }

  /** The first position from `start` on that has not arrived. */
  nextMissing(start: number): number {
    const { edges } = this;
    for (let i = 0; i < edges.length; i += 2) {
      if (distance(edges[i] as number, start) > 0) break;
      if (distance(edges[i + 1] as number, start) > 0) start = edges[i + 1] as number;
    }
    return start;
  }

  /** Where the missing part that begins at `start` ends, but not beyond `limit`. */
  endOfMissing(start: number, limit: number): number {
    const { edges } = this;
    for (let i = 0; i < edges.length; i += 2)
      if (distance(edges[i] as number, start) > 0)
        return distance(edges[i] as number, limit) < 0 ? (edges[i] as number) : limit;
    return limit;
  }

  /**
   * Everything missing before this is lost: three ranges, or more than two segments, have arrived above it (IsLost of
   * RFC 6675, section 4).
   * @param none is returned when nothing is lost
   */
  lostBefore(mss: number, none: number): number {
    const { edges } = this;
    let bytes = 0;
    for (let i = edges.length - 2, ranges = 1; i >= 0; i -= 2, ranges++) {
      bytes += distance(edges[i + 1] as number, edges[i] as number);
      if (ranges >= DUPLICATE_THRESHOLD || bytes > (DUPLICATE_THRESHOLD - 1) * mss) return edges[i] as number;
    }
    return none;
  }
}

/** TCP sequence numbers: 32 bits, compared modulo 2³² (RFC 9293, 3.4). */

/** How far `a` is after `b`: negative when it is before it. Right while they are less than 2³¹ apart. */
export function distance(a: number, b: number): number {
  return (a - b) | 0;
}

export function advance(sequence: number, by: number): number {
  return (sequence + by) >>> 0;
}

const UNITS = ["B", "kB", "MB", "GB", "TB"] as const;

/** Amounts on a wire count in thousands: 512 B, 1.5 kB, 23 MB. Two or three digits, so that they do not jump about. */
export function formatAmount(bytes: number): string {
  let value = Math.max(0, bytes);
  let unit = 0;
  // What would be rounded to 1000 is 1.0 of the next.
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value.toFixed(unit === 0 || value >= 9.95 ? 0 : 1)} ${UNITS[unit]}`;
}

export function formatRate(bytesPerSecond: number): string {
  return `${formatAmount(bytesPerSecond)}/s`;
}

/** What somebody is told of what was thrown. */
export function sentenceOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Work that the user ended: no fault. */
export class CancelledError extends Error {}

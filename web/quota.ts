/** Whether the storage has refused something because there is no room for it. */
export function isQuota(error: unknown): boolean {
  return error instanceof DOMException && error.name === "QuotaExceededError";
}

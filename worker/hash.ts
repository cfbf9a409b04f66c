import { sha256 } from "@noble/hashes/sha2.js";

/**
 * Lower-case hexadecimal SHA-256. A page that came over plain HTTP from another computer has no `crypto.subtle`;
 * there a library computes it, some ten times slower.
 */
export async function hashSha256(bytes: Uint8Array): Promise<string> {
  const digest = globalThis.crypto?.subtle
    ? new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>))
    : sha256(bytes);
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// @ts-check
/** Compressed copies for the server to choose from. They are kept by content: brotli at its best takes seconds a megabyte. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import { ROOT } from "./setup.mjs";

const CACHE = join(ROOT, "node_modules/.cache/compressed");
/** Quality 11 is for what is sent often and small; the kernel is large and already compressed. */
const LARGE_BYTES = 2_500_000;
/** A copy that saves less than a tenth is not worth unpacking. */
const WORTH = 0.9;

/**
 * What this build has asked for.
 * @type {Map<string, Promise<Buffer>>}
 */
const used = new Map();

/** @returns {Promise<{br: Buffer | null, gz: Buffer | null}>} null where compressing does not pay */
export async function compress(/** @type {Buffer} */ bytes) {
  const quality = bytes.length > LARGE_BYTES ? 9 : 11;
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: quality,
    [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
    [constants.BROTLI_PARAM_LGWIN]: 22,
  };
  const key = `${createHash("sha256").update(bytes).digest("hex")}-${quality}`;
  const [br, gz] = await Promise.all([
    keep(`${key}.br`, () => promisify(brotliCompress)(bytes, { params })),
    keep(`${key}.gz`, () => promisify(gzip)(bytes, { level: 9 })),
  ]);
  const orNull = (/** @type {Buffer} */ small) => (small.length < bytes.length * WORTH ? small : null);
  return { br: orNull(br), gz: orNull(gz) };
}

function keep(/** @type {string} */ name, /** @type {() => Promise<Buffer>} */ make) {
  const bytes = used.get(name) ?? readOrMake(name, make);
  used.set(name, bytes);
  return bytes;
}

async function readOrMake(/** @type {string} */ name, /** @type {() => Promise<Buffer>} */ make) {
  const path = join(CACHE, name);
  if (existsSync(path)) return readFileSync(path);
  const made = await make();
  mkdirSync(CACHE, { recursive: true });
  writeFileSync(path, made);
  return made;
}

/** Forgets what this build had no use for. */
export function forgetUnused() {
  for (const name of readdirSync(CACHE)) if (!used.has(name)) rmSync(join(CACHE, name));
}

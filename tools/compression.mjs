// @ts-check
/** Compressed copies for the server to choose from. They are kept by content: brotli at its best takes seconds a megabyte. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import * as zlib from "node:zlib";
import { findProgram, ROOT } from "./setup.mjs";

const CACHE = join(ROOT, "node_modules/.cache/compressed");
/** Quality 11 is for what is sent often and small; the kernel is large and already compressed. */
const LARGE_BYTES = 2_500_000;
/** The most that is not refused by browsers, which take windows of 8 MiB (RFC 9659). */
const ZSTD_LEVEL = 19;
/** A copy that saves less than a tenth is not worth unpacking. */
const WORTH = 0.9;

/**
 * What this build has asked for.
 * @type {Map<string, Promise<Buffer>>}
 */
const used = new Map();

/**
 * @typedef {{br: Buffer | null, gz: Buffer | null, zst: Buffer | null}} Copies null where one does not pay
 *
 * zstd is for what is large, such as states: they become smaller than with a brotli that is done in seconds, and a browser
 * unpacks them in a fifth of its time.
 */

/** @returns {Promise<Copies>} */
export async function compress(/** @type {Buffer} */ bytes) {
  const { brotliCompress, constants, gzip } = zlib;
  const quality = bytes.length > LARGE_BYTES ? 9 : 11;
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: quality,
    [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
    [constants.BROTLI_PARAM_LGWIN]: 22,
  };
  const key = `${createHash("sha256").update(bytes).digest("hex")}-${quality}`;
  const [br, gz, zst] = await Promise.all([
    keep(`${key}.br`, () => promisify(brotliCompress)(bytes, { params })),
    keep(`${key}.gz`, () => promisify(gzip)(bytes, { level: 9 })),
    bytes.length > LARGE_BYTES && hasZstd() ? keep(`${key}.zst`, () => zstd(bytes)) : bytes,
  ]);
  const orNull = (/** @type {Buffer} */ small) => (small.length < bytes.length * WORTH ? small : null);
  return { br: orNull(br), gz: orNull(gz), zst: zst.length < br.length ? orNull(zst) : null };
}

/** Bytes of a file that a browser fetches which takes every kind of copy. */
export function wireBytes(/** @type {Buffer} */ bytes, /** @type {Copies} */ { br, zst }) {
  return (zst ?? br ?? bytes).length;
}

/** Whether this machine can make copies with zstd. */
export function hasZstd() {
  return "zstdCompress" in zlib || findProgram("zstd") !== null;
}

/**
 * By Node, which can since version 22.15, or else by the program of that name.
 * @returns {Promise<Buffer>}
 */
async function zstd(/** @type {Buffer} */ bytes) {
  if ("zstdCompress" in zlib) {
    const { zstdCompress, constants } = /** @type {any} */ (zlib);
    return promisify(zstdCompress)(bytes, { params: { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL } });
  }
  const child = spawn("zstd", ["-q", `-${ZSTD_LEVEL}`, "-c"], { stdio: ["pipe", "pipe", "inherit"] });
  child.stdin.end(bytes);
  const [parts, [status]] = await Promise.all([child.stdout.toArray(), once(child, "close")]);
  if (status !== 0) throw new Error(`Cannot compress with zstd: it ended with ${status}`);
  return Buffer.concat(parts);
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

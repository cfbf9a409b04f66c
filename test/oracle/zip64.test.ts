/** Archives beyond 4 GiB, as a bundle with large disks is one: sizes and places that want 64 bits, judged by unzip and Python. */
import { execFileSync } from "node:child_process";
import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { deflateRawSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { openFile } from "../../cli/files.ts";
import { crc32OfZeros } from "../../worker/format/crc32.ts";
import { encodeZip, readZip, type ZipMember, zipData } from "../../worker/format/zip.ts";
import { scratchFolder } from "./images.ts";

const MIB = 1024 * 1024;
const scratch = scratchFolder("zip64");
const hole = new Uint8Array(MIB);
const after = new TextEncoder().encode("after it\n");
const last: ZipMember = { name: "after", mode: 0o644, kind: "bytes", content: after, packed: new Uint8Array(20) };

/** A member whose packed form is the given pieces; what they unpack to are zeros. */
function stream(pieces: number, piece: Uint8Array<ArrayBuffer>, end: Uint8Array<ArrayBuffer>, size: number): ZipMember {
  async function* packed(): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    for (let count = 0; count < pieces; count += 1) yield piece;
    if (end.length > 0) yield end;
  }
  return {
    name: "large",
    mode: 0o644,
    kind: "stream",
    packed: packed(),
    result: () => ({ crc: crc32OfZeros(size, 0), size }),
  };
}

/** Holes stay holes: what is there takes a few MB. */
async function write(name: string, members: ZipMember[]): Promise<string> {
  const path = join(scratch, name);
  const handle = openSync(path, "w");
  let end = 0;
  for await (const part of encodeZip(members)) {
    if (part !== hole) writeSync(handle, part, 0, part.length, end);
    end += part.length;
  }
  ftruncateSync(handle, end);
  closeSync(handle);
  return path;
}

describe("an archive beyond 4 GiB", () => {
  it("has members of more than 4 GiB that unzip lists and unpacks", async () => {
    // Zeros as deflate that ends at a whole byte and is not the last, again and again.
    const packed = new Uint8Array(deflateRawSync(new Uint8Array(16 * MIB), { finishFlush: 3 }));
    const pieces = 257;
    const path = await write("size.zip", [stream(pieces, packed, Uint8Array.of(3, 0), pieces * 16 * MIB), last]);
    // To sum 4 GiB takes unzip a while: its first MiB tells that the member's headers are understood.
    expect(execFileSync("unzip", ["-l", path], { encoding: "utf8" })).toMatch(/^ *4311744512 .* large$/m);
    execFileSync("sh", ["-c", `unzip -p ${path} large 2>/dev/null | cmp -n ${MIB} - /dev/zero`]);
    const entries = await readZip(await openFile(path), "Cannot open it");
    expect(entries.get("large")?.size).toBe(pieces * 16 * MIB);
  }, 120_000);

  it("has members that begin beyond 4 GiB, where unzip, Python and the page find them", async () => {
    const path = await write("place.zip", [stream(5 * 1024, hole, new Uint8Array(0), 5 * 1024 * MIB), last]);
    expect(execFileSync("unzip", ["-p", path, "after"], { encoding: "utf8" })).toBe("after it\n");
    const script =
      "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); print(z.getinfo('after').header_offset, z.read('after'))";
    const python = execFileSync("python3", ["-c", script, path], { encoding: "utf8" });
    expect(python).toMatch(/^5368709\d{3} b'after it\\n'/);
    const source = await openFile(path);
    const entry = (await readZip(source, "Cannot open it")).get("after");
    if (!entry) throw new Error("the member is not there");
    const parts: Uint8Array[] = [];
    for await (const part of zipData(source, entry, "Cannot open it")) parts.push(part);
    expect(Buffer.concat(parts).toString()).toBe("after it\n");
    await source.close();
  });
});

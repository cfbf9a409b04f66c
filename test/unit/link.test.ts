import { deflateRawSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { MOST_LINK_LENGTH as PAGES_MOST, projectLink, readProjectLink } from "../../web/project-link.ts";
import { crc32 } from "../../worker/format/crc32.ts";
import { encodeLink, MOST_LINK_LENGTH, openLink } from "../../worker/link.ts";
import type { SharedProject } from "../../worker/shared-project.ts";

const text = (words: string) => new TextEncoder().encode(words);
const PROJECT: SharedProject = {
  version: 1,
  name: "déjà vu <b>",
  files: [
    { path: "/bin/vi", kind: "deleted" },
    { path: "/dev/mine", kind: "device", device: "character", major: 1, minor: 3, mode: 0o600 },
    { path: "/etc/binary", kind: "file", content: Uint8Array.of(0, 255, 10, 128, 0), mode: 0o4755, uid: 7, gid: 8 },
    { path: "/etc/empty", kind: "file", content: new Uint8Array(0), mode: 0o644 },
    { path: "/etc/link", kind: "symlink", target: "../init", mode: 0o777 },
    { path: "/init", kind: "file", content: text("#!/bin/sh\nexec /bin/sh\n"), mode: 0o755, mtime: 99 },
    { path: "/srv", kind: "directory", mode: 0o1777 },
  ],
  components: [],
  commandLine: "quiet",
  memoryMb: 64,
  disks: [{ id: "d", name: "d", kind: "data", fileSystem: "ext4", label: "", sizeMb: 8, drive: "sdb" }],
  network: { relay: "wss://relay.example.org/?token=secret", card: "ne2k" },
  createdAt: 5,
  updatedAt: 6,
};

/** A link of any content, with a sum that is right. */
function forged(payload: Uint8Array): string {
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(payload));
  return Buffer.concat([sum, deflateRawSync(payload)]).toString("base64url");
}
const project = (change: object) => ({
  format: "smart-os project",
  version: 1,
  name: "x",
  commandLine: "",
  memoryMb: 64,
  ...change,
});
const json = (change: object, contents = "") => forged(text(`${JSON.stringify(project(change))}\n${contents}`));

describe("a project's link", () => {
  it("carries files of all kinds, modes, owners, deletions, the command line and the memory; no disks and no relay", async () => {
    const packed = encodeLink(PROJECT);
    expect(packed).toMatch(/^[\w-]+$/);
    expect(packed.length).toBeLessThan(800);
    const { createdAt: _, updatedAt: __, ...opened } = await openLink(packed);
    const { createdAt: ___, updatedAt: ____, ...rest } = PROJECT;
    expect(opened).toEqual({ ...rest, disks: [], network: { relay: null, card: "ne2k" } });
    expect(Buffer.from(packed, "base64url").toString("latin1")).not.toContain("secret");
  });

  it("is read from the address, and keeps nothing else of it", () => {
    const url = projectLink("http://localhost:8086/?relay=ws://x&token=y#old", "AB-_1");
    expect(url).toBe("http://localhost:8086/#p=AB-_1");
    expect(readProjectLink(url)).toBe("AB-_1");
    expect(readProjectLink("http://localhost:8086/?room=a#p=secret")).toBeNull();
    expect(readProjectLink("http://localhost:8086/#other")).toBeNull();
    expect(PAGES_MOST).toBe(MOST_LINK_LENGTH);
  });

  it.each([
    ["", "it is damaged, its text has characters that no link has"],
    ["%3Cscript%3E", "it is damaged, its text has characters that no link has"],
    ["AAAA", "damaged or cut off"],
    ["A", "it is damaged"],
    ["x".repeat(MOST_LINK_LENGTH + 1), `it has ${MOST_LINK_LENGTH + 1} characters`],
    [forged(text("no line")), "there is no project in it"],
    [forged(text("{}\n")), "project.json is not of a smart-os project"],
    [forged(text("[\n")), "is not JSON"],
    [json({ memoryMb: 63 }), "memoryMb is none of"],
    [json({ commandLine: "a\u001bb" }), "commandLine has a control character"],
    [json({ files: [{ path: "/a/../../b", kind: "deleted" }] }), "/a/../../b"],
    [json({ files: [{ path: "/a", kind: "file", mode: 420 }] }), 'the content of "/a" is not in it'],
    [
      json({ files: [{ path: "/a", kind: "file", mode: 420 }], sizes: [9] }, "short"),
      'the content of "/a" is not in it',
    ],
    [json({ files: [{ path: "/a", kind: "file", mode: 420 }], sizes: [-1] }), "the sizes of its files are none"],
    [json({}, "left"), "it has 4 bytes that belong to no file"],
    [forged(new Uint8Array(9 * 1024 * 1024)), "more than the 8388608 bytes"],
  ])("is refused with words: %.20s", async (packed, words) => {
    const error = await openLink(packed).then(
      () => new Error("it was opened"),
      (reason: Error) => reason,
    );
    expect(error.message).toMatch(/^Cannot open the link: /);
    expect(error.message).toContain(words);
  });

  it("is refused whatever character of it is changed or missing", async () => {
    const packed = encodeLink(PROJECT);
    for (let at = 0; at < packed.length; at += 7) {
      const other = packed[at] === "A" ? "B" : "A";
      await expect(openLink(packed.slice(0, at) + other + packed.slice(at + 1))).rejects.toThrow(
        "Cannot open the link: ",
      );
      await expect(openLink(packed.slice(0, at))).rejects.toThrow("Cannot open the link: ");
    }
  });
});

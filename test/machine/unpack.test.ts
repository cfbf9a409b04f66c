/** The kernel's unpacking of archives, which our patch shortens: what follows in a second one takes the place of the first's. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Overlay } from "../../worker/api.ts";
import { encodeCpio } from "../../worker/format/cpio.ts";
import { FileTree, type TreeEntry } from "../../worker/format/file-tree.ts";
import { bootGuest, buildTestInitramfs, type Guest } from "./guest.ts";

const mine = { mode: 0o777, uid: 0, gid: 0, mtime: 1_000_000_000 };
const content = new TextEncoder().encode("text");

const first: Overlay = [
  { path: "/srv/t/empty", kind: "directory", mode: 0o755 },
  { path: "/srv/t/file", kind: "file", mode: 0o644, content },
  { path: "/srv/t/kept", kind: "directory", mode: 0o755 },
  { path: "/srv/t/kept/file", kind: "file", mode: 0o644, content },
  { path: "/srv/t/link", kind: "symlink", mode: 0o777, target: "somewhere" },
  { path: "/srv/t/link-to-link", kind: "symlink", mode: 0o777, target: "old" },
];

const second: TreeEntry[] = [
  { ...mine, path: "/srv/t/empty", kind: "symlink", target: "was-a-directory", uid: 0xfffe, gid: 0xabcdef },
  { ...mine, path: "/srv/t/file", kind: "symlink", target: "was-a-file", mtime: 0x7fffffff },
  { ...mine, path: "/srv/t/kept", kind: "directory", mode: 0o1700, uid: 7, gid: 8 },
  { ...mine, path: "/srv/t/link", kind: "directory", mode: 0o2755, uid: 3, gid: 4 },
  // A directory of that mode gives its group to what is made in it; the archive's says which it is.
  { ...mine, path: "/srv/t/link/inside", kind: "symlink", target: "x" },
  { ...mine, path: "/srv/t/link-to-link", kind: "symlink", target: "new" },
  { ...mine, path: "/srv/t/new", kind: "symlink", target: "y".repeat(200), uid: 5 },
  { ...mine, path: "/srv/t/pipe", kind: "fifo", mode: 0o620, gid: 9 },
];

describe("archives one after the other", () => {
  let guest: Guest;
  beforeAll(async () => {
    const tree = new FileTree();
    for (const entry of second) tree.add(entry);
    const archives = [await buildTestInitramfs(first), encodeCpio(tree)];
    guest = await bootGuest({ initramfs: new Uint8Array(Buffer.concat(archives)) });
    await guest.until(() => guest.watch.promptMs !== null, "prompt", 60_000);
  }, 90_000);
  afterAll(() => guest?.machine.stop());

  it("replace each other's entries, with owner, mode, time and target of the last", async () => {
    const { output } = await guest.agent.run(
      "cd /srv/t; for f in * */*; do echo $(stat -c '%n %f %u %g %Y' $f) $(readlink $f); done",
      20_000,
    );
    expect(output.trim().split("\n")).toEqual([
      // The kernel sets directories' times at the end, those that came first last, whatever stands there then.
      "empty a1ff 65534 11259375 0 was-a-directory",
      "file a1ff 0 0 2147483647 was-a-file",
      "kept 43c0 7 8 0",
      "link 45ed 3 4 1000000000",
      "link-to-link a1ff 0 0 1000000000 new",
      `new a1ff 5 0 1000000000 ${"y".repeat(200)}`,
      "pipe 1190 0 9 1000000000",
      "kept/file 81a4 0 0 0",
      "link/inside a1ff 0 0 1000000000 x",
    ]);
  });
});

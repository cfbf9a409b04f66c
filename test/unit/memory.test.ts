import { describe, expect, it } from "vitest";
import { FileTree } from "../../worker/format/file-tree.ts";
import { buildInitramfs, MemoryError, measureMemory } from "../../worker/initramfs.ts";

function tree(count: number, size: number): FileTree {
  const tree = new FileTree();
  const content = new Uint8Array(size);
  for (let index = 0; index < count; index += 1)
    tree.add({ path: `/d/${index}`, kind: "file", mode: 0o644, content, uid: 0, gid: 0, mtime: 0 });
  return tree;
}

describe("the memory that unpacking needs", () => {
  // Twice the pages, or twice a page for each entry, then the archive and the kernel.
  it.each([
    [0, 0, 9],
    [1, 10 * 1024 * 1024, 39],
    [1, 40 * 1024 * 1024, 130],
    [16_000, 1, 137],
    [16_000, 4096, 200],
    [16_000, 4097, 326],
  ])("of %d files of %d bytes is %d MB", (count, size, neededMb) => {
    expect(measureMemory(tree(count, size)).neededMb).toBe(neededMb);
  });

  it("lets pass what just fits, and names size or number when it does not", () => {
    const large = tree(1, 40 * 1024 * 1024);
    expect(() => buildInitramfs(large, 130)).not.toThrow();
    expect(() => buildInitramfs(large, 129)).toThrow(MemoryError);
    expect(() => buildInitramfs(large, 129)).toThrow(
      "Cannot boot with 40 MB of files: unpacking them takes 130 MB of memory, the machine has 129 MB. Give it more",
    );
    expect(() => buildInitramfs(tree(16_000, 1), 128)).toThrow(
      "Cannot boot with 16002 files: unpacking them takes 137 MB",
    );
  });
});

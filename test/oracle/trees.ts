import fc from "fast-check";
import { FileTree, type TreeEntry } from "../../worker/format/file-tree.ts";

const name = fc.oneof(
  fc.stringMatching(/^[a-z]{1,8}$/),
  fc
    .string({ minLength: 1, maxLength: 20, unit: "grapheme" })
    .filter((text) => !/[/\0\n]/.test(text) && text !== "." && text !== ".." && !/\p{Cs}/u.test(text)),
);
const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => `/${names.join("/")}`);
const attributes = fc.record({
  mode: fc.integer({ min: 0, max: 0o7777 }),
  uid: fc.integer({ min: 0, max: 70_000 }),
  gid: fc.integer({ min: 0, max: 70_000 }),
  mtime: fc.integer({ min: 0, max: 4_000_000_000 }),
});
const kind = fc.oneof(
  { weight: 4, arbitrary: fc.uint8Array({ maxLength: 600 }).map((content) => ({ kind: "file" as const, content })) },
  { weight: 2, arbitrary: fc.constant({ kind: "directory" as const }) },
  { weight: 1, arbitrary: path.map((target) => ({ kind: "symlink" as const, target })) },
  { weight: 1, arbitrary: fc.constant({ kind: "fifo" as const }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("device" as const),
      device: fc.constantFrom("character" as const, "block" as const),
      major: fc.integer({ min: 0, max: 255 }),
      minor: fc.integer({ min: 0, max: 255 }),
    }),
  },
);

/** Random trees with every kind of entry. Entries that contradict earlier ones are left out; files get links now and then. */
export const trees: fc.Arbitrary<FileTree> = fc
  .array(fc.tuple(path, attributes, kind, fc.boolean()), { maxLength: 25 })
  .map((items) => {
    const tree = new FileTree();
    for (const [index, [at, owner, what, isLinked]] of items.entries()) {
      const entry = { path: at, ...owner, ...what } as TreeEntry;
      try {
        tree.add(entry);
        if (isLinked && entry.kind === "file")
          tree.add({ ...owner, path: `/link-${index}`, kind: "hardlink", target: at });
      } catch {
        // A name that is taken.
      }
    }
    return tree;
  });

/** A tree in a form in which two can be compared: a link is its target's attributes and content. */
export function describeTree(tree: FileTree): Record<string, string> {
  const lines: Record<string, string> = {};
  for (const entry of tree.sorted()) {
    if (entry.path === "/") continue;
    const real = entry.kind === "hardlink" ? (tree.get(entry.target) as TreeEntry) : entry;
    const extra =
      real.kind === "file"
        ? Buffer.from(real.content).toString("hex")
        : real.kind === "symlink"
          ? real.target
          : real.kind === "device"
            ? `${real.device} ${real.major}:${real.minor}`
            : "";
    const mode = real.kind === "symlink" ? 0o777 : real.mode;
    lines[entry.path] = `${real.kind} ${mode.toString(8)} ${real.uid}:${real.gid} ${real.mtime} ${extra}`;
  }
  return lines;
}

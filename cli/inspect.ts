/** `smart-os inspect`: what a file is. */
import { basename } from "node:path";
import { type FileInspection, inspectFile } from "../worker/import.ts";
import { openFile } from "./files.ts";
import type { Options } from "./main.ts";
import { UsageError } from "./problem.ts";

export async function inspect(words: string[], options: Options): Promise<number> {
  const [path] = words;
  if (path === undefined || words.length > 1) throw new UsageError("Cannot inspect: name one file");
  const file = await openFile(path);
  try {
    const found = await inspectFile(file, { name: basename(path) });
    const text = options.json ? JSON.stringify({ ...found, bytes: file.size }) : describe(found);
    process.stdout.write(`${text}\n`);
  } finally {
    await file.close();
  }
  return 0;
}

function describe(found: FileInspection): string {
  switch (found.kind) {
    case "bundle": {
      const { name, files, memoryMb, disks, snapshot } = found;
      const lines = [`bundle: the project "${name}", ${files} files over the default, ${memoryMb} MB of memory`];
      if (found.kernel !== null) lines.push(`  a kernel of its own: ${found.kernel || "it does not say which"}`);
      for (const disk of disks) lines.push(`  disk "${disk.name}", ${size(disk.size)}`);
      if (snapshot) lines.push("  a snapshot");
      return lines.join("\n");
    }
    case "disk": {
      const { fileSystem, label, partitions, boots } = found.content;
      const inside = fileSystem === null ? "nothing that is known" : fileSystem;
      const where =
        partitions > 0
          ? `${partitions} partition${partitions > 1 ? "s" : ""}${boots ? " with boot code" : ""}, the first `
          : "";
      const name = label === "" ? "" : ` labelled "${label}"`;
      const own = found.size === null ? "size unknown until it is unpacked" : size(found.size);
      return `disk image: ${found.container}, ${own}; ${where}${inside}${name}`;
    }
    case "files":
      return `root file system: ${found.container}${found.isPacked ? ", gzipped" : ""}`;
    case "kernel":
      return `kernel: bzImage${found.version === "" ? "" : `, Linux ${found.version}`}`;
  }
}

function size(bytes: number): string {
  return bytes >= 1024 * 1024 ? `${(bytes / 1024 / 1024).toFixed(1)} MiB` : `${bytes} bytes`;
}

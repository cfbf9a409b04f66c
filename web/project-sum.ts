/** Checksums that tell whether something was made from a project as it is now. They find changes, not forgeries. */
import { xxh32 } from "./disk-checksum.ts";
import type { Project } from "./project.ts";
import type { ProjectDisk } from "./project-disks.ts";

/** Two projects that build the same system disk have the same one. */
export function fingerprint(project: Project, disk: ProjectDisk): string {
  const kernel = project.kernel ? [project.kernel.sha256] : [];
  const swap = disk.swapMb ? [`swap ${disk.swapMb}`] : [];
  return sumFiles(project.files, [project.commandLine, disk.sizeMb, disk.fileSystem, disk.label, ...kernel, ...swap]);
}

/**
 * A checksum of a project's files and of what else counts.
 * @returns eight hexadecimal digits
 */
export function sumFiles(files: Project["files"], rest: readonly unknown[]): string {
  let sum = 0;
  const encoder = new TextEncoder();
  const add = (bytes: Uint8Array): void => {
    sum = xxh32(bytes.byteOffset % 4 === 0 ? bytes : bytes.slice(), sum);
  };
  for (const file of files) {
    const { content, ...facts } = file as typeof file & { content?: Uint8Array };
    add(encoder.encode(JSON.stringify(facts)));
    if (content) add(content);
  }
  add(encoder.encode(JSON.stringify([...rest, files.length])));
  return sum.toString(16).padStart(8, "0");
}

/** What a project from outside would change, for the user to look at before anything of it starts. */
import {
  DEFAULT_COMMAND_LINE,
  DEFAULT_MEMORY_MB,
  type DefaultFile,
  decodeText,
  defaultFile,
  type Project,
} from "./project.ts";
import type { FoundFile, Offer, OfferedFile } from "./share-state.ts";

export function describeOffer(
  project: Pick<Project, "name" | "files" | "commandLine" | "memoryMb" | "kernel">,
  defaults: readonly DefaultFile[],
  found: FoundFile | null,
): Offer {
  const { name, files, commandLine, memoryMb } = project;
  return {
    source: found ? "file" : "link",
    name,
    found,
    files: files.map((file) => describeFile(file, defaults)),
    commandLine: commandLine === DEFAULT_COMMAND_LINE ? null : commandLine,
    memoryMb: memoryMb === DEFAULT_MEMORY_MB ? null : memoryMb,
    kernel: project.kernel?.version ?? null,
  };
}

function describeFile(file: Project["files"][number], defaults: readonly DefaultFile[]): OfferedFile {
  const known = defaults.find(({ path }) => path === file.path);
  const before = known && defaultFile(known);
  const defaultText = before?.kind === "file" ? decodeText(before.content) : null;
  if (file.kind === "deleted")
    return {
      path: file.path,
      change: "deleted",
      // What is deleted without being a default file is one of busybox's applets.
      kind: before?.kind ?? "symlink",
      mode: before?.mode ?? 0o777,
      modeBefore: null,
      size: 0,
      text: defaultText === null ? null : "",
      defaultText,
    };
  const isFile = file.kind === "file";
  return {
    path: file.path,
    change: before ? "changed" : "added",
    kind: file.kind,
    mode: file.mode,
    modeBefore: before && before.mode !== file.mode ? before.mode : null,
    size: isFile ? file.content.length : 0,
    text: isFile ? decodeText(file.content) : null,
    defaultText,
    ...(file.kind === "symlink" ? { target: file.target } : {}),
  };
}

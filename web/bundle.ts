/** The downloadable project: a zip with project.json and the files. On this side the only importer of fflate. */
import { type Zippable, zip } from "fflate";
import type { Project } from "./project.ts";

/** What project.json says of a file; contents of regular files are in the zip under `files/`. */
type Listed = Omit<Project["files"][number], "content">;

/**
 * Packs a project so that any unzip opens it. Unix modes are set where zip has a place for them; project.json has
 * everything. docs/project-format.md describes it.
 */
export function bundleProject(project: Project): Promise<Blob> {
  const listed: Listed[] = project.files.map((file) => {
    if (file.kind !== "file") return file;
    const { content: _, ...rest } = file;
    return rest;
  });
  const { id: _, files, ...rest } = project;
  const json = JSON.stringify({ format: "smart-os project", ...rest, files: listed }, null, 2);
  const entries: Zippable = { "project.json": new TextEncoder().encode(`${json}\n`) };
  // The upper half of the attributes is the Unix mode, 0o100000 a regular file; 3 is "Unix".
  for (const file of files)
    if (file.kind === "file")
      entries[`files${file.path}`] = [file.content, { attrs: (0o100000 | file.mode) * 65536, os: 3 }];
  return new Promise((resolve, reject) => {
    zip(entries, { level: 6, mtime: new Date(1980, 0, 1) }, (error, bytes) => {
      if (error) reject(new Error(`Cannot pack the project: ${error.message}`));
      else resolve(new Blob([bytes as Uint8Array<ArrayBuffer>], { type: "application/zip" }));
    });
  });
}

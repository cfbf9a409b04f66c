import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";

/** A default file as it is shipped to the page: text content, or the target of a symlink. */
export interface DefaultFile {
  path: string;
  mode: number;
  content?: string;
  target?: string;
}

/** Files whose permissions git cannot carry (it knows only the executable bit). */
const MODES: Record<string, number> = { "/etc/shadow": 0o600 };

/**
 * Reads the default root file system, sorted by path.
 * Modes are 0755 for executable files and 0644 for others, whatever umask the clone was made with.
 */
export function readRootfs(directory: string): DefaultFile[] {
  const entries: DefaultFile[] = [];
  const visit = (parent: string): void => {
    for (const name of readdirSync(join(directory, parent)).sort()) {
      const path = `${parent}/${name}`;
      const status = lstatSync(join(directory, path));
      if (status.isDirectory()) visit(path);
      else if (status.isSymbolicLink())
        entries.push({ path, mode: 0o777, target: readlinkSync(join(directory, path)) });
      else {
        const mode = MODES[path] ?? (status.mode & 0o100 ? 0o755 : 0o644);
        entries.push({ path, mode, content: readFileSync(join(directory, path), "utf8") });
      }
    }
  };
  visit("");
  return entries.sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** Files that a user drops or chooses, folders with all that is in them. */

/** A file that is to come somewhere, and where: "a.txt", "src/main.c". */
export interface PlacedFile {
  path: string;
  file: File;
}

/** More than this in one folder is a mistake more often than a wish. */
const MOST_FILES = 10_000;

/** @param files as an input element has them; those of a chosen folder know their place in it */
export function place(files: Iterable<File>): PlacedFile[] {
  return Array.from(files, (file) => ({ path: file.webkitRelativePath || file.name, file }));
}

/**
 * To be called while the event is being handled: what is dropped is gone afterwards. Folders that are empty are left out.
 * @throws Error "Cannot read …" when a folder or a file in it cannot be read, or there are too many
 */
export async function readDropped({ items, files }: DataTransfer): Promise<PlacedFile[]> {
  const folders: FileSystemDirectoryEntry[] = [];
  const plain: File[] = [];
  for (const item of items) {
    if (item.kind !== "file") continue;
    const entry = item.webkitGetAsEntry();
    const file = item.getAsFile();
    if (entry?.isDirectory) folders.push(entry as FileSystemDirectoryEntry);
    else if (file) plain.push(file);
  }
  const found = place(items.length > 0 ? plain : files);
  for (const folder of folders) await readFolder(folder, found);
  return found;
}

/** What a kernel would run: a script that names its interpreter, or an ELF file. No browser tells of a file's permissions. */
export function isProgram(content: Uint8Array): boolean {
  const begins = (...bytes: number[]): boolean => bytes.every((byte, at) => content[at] === byte);
  return begins(0x23, 0x21) || begins(0x7f, 0x45, 0x4c, 0x46);
}

async function readFolder(folder: FileSystemDirectoryEntry, found: PlacedFile[]): Promise<void> {
  const waiting = [folder];
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const reader = next.createReader();
    for (;;) {
      // A part of them at a time, and none when there are no more.
      const entries = await settle<FileSystemEntry[]>(next, (resolve, reject) => reader.readEntries(resolve, reject));
      if (entries.length === 0) break;
      for (const entry of entries) {
        if (entry.isDirectory) waiting.push(entry as FileSystemDirectoryEntry);
        else {
          const file = await settle<File>(entry, (resolve, reject) =>
            (entry as FileSystemFileEntry).file(resolve, reject),
          );
          found.push({ path: entry.fullPath.slice(1), file });
        }
        if (found.length > MOST_FILES)
          throw new Error(`Cannot read ${folder.name}: there are more than ${MOST_FILES} files in it`);
      }
    }
  }
}

function settle<T>(
  { fullPath }: FileSystemEntry,
  ask: (resolve: (value: T) => void, reject: (error: DOMException) => void) => void,
): Promise<T> {
  return new Promise((resolve, reject) =>
    ask(resolve, (error) => reject(new Error(`Cannot read ${fullPath.slice(1)}: ${error.message}`))),
  );
}

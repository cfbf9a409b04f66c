/** Notes of a few characters that outlive the page, beside its databases; where the browser refuses them there are none. */

/** @returns null when there is none */
export function readNote(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

/** @param text null takes the note away */
export function writeNote(name: string, text: string | null): void {
  try {
    if (text === null) localStorage.removeItem(name);
    else localStorage.setItem(name, text);
  } catch {
    // Nothing depends on a note.
  }
}

/** The files of `public/system/`, put into the bundle by vite.config.ts. */
declare module "virtual:system" {
  interface SystemFile {
    name: string;
    /** Its name in the site's folder `system/`. */
    file: string;
    size: number;
    /** Bytes over the wire, where the server compresses. */
    wire: number;
    /** Lower-case hexadecimal. */
    sha256: string;
  }
  /** v86's WebAssembly. */
  export const emulator: { size: number; wire: number; sha256: string };
  const files: SystemFile[];
  export default files;
}

/** The files of `rootfs/`, put into the bundle by vite.config.ts. */
declare module "virtual:rootfs" {
  interface RootfsEntry {
    path: string;
    mode: number;
    content?: string;
    target?: string;
  }
  const entries: RootfsEntry[];
  export default entries;
}

import { defineConfig, type Plugin } from "vite";
import { readRootfs } from "./tools/rootfs.ts";

const ROOTFS = `${import.meta.dirname}/rootfs`;

/** Puts the default root file system into the bundle and reloads the page when one of its files changes. */
function rootfs(): Plugin {
  const id = "\0virtual:rootfs";
  return {
    name: "smart-os:rootfs",
    resolveId: (source) => (source === "virtual:rootfs" ? id : null),
    load(source) {
      if (source !== id) return null;
      return `export default ${JSON.stringify(readRootfs(ROOTFS))}`;
    },
    configureServer(server) {
      server.watcher.add(ROOTFS);
      server.watcher.on("change", (file) => {
        if (!file.startsWith(ROOTFS)) return;
        const module = server.moduleGraph.getModuleById(id);
        if (module) server.moduleGraph.invalidateModule(module);
        server.ws.send({ type: "full-reload" });
      });
    },
  };
}

export default defineConfig({
  root: "web",
  base: "./",
  publicDir: "../public",
  plugins: [rootfs()],
  worker: { format: "es", plugins: () => [rootfs()] },
  build: { outDir: "../dist", emptyOutDir: true, target: "es2022", assetsInlineLimit: 0, sourcemap: true },
});

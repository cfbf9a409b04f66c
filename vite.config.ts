import { mkdirSync, writeFileSync } from "node:fs";
import { defineConfig, type Plugin } from "vite";
import { readEmulator } from "./tools/emulator.ts";
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

/** Puts the tuned emulator in the place of v86's own. */
function emulator(): Plugin {
  const folder = `${import.meta.dirname}/node_modules/.cache/emulator`;
  return {
    name: "smart-os:emulator",
    enforce: "pre",
    resolveId(source) {
      if (source !== "v86/build/v86.wasm?url") return null;
      mkdirSync(folder, { recursive: true });
      writeFileSync(`${folder}/v86.wasm`, readEmulator());
      return `${folder}/v86.wasm?url`;
    },
  };
}

export default defineConfig({
  root: "web",
  base: "./",
  publicDir: "../public",
  plugins: [rootfs(), emulator()],
  worker: { format: "es", plugins: () => [rootfs()] },
  build: { outDir: "../dist", emptyOutDir: true, target: "es2022", assetsInlineLimit: 0, sourcemap: true },
});

import { createHash } from "node:crypto";
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { defineConfig, type Plugin } from "vite";
import { compress, wireBytes } from "./tools/compression.mjs";
import { readEmulator, readEmulatorScript } from "./tools/emulator.ts";
import { readRootfs } from "./tools/rootfs.ts";
import { readDefaultDelta, readListing } from "./tools/states.ts";
import { nameSystemFiles, placeStates, readStateFiles, readSystemFiles } from "./tools/system-files.ts";

const ROOTFS = `${import.meta.dirname}/rootfs`;
const SYSTEM = `${import.meta.dirname}/public/system`;
/** What a first boot needs; the browser fetches it while it still reads the page's scripts. */
const PRELOADED = ["warm-128.state"];

const EMULATOR_SCRIPT = nameEmulatorScript();

function nameEmulatorScript(): { fileName: string; code: string } {
  const code = readEmulatorScript();
  return { fileName: `assets/v86-${createHash("sha256").update(code).digest("hex").slice(0, 8)}.js`, code };
}

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

/** With hot reloading, styles come as inline elements: the page's content security policy would keep them out. */
function withoutPolicy(): Plugin {
  return {
    name: "smart-os:without-policy",
    apply: "serve",
    transformIndexHtml: (html) => html.replace(/<meta\s+http-equiv="Content-Security-Policy"[^>]*>/, ""),
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
      // Whole or not at all: another build may be reading it.
      writeFileSync(`${folder}/v86.${process.pid}`, readEmulator());
      renameSync(`${folder}/v86.${process.pid}`, `${folder}/v86.wasm`);
      return `${folder}/v86.wasm?url`;
    },
  };
}

/**
 * v86's JavaScript is a file of its own: the page and the worker that makes states share it, and the browser
 * reads it beside the page's own scripts.
 */
function emulatorScript(): Plugin {
  const { fileName, code } = EMULATOR_SCRIPT;
  return {
    name: "smart-os:emulator-script",
    apply: "build",
    enforce: "pre",
    resolveId: (source) => (source === "v86" ? { id: `./${basename(fileName)}`, external: true } : null),
    buildStart() {
      this.emitFile({ type: "asset", fileName, source: code });
    },
  };
}

/** Tells the builder which files the states of warm boots hold. */
function listing(): Plugin {
  const id = "\0virtual:listing";
  return {
    name: "smart-os:listing",
    resolveId: (source) => (source === "virtual:listing" ? id : null),
    load: (source) => (source === id ? `export default ${readListing()}` : null),
  };
}

/** Gives the page what a warm boot hands over for a project that changes nothing: it need not wait for the builder. */
function defaultDelta(): Plugin {
  const id = "\0virtual:default-delta";
  return {
    name: "smart-os:default-delta",
    resolveId: (source) => (source === "virtual:default-delta" ? id : null),
    load: (source) => (source === id ? `export default ${JSON.stringify(readDefaultDelta())}` : null),
  };
}

/** Tells the page which files the system has. */
function system(): Plugin {
  const id = "\0virtual:system";
  let isServed = false;
  const readFiles = async () => [
    ...(await readSystemFiles(SYSTEM, isServed)),
    ...(isServed ? [] : await readStateFiles()),
  ];
  return {
    name: "smart-os:system",
    configResolved(config) {
      isServed = config.command === "serve";
    },
    resolveId: (source) => (source === "virtual:system" ? id : null),
    async load(source) {
      if (source !== id) return null;
      const wasm = Buffer.from(readEmulator());
      const wire = isServed ? wasm.length : wireBytes(wasm, await compress(wasm));
      const sha256 = createHash("sha256").update(wasm).digest("hex");
      return `export const emulator = ${JSON.stringify({ size: wasm.length, wire, sha256 })};
        export default ${JSON.stringify(await readFiles())};`;
    },
    configureServer(server) {
      server.watcher.add(`${SYSTEM}/manifest.json`);
      server.watcher.on("change", (file) => {
        if (file === `${SYSTEM}/manifest.json`) server.restart();
      });
    },
    transformIndexHtml: {
      order: "post",
      async handler(_, { bundle }) {
        const files = (await readFiles()).filter(({ name }) => PRELOADED.includes(name));
        const emulator = Object.keys(bundle ?? {}).find((name) => name.endsWith(".wasm"));
        const paths = [...(emulator ? [emulator] : []), ...files.map(({ file }) => `system/${file}`)];
        const preloads = paths.map((path) => ({ rel: "preload", href: `./${path}`, as: "fetch", crossorigin: "" }));
        const script = bundle ? [{ rel: "modulepreload", href: `./${EMULATOR_SCRIPT.fileName}`, crossorigin: "" }] : [];
        return [...script, ...preloads].map((attrs) => ({ tag: "link", attrs, injectTo: "head" }));
      },
    },
    async writeBundle({ dir }) {
      nameSystemFiles(`${dir}/system`);
      await placeStates(`${dir}/system`);
    },
  };
}

/** A browser that has kept a built site of this address would go on showing it: this worker takes the place and leaves. */
const LEAVE = `
  self.addEventListener("install", () => self.skipWaiting());
  self.addEventListener("activate", (event) => event.waitUntil((async () => {
    for (const name of await caches.keys()) if (name.startsWith("smart-os ")) await caches.delete(name);
    await self.registration.unregister();
    for (const client of await self.clients.matchAll({ type: "window" })) void client.navigate(client.url);
  })()));
`;

function withoutOffline(): Plugin {
  return {
    name: "smart-os:without-offline",
    configureServer({ middlewares }) {
      middlewares.use("/offline.js", (_, response) => {
        response.setHeader("Content-Type", "text/javascript");
        response.end(LEAVE);
      });
    },
  };
}

export default defineConfig({
  root: "web",
  base: "./",
  publicDir: "../public",
  plugins: [
    rootfs(),
    emulator(),
    emulatorScript(),
    system(),
    listing(),
    defaultDelta(),
    withoutOffline(),
    withoutPolicy(),
  ],
  worker: { format: "es", plugins: () => [rootfs(), emulatorScript(), system(), listing()] },
  build: {
    outDir: "../dist",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    sourcemap: true,
    // Large scripts are read side by side.
    rolldownOptions: { output: { codeSplitting: { groups: [{ name: "terminal", test: /node_modules.@xterm/ }] } } },
  },
});

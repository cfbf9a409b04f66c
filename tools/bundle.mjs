// @ts-check
/** `node tools/bundle.mjs FOLDER`: the relay and what it needs as one file for Node, `FOLDER/main.js`. */
import { build } from "vite";
import { checkNode, main, ROOT, SetupError } from "./setup.mjs";

await main(async () => {
  checkNode();
  const folder = process.argv[2];
  if (!folder) throw new SetupError("Cannot bundle the relay: where to? node tools/bundle.mjs FOLDER");
  await build({
    root: ROOT,
    configFile: false,
    logLevel: "warn",
    publicDir: false,
    // Everything goes into it: the container needs no node_modules.
    ssr: { noExternal: true, target: "node" },
    build: {
      ssr: "relay/main.ts",
      outDir: folder,
      emptyOutDir: false,
      target: "node20",
      minify: false,
      rolldownOptions: { output: { entryFileNames: "main.js" } },
    },
  });
});

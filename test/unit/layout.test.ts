import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { describe, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../..");

function sources(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)));
}

/** What a file imports; imports of types alone do not count, they leave no trace in the bundle. */
function imports(path: string): string[] {
  const code = readFileSync(join(ROOT, path), "utf8");
  const found = [
    ...code.matchAll(/^\s*(?:import|export)\s+(?!type\b)(?:[^"';]*?\sfrom\s+)?["']([^"']+)["']/gm),
    ...code.matchAll(/\bimport\(\s*["']([^"']+)["']/g),
  ];
  return found.map((match) => match[1] as string);
}

const outside = (folder: string): { path: string; specifier: string }[] =>
  sources(folder).flatMap((path) => imports(path).map((specifier) => ({ path, specifier })));

describe("the folders", () => {
  it("keeps worker/format free of anything else", () => {
    for (const { path, specifier } of outside("worker/format")) expect(specifier, path).toMatch(/^\.\/[\w-]+\.ts$/);
  });

  it("lets the builder import formats and its own libraries only", () => {
    for (const { path, specifier } of outside("worker"))
      expect(specifier, path).toMatch(
        /^(\.\/|\.\/format\/)[\w-]+\.ts$|^(fflate|comlink|virtual:rootfs|virtual:system|virtual:listing|@noble\/hashes\/sha2\.js)$/,
      );
  });

  it("lets the page import nothing of the builder but its types", () => {
    for (const { path, specifier } of outside("web")) expect(specifier, path).not.toMatch(/worker\/(?!main\.ts)/);
  });

  it("keeps the service worker free of anything else", () => {
    for (const { path, specifier } of outside("offline")) expect(specifier, path).toBe("nothing");
  });

  it("lets views know neither each other's state, nor storage, nor the machine", () => {
    for (const { path, specifier } of outside("web/views")) {
      expect(specifier, path).not.toMatch(/library|session|machine\.ts|workspace|builder/);
    }
  });

  it.each([
    ["v86", "web/machine.ts"],
    ["@xterm/", "web/terminal.ts"],
    ["@codemirror/", "web/editor.ts"],
    ["idb-keyval", "web/library.ts"],
    ["comlink", "web/builder.ts"],
    ["uqr", "web/qr-code.ts"],
  ])("has one importer of %s in web/", (library, importer) => {
    const importers = outside("web").filter(
      ({ specifier }) => specifier.startsWith(library) && !specifier.includes(".wasm"),
    );
    expect([...new Set(importers.map(({ path }) => path))]).toEqual([importer]);
  });

  it.each([
    ["ws", "relay/server.ts"],
    ["pino", "relay/program.ts"],
    ["prom-client", "relay/metrics.ts"],
    ["ioredis", "relay/room-bus.ts"],
    ["sirv", "relay/site.ts"],
  ])("has one importer of %s in relay/", (library, importer) => {
    const importers = outside("relay").filter(({ specifier }) => specifier === library);
    expect([...new Set(importers.map(({ path }) => path))]).toEqual([importer]);
  });

  it("lets the relay import Node, its own libraries, and nothing of the page", () => {
    for (const { path, specifier } of outside("relay"))
      expect(specifier, path).toMatch(
        /^(\.\.?\/((nat|vde)\/)?[\w-]+\.ts|node:[\w/]+|ws|pino|prom-client|ioredis|sirv)$/,
      );
  });

  it("lets the command line import the builder, and of the page what runs in Node as well", () => {
    for (const { path, specifier } of outside("cli"))
      expect(specifier, path).toMatch(
        /^(\.\/[\w-]+\.ts|\.\.\/worker\/(format\/)?[\w-]+\.ts|\.\.\/tools\/(rootfs|emulator)\.ts|\.\.\/web\/(agent|boot|drives|kernel|machine|project|snapshot-(file|record|state|wake))\.ts|node:[\w/]+)$/,
      );
  });

  it("has no file names that say nothing", () => {
    for (const folder of ["web", "worker", "relay", "tools", "cli", "test"])
      for (const path of sources(folder)) {
        expect(path).not.toMatch(/utils?|helpers?|common|manager|service/);
        expect(path).toMatch(/^[a-z0-9/.-]+$/);
      }
  });
});

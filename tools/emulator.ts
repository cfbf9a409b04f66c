/** v86 tuned: its WebAssembly with one constant changed and without names, its JavaScript with less to do at the start. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

/**
 * v86 interprets a page of code until it has run this many instructions in it, then compiles the page. Its own 200,000 is
 * made for large systems that run for hours: compiling what a boot runs once took longer than running it.
 * `npm run bench` shows the difference. At most 1,048,575, which is what three bytes of signed LEB128 hold.
 */
const COMPILE_THRESHOLD = 1_000_000;

/** `i32.const 200000`, which stands once in v86 0.5.462: in jit_increase_hotness_and_maybe_compile. */
const STOCK = Uint8Array.of(0x41, ...leb128(200_000));

const PATH = createRequire(import.meta.url).resolve("v86/build/v86.wasm");

/** v86 as it comes, for comparison. */
export function readStockEmulator(): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(PATH));
}

/** @throws Error "Cannot tune v86: …" when its code is not what is expected, as after an update */
export function readEmulator(): Uint8Array<ArrayBuffer> {
  const wasm = readStockEmulator();
  const code = Buffer.from(wasm.buffer);
  const at = code.indexOf(STOCK);
  if (at < 0 || code.indexOf(STOCK, at + 1) >= 0)
    throw new Error(`Cannot tune v86: its compile threshold does not stand exactly once in ${PATH}`);
  wasm.set(leb128(COMPILE_THRESHOLD), at + 1);
  return withoutCustomSections(wasm);
}

/**
 * What the page runs of v86's JavaScript; each piece stands in it once.
 *
 * - v86 gives each of 65,536 ports an object of its own, which takes as long as all the rest of making a machine: here all
 *   that nobody listens to share one, and a port gets its own when somebody begins to. The bus that moves a device's ports
 *   asks for theirs before.
 * - v86 starts a worker that keeps the time of its waits. `web/machine.ts` hardly needs it, and asks for it when it does.
 */
const SCRIPT_CHANGES: readonly (readonly [was: string, is: string])[] = [
  [
    "for(var b=0;65536>b;b++)this.ports[b]=this.create_empty_entry();",
    "var b=0;this.nobody=this.create_empty_entry();this.ports=Array(65536).fill(this.nobody);",
  ],
  [
    ".prototype.register_read=function(a,b,c,d,e){c&&",
    ".prototype.register_read=function(a,b,c,d,e){this.own_entry(a);c&&",
  ],
  [
    ".prototype.register_write=function(a,b,c,d,e){c&&",
    ".prototype.register_write=function(a,b,c,d,e){this.own_entry(a);c&&",
  ],
  [
    ".prototype.empty_port_read8=function(){",
    ".prototype.own_entry=function(a){" +
      "return this.ports[a]===this.nobody?this.ports[a]=this.create_empty_entry():this.ports[a]};" +
      "Ea.prototype.empty_port_read8=function(){",
  ],
  ["e.entries[g]=this.io.ports[f+g]", "e.entries[g]=this.io.own_entry(f+g)"],
  ["this.bus=a;this.register_yield()}", "this.bus=a}"],
];

/** @throws Error "Cannot tune v86: …" when its code is not what is expected, as after an update */
export function readEmulatorScript(): string {
  const path = createRequire(import.meta.url).resolve("v86/build/libv86.mjs");
  return SCRIPT_CHANGES.reduce(
    (script, [was, is]) => {
      const at = script.indexOf(was);
      if (at < 0 || script.indexOf(was, at + 1) >= 0)
        throw new Error(`Cannot tune v86: "${was}" does not stand exactly once in ${path}`);
      return script.slice(0, at) + is + script.slice(at + was.length);
    },
    readFileSync(path, "utf8"),
  );
}

/** Magic and version. */
const PREAMBLE_BYTES = 8;
const CUSTOM_SECTION = 0;

/**
 * Names for debuggers are a third of the file (WebAssembly Core Specification, 5.5.2: a module is its preamble and then
 * sections, each an identifier, a length in unsigned LEB128, and its content; the custom ones mean nothing to a browser).
 */
function withoutCustomSections(wasm: Uint8Array): Uint8Array<ArrayBuffer> {
  const kept = [wasm.subarray(0, PREAMBLE_BYTES)];
  for (let at = PREAMBLE_BYTES; at < wasm.length; ) {
    const start = at;
    const section = wasm[at++];
    let length = 0;
    for (let shift = 0, byte = 0x80; byte & 0x80; shift += 7) {
      byte = wasm[at++] as number;
      length += (byte & 0x7f) * 2 ** shift;
    }
    at += length;
    if (section !== CUSTOM_SECTION) kept.push(wasm.subarray(start, at));
  }
  return new Uint8Array(Buffer.concat(kept));
}

/** Signed LEB128 in three bytes (WebAssembly Core Specification, section 5.2.2). */
function leb128(value: number): number[] {
  return [(value & 0x7f) | 0x80, ((value >> 7) & 0x7f) | 0x80, value >> 14];
}

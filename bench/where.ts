/**
 * `node --import tsx bench/where.ts [System.map]`: where the instructions of a cold boot go, in millions: by phase, by the
 * kernel's initcall, by function of the kernel, and by function together with what it calls.
 *
 * The emulator looks at its timers every 100,003 instructions. Here it does every thousand, and what it executes then is noted:
 * the function, and from the stack those that called it. The names are those of the kernel's build (System.map), which
 * `npm run system` leaves in its cache.
 * Limitations: the kernel is built without frame pointers. Whatever on the stack looks like an address of code counts as a caller,
 * so that left-overs add to the last list.
 */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { bootGuest, buildTestInitramfs, type Guest } from "../test/machine/guest.ts";

const PERIOD = 1000;
const ROWS = 40;
/** `i32.const 100003` in WebAssembly: v86's instructions between two looks at its timers. */
const STOCK_PERIOD = Uint8Array.of(0x41, 0xa3, 0x8d, 0x06);
/** Where v86 0.5.462 keeps the processor's registers in its memory, in words of 32 bits. */
const AT = { esp: 64 / 4 + 4, eip: 556 / 4, instructions: 664 / 4 };
/** Linux's own addresses begin here (CONFIG_PAGE_OFFSET), and its stacks are so large. */
const KERNEL = 0xc0000000;
const STACK_BYTES = 8192;

const symbols = readSymbols(process.argv[2] ?? findMap());
const [first, last] = [symbols[0]?.address ?? 0, symbols.at(-1)?.address ?? 0];
const tables = {
  phases: new Map<string, number>(),
  initcalls: new Map<string, number>(),
  functions: new Map<string, number>(),
  "functions with what they call, roughly": new Map<string, number>(),
};
let counted = 0;
let guest: Guest | undefined;

function findMap(): string {
  const cache = process.env.SMART_OS_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "smart-os");
  const builds = readdirSync(join(cache, "kernel")).map((name) => join(cache, "kernel", name, "System.map"));
  const time = (path: string): number => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const newest = builds.sort((a, b) => time(b) - time(a))[0];
  if (!newest || time(newest) === 0)
    throw new Error("Cannot name functions: no kernel was built here; name its System.map");
  return newest;
}

function readSymbols(path: string): { address: number; name: string }[] {
  return readFileSync(path, "utf8")
    .split("\n")
    .map((line) => line.split(" "))
    .filter(([, kind]) => /^[tTwW]$/.test(kind ?? ""))
    .map(([address, , name]) => ({ address: Number.parseInt(address as string, 16), name: name as string }))
    .sort((a, b) => a.address - b.address);
}

function nameOf(address: number): string | null {
  if (address < first || address >= last) return null;
  let low = 0;
  for (let high = symbols.length; high - low > 1; ) {
    const middle = (low + high) >> 1;
    if ((symbols[middle] as { address: number }).address <= address) low = middle;
    else high = middle;
  }
  const name = symbols[low]?.name;
  // These end the code: what follows is data.
  return name === undefined || name === "_etext" || name === "_einittext" ? null : name;
}

/** @param words v86's memory @param base where the guest's begins in it, in bytes */
function note(words: Uint32Array, base: number): void {
  const now = words[AT.instructions] as number;
  const count = (now - counted) >>> 0;
  counted = now;
  if (guest && guest.watch.promptMs !== null) return;
  const add = (table: Map<string, number>, name: string): void => void table.set(name, (table.get(name) ?? 0) + count);
  const phase = guest?.watch.phase ?? "bios";
  add(tables.phases, phase);
  const name = nameOf(words[AT.eip] as number);
  const stack = name ? [name] : [];
  const esp = words[AT.esp] as number;
  if (name && esp >= KERNEL)
    for (let at = esp & ~3; at >>> 0 < (esp | (STACK_BYTES - 1)) >>> 0; at += 4) {
      const caller = nameOf(words[(base + (at >>> 0) - KERNEL) >> 2] as number);
      if (caller) stack.push(caller);
    }
  const below = (caller: string): string | undefined => stack[stack.indexOf(caller) - 1];
  const thread = below("async_run_entry_fn") ?? below("kthread");
  const call = below("do_one_initcall") ?? (thread && `a thread of the kernel: ${thread}`);
  add(tables.initcalls, call ?? (name ? `none (${phase})` : `not the kernel (${phase})`));
  add(tables.functions, name ?? `not the kernel (${phase})`);
  for (const each of new Set(stack)) add(tables["functions with what they call, roughly"], each);
}

const { compile, instantiate } = WebAssembly;
WebAssembly.compile = async (code) => {
  const bytes = Buffer.from(code as Uint8Array);
  const at = bytes.indexOf(STOCK_PERIOD);
  if (at < 0) throw new Error("Cannot count instructions: v86 is another one than 0.5.462");
  bytes.set([(PERIOD & 0x7f) | 0x80, (PERIOD >> 7) | 0x80, 0], at + 1);
  return compile(new Uint8Array(bytes));
};
type Exports = {
  memory: WebAssembly.Memory;
  allocate_memory(bytes: number): number;
  set_jit_config(...to: number[]): void;
};
(WebAssembly as { instantiate: unknown }).instantiate = async (
  module: WebAssembly.Module,
  imports: WebAssembly.Imports,
) => {
  const environment = imports.env as { run_hardware_timers(...words: unknown[]): number };
  const timers = environment.run_hardware_timers;
  let base = 0;
  environment.run_hardware_timers = (...words) => {
    note(new Uint32Array(exports.memory.buffer), base);
    return timers(...words);
  };
  const exports = (await instantiate(module, imports)).exports as unknown as Exports;
  // Compiled code looks less often.
  exports.set_jit_config(0, 1);
  const allocate = (bytes: number): number => {
    base = exports.allocate_memory(bytes);
    return base;
  };
  return { exports: { ...exports, allocate_memory: allocate } };
};

guest = await bootGuest({ initramfs: await buildTestInitramfs() });
await guest.until(() => guest?.watch.promptMs !== null, "prompt", 300_000);
for (const [title, table] of Object.entries(tables)) {
  const rows = [...table].sort(([, a], [, b]) => b - a);
  console.log(`\n${title}: ${millions(rows.reduce((sum, [, count]) => sum + count, 0))}`);
  for (const [name, count] of rows.slice(0, ROWS)) console.log(`${millions(count).padStart(8)}  ${name}`);
}
process.exit(0);

function millions(count: number): string {
  return (count / 1e6).toFixed(2);
}

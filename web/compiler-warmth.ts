/**
 * Has the browser compile the emulator's innermost functions before there is a machine to run.
 *
 * Browsers run WebAssembly at first as a quick compiler leaves it, and give what turns out to be hot to a better one, in
 * other threads. The function that interprets instructions is so large that this takes a tenth of a second and more: a
 * first boot was over by then. What is compiled belongs to the module, not to an instance, so that an instance which runs
 * a few thousand instructions of no use is enough to begin with it while the page still waits for its downloads.
 */

/** Long enough for the compiler to be called, too short to be felt. */
const RUN_MS = 4;
const MEMORY_BYTES = 2 ** 20;
/** Where processors start in real mode: 16 bytes below 1 MiB (Intel SDM volume 3, 10.1.4), here the memory's end. */
const RESET_VECTOR = MEMORY_BYTES - 16;
/** What v86's own code gives its module: at least that many entries are asked for. */
const TABLE_SIZE = 1924;
/** Where v86's processor reads how much memory there is (`memory_size` in its cpu.js). */
const MEMORY_SIZE_AT = 812;
/**
 * Something of memory, of registers, of the opcodes that begin with 0f, and a jump:
 * mov [si], ax; add ax, [si]; movzx dx, al; push ax; pop bx; inc si; jmp to the start.
 */
const LOOP = Uint8Array.of(0x89, 0x04, 0x03, 0x04, 0x0f, 0xb6, 0xd0, 0x50, 0x5b, 0x46, 0xeb, 0xf4);

type Exports = Record<"rust_init" | "reset_cpu" | "main_loop", () => number> & {
  memory: WebAssembly.Memory;
  allocate_memory(bytes: number): number;
};

/** Blocks for a few milliseconds. What goes wrong is no loss. */
export async function warmUp(emulator: WebAssembly.Module): Promise<void> {
  const env: Record<string, unknown> = {};
  for (const { name, kind } of WebAssembly.Module.imports(emulator))
    env[name] = kind === "table" ? new WebAssembly.Table({ element: "anyfunc", initial: TABLE_SIZE }) : () => 0;
  env.microtick = () => performance.now();
  const { exports } = await WebAssembly.instantiate(emulator, { env } as WebAssembly.Imports);
  const machine = exports as unknown as Exports;
  machine.rust_init();
  new DataView(machine.memory.buffer).setUint32(MEMORY_SIZE_AT, MEMORY_BYTES, true);
  const start = machine.allocate_memory(MEMORY_BYTES);
  new Uint8Array(machine.memory.buffer).set(LOOP, start + RESET_VECTOR);
  machine.reset_cpu();
  const end = performance.now() + RUN_MS;
  while (performance.now() < end) machine.main_loop();
}

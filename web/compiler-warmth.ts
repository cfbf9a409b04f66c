/**
 * Has the browser compile the emulator's innermost functions before there is a machine to run.
 *
 * Browsers run WebAssembly at first as a quick compiler leaves it, and give what turns out to be hot to a better one, in
 * other threads. The function that interprets instructions is so large that this takes a tenth of a second and more: a
 * first boot was over by then. What is compiled belongs to the module, not to an instance, so that an instance which runs
 * a few thousand instructions of no use is enough to begin with it while the page still waits for its downloads.
 */

const MEMORY_BYTES = 2 ** 20;
/** What v86's own code gives its module: at least that many entries are asked for. */
const TABLE_SIZE = 1924;
/** Where v86's processor reads how much memory there is (`memory_size` in its cpu.js). */
const MEMORY_SIZE_AT = 812;
/** Where processors start in real mode: 16 bytes below 1 MiB (Intel SDM volume 3, 10.1.4), here the memory's end. */
const RESET_VECTOR = MEMORY_BYTES - 16;
const PROGRAM_AT = RESET_VECTOR - 0x20;
/**
 * Something of memory, of registers and of the opcodes that begin with 0f, 3,000 times, which is enough for the compiler to
 * be called and too little to be felt:
 * mov cx, 3000; again: mov [si], ax; add ax, [si]; movzx dx, al; push ax; pop bx; inc si; loop again; hlt
 */
const PROGRAM = Uint8Array.of(
  ...[0xb9, 0xb8, 0x0b],
  ...[0x89, 0x04, 0x03, 0x04, 0x0f, 0xb6, 0xd0, 0x50, 0x5b, 0x46, 0xe2, 0xf4],
  0xf4,
);
/** jmp to the program */
const JUMP = Uint8Array.of(0xeb, (PROGRAM_AT - RESET_VECTOR - 2) & 0xff);

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
  const memory = new Uint8Array(machine.memory.buffer, start, MEMORY_BYTES);
  memory.set(PROGRAM, PROGRAM_AT);
  memory.set(JUMP, RESET_VECTOR);
  machine.reset_cpu();
  machine.main_loop();
}

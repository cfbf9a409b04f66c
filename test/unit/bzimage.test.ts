import { describe, expect, it } from "vitest";
import { decodeBzImage, isBzImage, MOST_KERNEL_BYTES } from "../../worker/format/bzimage.ts";
import { readSystem } from "../machine/guest.ts";
import { smallKernel } from "../soak/mutants.ts";

type Change = (kernel: Uint8Array, view: DataView) => void;

const changed = (change: Change): Uint8Array => {
  const kernel = smallKernel();
  change(kernel, new DataView(kernel.buffer));
  return kernel;
};

describe("a kernel", () => {
  it("is told by its header", () => {
    expect(decodeBzImage(readSystem("bzImage"), "x").version).toMatch(/^6\.12\.\d+-smart \(/);
    expect(decodeBzImage(smallKernel(), "x")).toEqual({ version: "6.1" });
    expect(isBzImage(smallKernel().subarray(0, 1023))).toBe(false);
  });

  it.each<[string, Change, string]>([
    ["no header", (kernel) => kernel.fill(0, 0x202, 0x206), "it is no bzImage"],
    [
      "an old protocol",
      (_, view) => view.setUint16(0x206, 0x0209, true),
      "its boot protocol is 2.9; 2.10 is the least",
    ],
    ["a zImage", (kernel) => kernel.fill(0, 0x211, 0x212), "it is a zImage"],
    ["64 bits", (kernel) => kernel.fill(1, 0x236, 0x237), "it is for 64-bit processors"],
    ["too much setup code", (kernel) => kernel.fill(64, 0x1f1, 0x1f2), "its real-mode code would have 64 sectors"],
    ["no code", (_, view) => view.setUint32(0x1f4, 0, true), "it would reach to 1024"],
    [
      "code beyond its end",
      (_, view) => view.setUint32(0x1f4, 65, true),
      "it would reach to 2064, the file ends at 2048",
    ],
    ["code far beyond", (_, view) => view.setUint32(0x1f4, 0xffff_ffff, true), "it would reach to 68719477744"],
    ["a payload beyond", (_, view) => view.setUint32(0x24c, 1025, true), "its packed part would reach to 2049"],
    ["too much memory", (_, view) => view.setUint32(0x260, 0xf000_0000, true), "unpacked it would reach to 4027580416"],
    ["an address beyond 4 GiB", (_, view) => view.setUint32(0x25c, 1, true), "unpacked it would reach to 4299161600"],
  ])("is refused with %s", (_, change, message) => {
    expect(() => decodeBzImage(changed(change), "Cannot open k")).toThrow(`Cannot open k: ${message}`);
  });

  it("is taken at the edges", () => {
    expect(() =>
      decodeBzImage(
        changed((_, view) => view.setUint16(0x206, 0x020a, true)),
        "x",
      ),
    ).not.toThrow();
    // Before protocol 2.12 that field was no flag.
    const older: Change = (kernel, view) => {
      kernel[0x236] = 1;
      view.setUint16(0x206, 0x020b, true);
    };
    expect(() => decodeBzImage(changed(older), "x")).not.toThrow();
    expect(() => decodeBzImage(smallKernel().subarray(0, 2048 - 15), "x")).not.toThrow();
    expect(() => decodeBzImage(smallKernel().subarray(0, 2048 - 16), "x")).toThrow("the file ends at 2032");
    const large = new Uint8Array(MOST_KERNEL_BYTES + 1);
    large.set(smallKernel());
    expect(() => decodeBzImage(large, "x")).toThrow(`it may have ${MOST_KERNEL_BYTES} bytes`);
    expect(() => decodeBzImage(large.subarray(0, MOST_KERNEL_BYTES), "x")).not.toThrow();
  });
});

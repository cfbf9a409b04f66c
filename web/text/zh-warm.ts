import type { enWarm } from "./en-warm.ts";

/** The same in Chinese. */
export const zhWarm: typeof enWarm = {
  phases: { restore: "恢复", files: "文件" },
  phaseHelp: {
    restore: "不从加电开始，而是从保存的状态取出一台内核已就绪的机器。",
    files: "项目对默认文件的改动交给在那台机器里以 1 号进程等待的程序。",
  },
  bootCold: "冷启动",
  bootColdHelp: "从加电开始：BIOS、内核、initramfs",
  cold: (reason, detail) =>
    ({
      memory: "冷启动：没有这种内存大小的保存状态。",
      "command-line": "冷启动：保存的状态使用默认的内核命令行。",
      kernel: "冷启动：项目使用自带内核，尚无它的保存状态。",
      card: "冷启动：保存的状态使用 virtio 网卡。",
      drives: "冷启动：在保存的状态里，sdc 或 sdd 的位置是光驱。",
      "no-states": "冷启动：本页面构建时没有保存的状态。",
      state: "冷启动：无法载入保存的状态。",
      trouble: `冷启动：保存的机器无法接收文件（${detail}）。`,
    })[reason],
};

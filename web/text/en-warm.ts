import type { ColdReason } from "../warm.ts";

/** What the page says about warm boots, in English. */
export const enWarm = {
  phases: { restore: "restore", files: "files" },
  phaseHelp: {
    restore:
      "A machine whose kernel is up already is taken from its saved state, instead of starting it from its power-on.",
    files:
      "What your project changes of the default files goes to the program that waits in that machine as process 1.",
  },
  bootCold: "Boot cold",
  bootColdHelp: "From power-on: BIOS, kernel, initramfs",
  cold: (reason: ColdReason, detail: string): string =>
    ({
      memory: "Cold boot: there is no saved state for so much memory.",
      "command-line": "Cold boot: a saved state has the default kernel command line.",
      kernel: "Cold boot: the project has a custom kernel, for which there is no saved state yet.",
      card: "Cold boot: a saved state has the network card virtio.",
      drives: "Cold boot: a saved state has its CD drive where sdc or sdd would be.",
      "no-states": "Cold boot: this page was built without saved states.",
      state: "Cold boot: the saved state could not be loaded.",
      trouble: `Cold boot: the saved machine could not take the files (${detail}).`,
    })[reason],
};

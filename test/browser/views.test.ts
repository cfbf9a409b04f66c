import type { BrowserContextOptions, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DARK, LIGHT } from "../../web/terminal-colours.ts";
import { MARKUP_PATH } from "./views.states.ts";
import { startViews, type Views } from "./views.ts";

const DESK = { width: 1440, height: 900 };
const PHONE = { width: 390, height: 844 };
const ALL = [
  "running",
  "applied",
  "off",
  "building",
  "booting",
  "paused",
  "failed",
  "memory",
  "full",
  "read-only",
  "binary",
  "script",
];

let views: Views;
const faults: string[] = [];

beforeAll(async () => {
  views = await startViews();
});
afterAll(() => views?.close());

async function open(query: string, viewport = DESK, options: BrowserContextOptions = {}): Promise<Page> {
  const page = await (await views.browser.newContext({ viewport, ...options })).newPage();
  page.on("pageerror", (error) => faults.push(`${query}: ${error.message}`));
  await page.goto(`${views.url}?${query}`);
  await page.waitForFunction(() => window.harness !== undefined);
  return page;
}

const editorOf = async (page: Page) => {
  const content = page.getByTestId("editor").locator(".cm-content");
  await content.waitFor();
  return content;
};
const calls = (page: Page, name: string) =>
  page.evaluate(
    (wanted) => window.harness.calls.filter(([called]) => called === wanted).map(([, ...rest]) => rest),
    name,
  );
const row = (page: Page, path: string) => page.getByTestId("file-tree").locator(`[data-path="${path}"]`);
const cursor = (page: Page) => page.getByTestId("file-tree").locator(".cursor").getAttribute("data-path");
const focused = (page: Page) =>
  page.evaluate(() => document.activeElement?.closest(".bar, .tree-panel, .editor-panel, .machine-panel")?.className);

describe("the file tree", () => {
  it("is worked by keys alone", async () => {
    const page = await open("scenario=running");
    await page.getByTestId("file-tree").focus();
    expect(await cursor(page)).toBe("/etc/init.d/rcS");
    await page.keyboard.press("ArrowLeft");
    expect(await cursor(page)).toBe("/etc/init.d");
    await page.keyboard.press("ArrowLeft");
    expect(await row(page, "/etc/init.d").getAttribute("aria-expanded")).toBe("false");
    expect(await row(page, "/etc/init.d/rcS").count()).toBe(0);
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowRight");
    expect(await cursor(page)).toBe("/etc/init.d/hello");
    await page.keyboard.press("n");
    expect(await cursor(page)).toBe("/etc/init.d/network");
    await page.keyboard.press("Enter");
    expect(await calls(page, "openFile")).toEqual([["/etc/init.d/network"]]);
    await page.keyboard.press("Delete");
    expect(await calls(page, "removeFile")).toEqual([["/etc/init.d/network"]]);
    await page.keyboard.press("F2");
    await page.keyboard.type("net");
    await page.keyboard.press("Enter");
    await expect.poll(() => calls(page, "renameFile")).toEqual([["/etc/init.d/network", "/etc/init.d/net"]]);
    expect(await page.getByTestId("file-tree").evaluate((tree) => tree === document.activeElement)).toBe(true);
    await page.keyboard.press("End");
    expect(await cursor(page)).toBe("/init");
    const active = await page.getByTestId("file-tree").getAttribute("aria-activedescendant");
    expect(await page.locator(`#${active}`).getAttribute("data-path")).toBe("/init");
    await page.context().close();
  });

  it("has a menu for each row, and a dialog for permissions", async () => {
    const page = await open("scenario=running");
    await row(page, "/etc/init.d/rcS").click();
    await page.keyboard.press("Shift+F10");
    await page.getByRole("menuitem", { name: "Permissions" }).waitFor();
    expect(await page.getByRole("menuitem").allInnerTexts()).toEqual([
      "Rename or move …",
      "Permissions …",
      "Download",
      "Restore the default",
      "Delete",
    ]);
    await page.keyboard.press("p");
    await page.keyboard.press("Enter");
    await page.getByRole("checkbox", { name: "Others: Read" }).uncheck();
    await page.getByRole("checkbox", { name: /^setuid/ }).check();
    expect(await page.locator("dialog .octal").inputValue()).toBe("04751");
    await page.locator("dialog .octal").fill("0999");
    await page.keyboard.press("Enter");
    expect(await page.locator("dialog[open]").count()).toBe(1);
    await page.locator("dialog .octal").fill("0700");
    expect(await page.getByRole("checkbox", { name: "Group: Execute" }).isChecked()).toBe(false);
    await page.keyboard.press("Enter");
    await expect.poll(() => calls(page, "chmod")).toEqual([["/etc/init.d/rcS", 0o700]]);
    await page.context().close();
  });

  it("filters, and adds files where the cursor is", async () => {
    const page = await open("scenario=running");
    await page.getByTestId("filter").fill("init.d/RC");
    expect(await page.getByTestId("file-tree").locator('[data-kind="file"]').count()).toBe(2);
    await page.getByTestId("filter").fill("");
    await row(page, "/etc/init.d/rcS").click();
    await page.getByTestId("new-file").click();
    await page.keyboard.type("network");
    expect(await page.locator("dialog .fault").innerText()).toBe("/etc/init.d/network exists already.");
    await page.keyboard.type("2");
    await page.keyboard.press("Enter");
    await expect.poll(() => calls(page, "addFile")).toEqual([["/etc/init.d/network2"]]);
    await page.context().close();
  });

  it("shows markup in names as text", async () => {
    const page = await open("scenario=running");
    const strange = page.getByTestId("file-tree").locator('[data-path^="/root/<img"]');
    expect(await strange.locator(".name").innerText()).toBe(MARKUP_PATH.slice("/root/".length));
    await strange.click();
    expect(await page.locator(".editor-panel .path").innerText()).toContain("<img src=x");
    await page.getByTestId("project-menu").click();
    expect(await page.getByRole("menuitemradio", { name: "<b>bold</b>" }).count()).toBe(1);
    expect(await page.locator("#workbench img, .menu b").count()).toBe(0);
    await page.context().close();
  });

  it("keeps only the rows in sight in the page when there are thousands", async () => {
    const page = await open("scenario=many");
    expect(await page.getByTestId("file-tree").locator(".row").count()).toBeLessThan(120);
    await page.getByTestId("file-tree").focus();
    await page.keyboard.press("End");
    await page.keyboard.press("Home");
    await page.keyboard.press("ArrowDown");
    expect(await cursor(page)).toBe("/data/file-0000");
    await page.getByTestId("filter").fill("file-5999");
    expect(await row(page, "/data/file-5999").isVisible()).toBe(true);
    await page.context().close();
  });

  it("takes dropped files into the folder under the pointer", async () => {
    const page = await open("scenario=running");
    const transfer = await page.evaluateHandle(() => {
      const data = new DataTransfer();
      data.items.add(new File(["hello"], "dropped.txt"));
      return data;
    });
    await row(page, "/etc/init.d/rcS").dispatchEvent("dragover", { dataTransfer: transfer });
    expect(await page.locator(".tree-panel .drop-hint").innerText()).toContain("/etc/init.d");
    expect(await row(page, "/etc/init.d").getAttribute("class")).toContain("drop");
    await row(page, "/etc/init.d/rcS").dispatchEvent("drop", { dataTransfer: transfer });
    expect((await calls(page, "upload"))[0]?.[0]).toBe("/etc/init.d");
    await page.context().close();
  });
});

describe("the editor", () => {
  it("hands every change on, and keeps each file's own history", async () => {
    const page = await open("scenario=running");
    const content = await editorOf(page);
    await content.focus();
    await page.keyboard.press("Control+Home");
    await page.keyboard.type("X");
    const edits = await calls(page, "editFile");
    expect(edits.at(-1)?.[0]).toBe("/etc/init.d/rcS");
    expect(edits.at(-1)?.[1]).toMatch(/^X#!\/bin\/sh/);
    await row(page, "/etc/inittab").click();
    await page.waitForFunction(() => document.querySelector(".cm-content")?.textContent?.includes("# /etc/inittab"));
    await row(page, "/etc/init.d/rcS").click();
    await page.waitForFunction(() => document.querySelector(".cm-content")?.textContent?.startsWith("X#!"));
    await (await editorOf(page)).focus();
    await page.keyboard.press("Control+z");
    expect((await calls(page, "editFile")).at(-1)?.[1]).toMatch(/^#!\/bin\/sh/);
    await page.context().close();
  });

  it("shows what differs from the default, undoes a single change, and restores all", async () => {
    const page = await open("scenario=running");
    await editorOf(page);
    await page.getByTestId("tab-changes").click();
    const editor = page.getByTestId("editor");
    await editor.locator(".cm-changedLine").first().waitFor();
    expect(await editor.locator(".cm-deletedChunk").allInnerTexts()).toEqual(
      expect.arrayContaining([expect.stringContaining('echo " Linux $release"')]),
    );
    await editor.getByRole("button", { name: "Undo this change" }).first().click();
    expect((await calls(page, "editFile")).at(-1)?.[1]).not.toContain("mount -t tmpfs");
    await page.getByTestId("restore").click();
    expect(await calls(page, "restoreDefault")).toEqual([["/etc/init.d/rcS"]]);
    await expect.poll(() => editor.locator(".cm-changedLine").count()).toBe(0);
    await page.getByTestId("tab-edit").click();
    await (await editorOf(page)).focus();
    await page.keyboard.press("Control+z");
    expect((await calls(page, "editFile")).at(-1)?.[1]).toContain("Hello from Linux");
    await page.context().close();
  });

  it("offers to make a script executable, and shows what is no text as facts", async () => {
    const page = await open("scenario=script");
    await page.getByTestId("make-executable").click();
    expect(await calls(page, "chmod")).toEqual([["/etc/init.d/hello", 0o755]]);
    expect(await page.getByTestId("make-executable").isVisible()).toBe(false);
    await row(page, "/root/logo.png").click();
    expect(await page.locator(".facts-card").innerText()).toContain("48.2 kB");
    expect(await page.locator(".cm-content").isVisible()).toBe(false);
    await row(page, "/etc/mtab").click();
    expect(await page.locator(".facts-card").innerText()).toContain("/proc/mounts");
    await page.context().close();
  });

  it("changes nothing while another tab holds the project", async () => {
    const page = await open("scenario=read-only");
    await (await editorOf(page)).focus();
    await page.keyboard.type("nothing");
    await row(page, "/etc/inittab").click();
    await page.keyboard.press("Delete");
    await page.keyboard.press("F2");
    expect(await page.locator("dialog[open]").count()).toBe(0);
    expect(await page.getByTestId("new-file").isDisabled()).toBe(true);
    await page.getByTestId("take-over").click();
    expect(await page.evaluate(() => window.harness.calls.map(([name]) => name))).toEqual(["openFile", "takeOver"]);
    await page.context().close();
  });
});

describe("the machine", () => {
  it("applies by Ctrl+Enter in the editor and in the terminal, which get nothing of it", async () => {
    const page = await open("scenario=running");
    await (await editorOf(page)).focus();
    await page.keyboard.press("Control+Enter");
    expect(await calls(page, "applyAndReboot")).toHaveLength(1);
    expect(await calls(page, "editFile")).toHaveLength(0);
    await page.getByTestId("terminal").click();
    await page.keyboard.type("ls");
    await page.keyboard.press("Control+Enter");
    expect(await calls(page, "applyAndReboot")).toHaveLength(2);
    expect(await page.evaluate(() => window.harness.input.join(""))).toBe("ls");
    await page.context().close();
  });

  it("lets the focus out of the terminal by F6, and in again", async () => {
    const page = await open("scenario=running");
    await editorOf(page);
    await page.getByTestId("terminal").click();
    const seen: (string | undefined)[] = [];
    for (let step = 0; step < 4; step += 1) {
      await page.keyboard.press("F6");
      seen.push((await focused(page))?.split(" ").at(-1));
    }
    expect(seen).toEqual(["bar", "tree-panel", "editor-panel", "machine-panel"]);
    await page.keyboard.press("Shift+F6");
    expect(await focused(page)).toContain("editor-panel");
    await page.context().close();
  });

  it("tells of a problem with the ways on, and can be put aside", async () => {
    const page = await open("scenario=failed");
    const problem = page.getByTestId("problem");
    expect(await problem.innerText()).toContain("Stopped in the phase “initramfs”");
    expect(await problem.locator("pre").innerText()).toContain("Kernel panic");
    await page.getByTestId("dismiss-problem").click();
    expect(await problem.isVisible()).toBe(false);
    await page.getByTestId("show-problem").click();
    await page.getByTestId("open-faulty").click();
    expect(await calls(page, "openFile")).toEqual([["/init"]]);
    await page.getByTestId("try-again").click();
    await page.getByTestId("go-back").click();
    expect(await page.evaluate(() => window.harness.calls.map(([name]) => name))).toEqual([
      "openFile",
      "applyAndReboot",
      "goBack",
    ]);
    await page.context().close();
  });

  it("shows the boot as bars that open to the machine's own messages", async () => {
    const page = await open("scenario=running");
    const bars = page.getByTestId("timeline-bar");
    expect(await bars.evaluateAll((all) => all.map((bar) => [bar.dataset.phase, bar.dataset.ms]))).toEqual([
      ["build", "41"],
      ["bios", "222"],
      ["kernel", "1427"],
      ["initramfs", "400"],
      ["init-scripts", "476"],
      ["shell", "0"],
    ]);
    await bars.nth(2).focus();
    await page.keyboard.press("Enter");
    const messages = page.locator(".messages:visible");
    expect((await messages.innerText()).split("\n")).toHaveLength(500);
    expect(await page.locator(".timeline-details:visible").innerText()).toContain("140 earlier lines");
    await page.context().close();

    const live = await open("scenario=booting");
    const kernel = live.locator('[data-phase="kernel"]');
    const before = Number(await kernel.getAttribute("data-ms"));
    await expect.poll(async () => Number(await kernel.getAttribute("data-ms"))).toBeGreaterThan(before + 100);
    await live.context().close();
  });

  it("goes off, on, pauses and restarts by its buttons; a build can be ended", async () => {
    const page = await open("scenario=building");
    expect(await page.getByTestId("state-pill").innerText()).toBe("Building 45 %");
    await page.getByTestId("cancel").click();
    await page.evaluate(() =>
      window.harness.set({ machine: { ...window.harness.state().machine, status: "running", build: null } }),
    );
    await page.getByTestId("pause").click();
    await page.getByTestId("restart").click();
    await page.getByTestId("power").click();
    await page.evaluate(() => window.harness.set({ machine: { ...window.harness.state().machine, status: "off" } }));
    await page.getByTestId("power").click();
    await page.getByTestId("settings").click();
    await page.getByTestId("memory-size").selectOption("256");
    await page.getByTestId("command-line").fill("quiet  console=ttyS0");
    await page.keyboard.press("Enter");
    expect(await page.evaluate(() => window.harness.calls)).toEqual([
      ["cancelBuild"],
      ["pause"],
      ["restart"],
      ["powerOff"],
      ["powerOn"],
      ["setMemory", 256],
      ["setCommandLine", "quiet console=ttyS0"],
    ]);
    await page.context().close();
  });

  it("gives the screen the keyboard only while it has the focus", async () => {
    const page = await open("scenario=running");
    await page.getByTestId("tab-screen").click();
    await page.getByTestId("ctrl-alt-del").click();
    await page.locator(".screen").click();
    await page.keyboard.press("Escape");
    await page.keyboard.press("Escape");
    expect((await calls(page, "focusScreen")).map(([on]) => on).at(-1)).toBe(false);
    expect(await calls(page, "sendCtrlAltDel")).toHaveLength(1);
    const fits = await page.locator(".screen").evaluate((screen) => {
      const inner = screen.getBoundingClientRect();
      const outer = (screen.parentElement as HTMLElement).getBoundingClientRect();
      return (
        inner.left >= outer.left && inner.right <= outer.right && inner.top >= outer.top && inner.bottom <= outer.bottom
      );
    });
    expect(fits).toBe(true);
    await page.context().close();
  });

  it("finds text in the terminal", async () => {
    const page = await open("scenario=running");
    await page.getByTestId("terminal").click();
    await page.keyboard.press("Control+Shift+F");
    await page.keyboard.type("smart-os");
    await expect.poll(() => page.locator(".found").innerText()).toMatch(/of 3$/);
    await page.keyboard.press("Escape");
    await page.keyboard.type("x");
    expect(await page.evaluate(() => window.harness.input.join(""))).toBe("x");
    await page.context().close();
  });
});

describe("the page", () => {
  it("resizes panels by keys, remembers it, and restores it", async () => {
    const page = await open("scenario=running");
    const splitter = page.getByTestId("splitter-tree-width");
    const width = () => page.locator(".tree-panel").evaluate((panel) => panel.clientWidth);
    const initial = await width();
    await splitter.focus();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowRight");
    expect(await width()).toBe(initial + 32);
    expect(await splitter.getAttribute("aria-valuenow")).toBe(String(initial + 32));
    await page.reload();
    await page.waitForFunction(() => window.harness !== undefined);
    expect(await width()).toBe(initial + 32);
    await splitter.dblclick();
    expect(await width()).toBe(initial);
    await page.getByTestId("fold-tree").click();
    expect(await page.locator(".tree-panel").isVisible()).toBe(false);
    await page.keyboard.press("Enter");
    expect(await page.locator(".tree-panel").isVisible()).toBe(true);
    await page.context().close();
  });

  it("works where the browser refuses to remember anything", async () => {
    const page = await (await views.browser.newContext({ viewport: DESK })).newPage();
    await page.addInitScript(() =>
      Object.defineProperty(window, "localStorage", {
        get() {
          throw new DOMException("refused", "SecurityError");
        },
      }),
    );
    await page.goto(views.url);
    await page.getByTestId("splitter-tree-width").focus();
    await page.keyboard.press("ArrowRight");
    await page.getByTestId("fold-timeline").click();
    expect(await page.getByTestId("timeline-bar").first().isVisible()).toBe(false);
    await page.context().close();
  });

  it("changes its language and colours without losing the terminal or the editor", async () => {
    const page = await open("scenario=running&theme=light");
    await editorOf(page);
    await page.getByTestId("language").click();
    await expect.poll(() => page.getAttribute("html", "lang")).toBe("zh-CN");
    expect(await page.getByTestId("apply").innerText()).toBe("应用并重启");
    expect(await page.locator(".xterm-rows").innerText()).toContain("root@smart-os");
    expect(await (await editorOf(page)).innerText()).toContain("#!/bin/sh");
    await page.getByTestId("theme").click();
    await page.getByRole("menuitemradio", { name: "深色" }).click();
    expect(await page.getAttribute("html", "data-theme")).toBe("dark");
    await page.context().close();
  });

  it("says where the work is not stored, and what can be done", async () => {
    const page = await open("scenario=full");
    expect(await page.getByTestId("saved-state").innerText()).toBe("Not saved");
    await page.getByTestId("saved-state").click();
    await page.locator(".banner").getByRole("button", { name: "Download" }).click();
    expect(await page.evaluate(() => window.harness.calls)).toEqual([["retrySave"], ["downloadProject"]]);
    await page.context().close();
    const memory = await open("scenario=memory");
    const notice = memory.getByTestId("notice");
    expect(await notice.count()).toBe(2);
    await notice.getByRole("button", { name: "Undo" }).click();
    expect(await notice.count()).toBe(1);
    await memory.context().close();
  });

  it("shows one panel at a time on a phone, and never scrolls sideways", async () => {
    for (const scenario of ALL) {
      const page = await open(`scenario=${scenario}`, PHONE, { hasTouch: true });
      for (const panel of ["tree", "editor", "disks", "machine"]) {
        await page.getByTestId(`panel-${panel}`).tap();
        expect(await page.locator(".panel:visible").evaluateAll((all) => all.map(({ id }) => id))).toEqual([
          `panel-${panel}`,
        ]);
        expect(
          await page.evaluate(() => [document.documentElement.scrollWidth, document.body.scrollWidth]),
          `${scenario}, ${panel}`,
        ).toEqual([390, 390]);
      }
      await page.context().close();
    }
  });

  it("has keys for touch screens, Ctrl among them, and buttons that a finger can hit", async () => {
    const page = await open("scenario=running", PHONE, { hasTouch: true });
    await page.locator('.touch-keys [data-key="Tab"]').tap();
    await page.locator('.touch-keys [data-key="Ctrl"]').tap();
    await page.keyboard.type("c");
    await page.keyboard.type("c");
    expect(await page.evaluate(() => window.harness.input)).toEqual(["\t", "\u0003", "c"]);
    const small = await page
      .locator(".bar button:visible, .head button:visible, .tabbar button:visible")
      .evaluateAll((all) =>
        all
          .filter((button) => button.getBoundingClientRect().height < 44)
          .map((button) => button.outerHTML.slice(0, 80)),
      );
    expect(small).toEqual([]);
    await row(page, "/etc/inittab").evaluate((element) => (element as HTMLElement).click());
    expect(await page.locator(".editor-panel").isVisible()).toBe(true);
    await page.getByTestId("overflow").tap();
    await page.getByRole("menuitem", { name: "Power off" }).tap();
    expect(await calls(page, "powerOff")).toHaveLength(1);
    await page.context().close();
  });

  it("is nothing but the terminal when it is embedded", async () => {
    const page = await open("scenario=embed");
    expect(await page.getByTestId("terminal").isVisible()).toBe(true);
    for (const name of [".bar", ".tree-panel", ".editor-panel", ".timeline"])
      expect(await page.locator(name).isVisible()).toBe(false);
    await page.context().close();
  });

  it("threw no error in any of these tests", () => expect(faults).toEqual([]));
});

describe("the colours", () => {
  /** Which text stands on which ground. */
  const PAIRS: [ink: string, grounds: string[]][] = [
    [
      "text",
      [
        "ground",
        "surface",
        "raised",
        "well",
        "hover",
        "pressed",
        "accent-soft",
        "info-soft",
        "good-soft",
        "bad-soft",
        "selection",
        "found",
        "line-active",
      ],
    ],
    ["text-muted", ["ground", "surface", "raised", "well", "hover"]],
    ["text-faint", ["surface", "raised", "well", "hover"]],
    ["accent-strong", ["surface", "raised", "well", "accent-soft", "hover", "pressed"]],
    ["accent-ink", ["accent", "accent-hover"]],
    ["good", ["surface", "raised", "good-soft", "hover", "pressed"]],
    ["info", ["surface", "info-soft"]],
    ["bad", ["surface", "raised", "bad-soft", "hover"]],
    ...["comment", "string", "keyword", "number", "variable", "builtin"].map((name): [string, string[]] => [
      `code-${name}`,
      ["well", "line-active"],
    ]),
  ];

  it("are readable in both themes: 4.5 to 1 at least", async () => {
    const page = await open("scenario=off");
    const names = [...new Set(PAIRS.flatMap(([ink, grounds]) => [ink, ...grounds]))];
    const faint: string[] = [];
    for (const theme of ["light", "dark"]) {
      const values = await page.evaluate(
        ([wanted, chosen]) => {
          document.documentElement.dataset.theme = chosen as string;
          const probe = document.body.appendChild(document.createElement("i"));
          const found = (wanted as string[]).map((name) => {
            probe.style.color = `var(--${name})`;
            return [name, getComputedStyle(probe).color];
          });
          probe.remove();
          return Object.fromEntries(found) as Record<string, string>;
        },
        [names, theme] as const,
      );
      for (const [ink, grounds] of PAIRS)
        for (const ground of grounds) {
          const ratio = contrast(channels(values[ink] ?? ""), channels(values[ground] ?? ""));
          if (!(ratio >= 4.5)) faint.push(`${theme}: ${ink} on ${ground}: ${ratio.toFixed(2)}`);
        }
    }
    expect(faint).toEqual([]);
    await page.context().close();
  });

  it("of the terminal are, too", () => {
    const faint: string[] = [];
    for (const [theme, palette, own] of [
      ["dark", DARK, "black"],
      ["light", LIGHT, ""],
    ] as const)
      for (const [name, value] of Object.entries(palette)) {
        if (/background|selection|scrollbar|accent/i.test(name) || name === own) continue;
        const ratio = contrast(channels(value), channels(palette.background ?? ""));
        if (!(ratio >= 4.5)) faint.push(`${theme}: ${name}: ${ratio.toFixed(2)}`);
      }
    expect(faint).toEqual([]);
  });
});

function channels(colour: string): number[] {
  if (colour.startsWith("#")) return [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16));
  return (
    colour
      .match(/[\d.]+/g)
      ?.slice(0, 3)
      .map(Number) ?? []
  );
}

/** WCAG 2's contrast ratio. */
function contrast(one: number[], other: number[]): number {
  const luminance = (channel: number[]): number => {
    const [red = 0, green = 0, blue = 0] = channel.map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const [light = 0, dark = 0] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}

import { describe, expect, it } from "vitest";
import { createDownloads, type Progress, type RemoteFile } from "../../web/downloads.ts";

const fileOf = (name: string, size: number): RemoteFile => ({
  name,
  url: new URL(`data:application/octet-stream,${name[0]?.repeat(size)}`),
  size,
  wire: size / 2,
});

describe("downloads", () => {
  it("are counted together for the whole visit, what has come before included", async () => {
    const heard: (Progress | null)[] = [];
    const downloads = createDownloads((progress) => heard.push(progress));
    await Promise.all([downloads.load(fileOf("a", 1000)), downloads.load(fileOf("b", 3000))]);
    expect(heard.at(-1)).toBeNull();
    downloads.count("builder", { done: 0, total: 500 });
    expect(heard.at(-1)).toEqual({ done: 2000, total: 2500 });
    downloads.count("builder", { done: 500, total: 500 });
    expect(heard.at(-1)).toBeNull();
    await downloads.load(fileOf("c", 1000));
    const seen = heard.filter((progress) => progress !== null);
    expect(seen.at(-1)?.total).toBe(3000);
    const falls = seen.filter(({ done }, at) => done < (seen[at - 1]?.done ?? 0));
    expect(falls).toEqual([]);
  });

  it("that fail are no longer waited for, nor counted", async () => {
    const heard: (Progress | null)[] = [];
    const downloads = createDownloads((progress) => heard.push(progress));
    await downloads.load(fileOf("a", 1000));
    const wrong = { ...fileOf("b", 3000), size: 2000 };
    await expect(downloads.load(wrong)).rejects.toThrow("Cannot load b: it is not the file that belongs to this page");
    expect(heard.at(-1)).toBeNull();
    downloads.count("builder", { done: 0, total: 100 });
    expect(heard.at(-1)).toEqual({ done: 500, total: 600 });
  });
});

import type { enVisit } from "./en-visit.ts";

/** The same in Chinese. */
export const zhVisit: typeof enVisit = {
  loadingTitle: "正在下载系统",
  loaded: (done, total) => `${done} / ${total}`,
};

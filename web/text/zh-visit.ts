import type { enVisit } from "./en-visit.ts";

/** The same in Chinese. */
export const zhVisit: typeof enVisit = {
  loadingTitle: "正在下载系统",
  loaded: (done, total) => `${done} / ${total}`,
  newVersion: "本页面有新版本。重新加载会结束当前机器；文件和磁盘会保留。",
  reload: "重新加载",
  noLanguage: "无法加载界面文字：服务器没有应答。请稍后再试。",
  whenHidden: "此标签页隐藏时",
  hidden: { run: "机器继续运行", pause: "机器暂停" },
};

import type { enShare } from "./en-share.ts";

/** 链接、外来项目与分享的文字。 */
export const zhShare: typeof enShare = {
  offerTitle: (name) => `来自链接的项目：${name}`,
  offerIntro:
    "它的任何内容都还没有启动。请先看看它改了什么：一旦运行，它可以在自己的虚拟机里做任何事；它看不到您自己的项目和磁盘。",
  offerSame: "它就是默认系统，没有改动。",
  offerCount: (count) => `${count} 个文件与默认系统不同`,
  changes: { changed: "修改", added: "新增", deleted: "删除" },
  offerCommandLine: "内核命令行",
  offerMemory: "内存",
  offerMode: (mode, before) => `权限 ${mode}，原为 ${before}`,
  offerModeAlone: (mode) => `权限 ${mode}`,
  offerGone: "此项目删除了这个文件。",
  offerBinary: (size) => `不是文本：${size}`,
  offerTarget: (target) => `指向 ${target} 的符号链接`,
  offerChoose: "选择一个文件，查看不同之处。",
  tryIt: "启动",
  tryHint: "不保留",
  keepIt: "保留为项目",
  notNow: "暂不",

  visiting: (name) => `${name} 来自链接，没有保留：离开此页面后它就不在了。`,
  kept: (name) => `${name} 现在是您的项目了。`,
  asksNetwork: (relay) => `此项目来自外部，因此它的虚拟机保持离线。联网后，它将通过${relay}访问网络。`,
  ownRelay: "此页面的中继",
  allowNetwork: "允许联网",
  asksFirst: "此项目来自外部：您同意后它才会联网。",

  linkTitle: "以链接分享",
  linkMenu: "以链接分享",
  linkIntro: "项目压缩后就在链接里：没有服务器会看到或保存它。打开链接的人会先看到它改了什么。",
  linkWithout: "磁盘及其内容不在其中。",
  linkLength: (length) => `${length} 个字符`,
  linkShort: "足够短，适合任何邮件或消息。",
  linkMiddle: "有些程序会截断这么长的链接：请先试一试。",
  linkTooLong: (length) => `此项目放不进链接：链接将有 ${length} 个字符。请改为发送文件；收到的人可以在这里打开它。`,
  linkCopied: "已复制",
  copyLink: "复制链接",
  qrLabel: "链接的二维码",
  qrTooLong: "太长，无法生成二维码。",
};

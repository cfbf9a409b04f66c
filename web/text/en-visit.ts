/** What the page says while it is fetched, and about keeping itself for later, in English. */
export const enVisit = {
  loadingTitle: "Loading the system",
  loaded: (done: string, total: string) => `${done} of ${total}`,
  newVersion: "A new version of this page is ready. Reloading ends the machine; your files and disks stay.",
  reload: "Reload",
  noLanguage:
    "Cannot load the Chinese words: the server does not answer. Try again later. 无法加载中文界面：服务器没有应答。",
  whenHidden: "While this tab is hidden",
  hidden: { run: "The machine goes on", pause: "The machine is paused" },
};

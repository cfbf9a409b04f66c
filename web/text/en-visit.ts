/** What the page says while it is fetched, and about keeping itself for later, in English. */
export const enVisit = {
  loadingTitle: "Loading the system",
  loaded: (done: string, total: string) => `${done} of ${total}`,
  newVersion: "A new version of this page is ready. Reloading ends the machine; your files and disks stay.",
  reload: "Reload",
  whenHidden: "While this tab is hidden",
  hidden: { run: "The machine goes on", pause: "The machine is paused" },
};

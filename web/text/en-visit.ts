/** What the page says while it is fetched, and about keeping itself for later, in English. */
export const enVisit = {
  loadingTitle: "Loading the system",
  loaded: (done: string, total: string) => `${done} of ${total}`,
};

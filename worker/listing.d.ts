/** The files that the states of warm boots hold, put into the bundle by vite.config.ts. */
declare module "virtual:listing" {
  const listing: import("./delta.ts").Listing;
  export default listing;
}

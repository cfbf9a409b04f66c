/** What a warm boot hands over for a project that changes nothing, put into the bundle by vite.config.ts. */
declare module "virtual:default-delta" {
  /** In base64; null where there are no states, as in a development server. */
  const delta: string | null;
  export default delta;
}

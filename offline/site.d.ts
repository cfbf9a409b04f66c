/** The built site, put into the worker by tools/build.mjs. */
declare const SITE: {
  /** Differs whenever a file does. */
  version: string;
  /** Paths below the worker's folder; "" is the page. SHA-256 in lower-case hexadecimal. */
  files: readonly {
    path: string;
    sha256: string;
    /** Kept once it has been used: most users never need it. */
    rare?: boolean;
  }[];
};

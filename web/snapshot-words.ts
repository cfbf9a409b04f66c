/** What page and worker both have to know. */
export const DAMAGED = "Cannot use the snapshot: what is stored of it is damaged";

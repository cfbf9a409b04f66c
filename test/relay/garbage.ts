import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
/** Of this process, at once and all of it. */
export const collectGarbage = runInNewContext("gc") as () => void;

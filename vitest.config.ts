import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import site from "./vite.config.ts";

const EVERY = "test/**/*.test.ts";
/** What asks for the whole machine: a crowd of guests, rates and times that a relay keeps to. */
const ALONE = ["test/relay/crowd.test.ts", "test/relay/server.test.ts", "test/relay/server-fuzz.test.ts"];
/** The longest first, so that in the end no core waits for one of them. */
const LONGEST = ["kill", "warm", "disks", "disk-boot", "page", "network", "reproducible", "guest", "network-view"];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification): number => {
      const index = LONGEST.findIndex((name) => moduleId.endsWith(`/${name}.test.ts`));
      return index < 0 ? LONGEST.length : index;
    };
    return (await super.sort(files)).sort((one, other) => place(one) - place(other));
  }
}

export default defineConfig({
  plugins: site.plugins ?? [],
  test: {
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // A condition that is waited for fails by taking long; on a busy machine a second is nothing.
    expect: { poll: { timeout: 20_000 } },
    reporters: ["default", "./test/reporter.ts"],
    allowOnly: false,
    // Machines and browsers share two cores: two files at a time, so that none is starved.
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        extends: true,
        test: { name: "side by side", include: [EVERY], exclude: ALONE, sequence: { groupOrder: 0 } },
      },
      {
        extends: true,
        test: { name: "alone", include: ALONE, fileParallelism: false, sequence: { groupOrder: 1 } },
      },
    ],
  },
});

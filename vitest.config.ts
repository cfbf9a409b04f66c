import { defineConfig } from "vitest/config";
import site from "./vite.config.ts";

export default defineConfig({
  plugins: site.plugins ?? [],
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // A condition that is waited for fails by taking long; on a busy machine a second is nothing.
    expect: { poll: { timeout: 20_000 } },
    // Machines and browsers share two cores: files run one after the other, so that none is starved.
    fileParallelism: false,
    reporters: ["default", "./test/reporter.ts"],
    allowOnly: false,
  },
});

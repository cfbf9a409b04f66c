import type { Reporter, TestModule } from "vitest/node";

/** Closes the run with one plain line, and turns a run red in which a test was skipped or none ran. */
export default class CountReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const count = { passed: 0, failed: 0, skipped: 0, pending: 0 };
    for (const module of modules) for (const test of module.children.allTests()) count[test.result().state] += 1;
    const broken = modules.filter(
      (module) => !module.ok() && [...module.children.allTests("failed")].length === 0,
    ).length;
    const skipped = count.skipped + count.pending;
    if (skipped > 0 || count.passed === 0) process.exitCode = 1;
    if (skipped > 0) console.log(`\n${skipped} tests did not run: a test that cannot run counts as a failure.`);
    console.log(`\n${count.passed} passed, ${count.failed + broken} failed, ${skipped} skipped`);
  }
}

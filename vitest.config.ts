import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/support/peers.global.ts"],
    setupFiles: ["test/support/locks.setup.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Native modules keep process-wide state (one library path is one instance per process), so each file gets a process.
    pool: "forks",
    maxWorkers: 2,
  },
});

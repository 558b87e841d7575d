// How the tests run: TypeScript sources directly, on the pinned Node; the end-to-end tests share one private Tor network.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    maxWorkers: 2,
    projects: [
      {
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'test/*.test.ts', 'test/{account,cli,daemon,sim,attacks,fuzz}/**/*.test.ts'],
          testTimeout: 90_000,
        },
      },
      {
        test: {
          name: 'tor',
          include: ['test/e2e/**/*.test.ts', 'test/tor/**/*.test.ts'],
          globalSetup: ['test/tor/network.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});

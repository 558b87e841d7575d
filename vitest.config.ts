// How the tests run: TypeScript sources directly, on the pinned Node; the end-to-end tests share one private Tor network.
import { defineConfig } from 'vitest/config';
import { nameAwaits } from './test/awaits/name-awaits.ts';

// What receives, sends, delivers, accepts, resets and backs up.
const AWAITING = [
  'src/core/deliver.ts',
  'src/core/frames.ts',
  'src/core/links.ts',
  'src/core/messages.ts',
  'src/core/receive.ts',
  'src/core/requests.ts',
  'src/core/sessions.ts',
  'src/crypto/backup.ts',
  'src/crypto/session.ts',
  'src/daemon/backup.ts',
];

export default defineConfig({
  test: {
    maxWorkers: 2,
    projects: [
      {
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'test/*.test.ts', 'test/{account,cli,daemon,sim,attacks,fuzz}/**/*.test.ts'],
          testTimeout: 90_000,
          hookTimeout: 90_000,
        },
      },
      {
        plugins: [nameAwaits(AWAITING)],
        test: {
          name: 'awaits',
          include: ['test/awaits/**/*.test.ts'],
          testTimeout: 120_000,
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

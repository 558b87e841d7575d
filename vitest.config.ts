// How the tests run: TypeScript sources directly, on the pinned Node; the end-to-end tests share one private Tor network.
import { defineConfig } from 'vitest/config';
import { nameAwaits } from './test/awaits/name-awaits.ts';

// What receives, sends, delivers, accepts, resets, backs up and restores: whole files, or the functions of one.
const AWAITING = {
  'src/core/deliver.ts': 'all',
  'src/core/frames.ts': 'all',
  'src/core/link-frames.ts': 'all',
  'src/core/links.ts': 'all',
  'src/core/messages.ts': 'all',
  'src/core/contact-methods.ts': ['change', 'contact.add', 'contact.accept'],
  'src/core/message-methods.ts': ['message.send'],
  'src/core/receive.ts': 'all',
  'src/core/requests.ts': 'all',
  'src/core/sessions.ts': 'all',
  'src/crypto/backup.ts': 'all',
  'src/crypto/session.ts': 'all',
  'src/crypto/signal-stores.ts': 'all',
  'src/daemon/account-dir.ts': ['createAccountDir'],
  'src/daemon/backup.ts': 'all',
} as const;

// Only what hangs takes as long, on a slow machine too.
const PATIENT = { testTimeout: 300_000, hookTimeout: 300_000 };

export default defineConfig({
  test: {
    // They wait for Tor, disks and timers for some of their time; the simulations fill what they leave.
    maxWorkers: 6,
    projects: [
      {
        test: {
          name: 'unit',
          include: [
            'src/**/*.test.ts',
            'test/*.test.ts',
            'test/{account,cli,daemon,attacks,fuzz,server,rooms}/**/*.test.ts',
          ],
          // Modules are loaded once for each worker and not for each file: a third of the time.
          isolate: false,
          ...PATIENT,
        },
      },
      {
        test: {
          name: 'sim',
          include: ['test/sim/**/*.test.ts'],
          setupFiles: ['test/sim/behind.ts'],
          ...PATIENT,
        },
      },
      {
        plugins: [nameAwaits(AWAITING)],
        test: {
          name: 'awaits',
          include: ['test/awaits/**/*.test.ts'],
          ...PATIENT,
        },
      },
      {
        test: {
          name: 'tor',
          include: ['test/e2e/**/*.test.ts', 'test/tor/**/*.test.ts'],
          globalSetup: ['test/tor/network.ts'],
          ...PATIENT,
        },
      },
    ],
  },
});

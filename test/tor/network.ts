// Private Tor networks: one for a whole test run, started before the first test and ended after the last, and those of tests
// that break theirs, for a Tor whose relays died does without them for minutes.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { TestProject } from 'vitest/node';
import { startTorLab, type TorLab } from '../../src/lab/tor-lab.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    torNetworkFile: string;
  }
}

/** Starts a network whose relays, when they are killed, are back after half a second; `stop` leaves nothing of it. */
export const openNetwork = async (): Promise<TorLab> => {
  // What Tor must be told with care.
  const dir = mkdtempSync(join(tmpdir(), 'sotto Tor für "#1" '));
  const lab = await startTorLab({ dir, cacheDir: resolve('.cache'), reviveMs: 500 });
  return {
    networkFile: lab.networkFile,
    get nodes() {
      return lab.nodes;
    },
    stop: async () => {
      await lab.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
};

/** Starts the network of all; gives what ends it. */
const setup = async (project: TestProject): Promise<() => Promise<void>> => {
  const { networkFile, stop } = await openNetwork();
  project.provide('torNetworkFile', networkFile);
  return stop;
};

export default setup;

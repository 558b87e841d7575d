// One private Tor network for a whole test run: started once, before the first test, and ended after the last.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { TestProject } from 'vitest/node';
import { startTorLab } from '../../src/lab/tor-lab.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    torNetworkFile: string;
  }
}

/** Starts the network; gives what ends it. */
const setup = async (project: TestProject): Promise<() => Promise<void>> => {
  // What Tor must be told with care.
  const dir = mkdtempSync(join(tmpdir(), 'sotto Tor für "#1" '));
  const lab = await startTorLab({ dir, cacheDir: resolve('.cache'), reviveMs: 500 });
  project.provide('torNetworkFile', lab.networkFile);
  return async () => {
    await lab.stop();
    rmSync(dir, { recursive: true, force: true });
  };
};

export default setup;

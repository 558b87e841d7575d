// A real bridge into the shared private network.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inject } from 'vitest';
import { freePorts } from '../../src/lab/tor-lab.ts';
import { askTor } from './control.ts';

export type Bridge = AsyncDisposable & { readonly port: number; readonly fingerprint: string };

/** Starts a bridge that is in no consensus; gives it once it knows the network. */
export const startBridge = async (): Promise<Bridge> => {
  const dir = mkdtempSync(join(tmpdir(), 'sotto-bridge-'));
  const [port = 0] = await freePorts(1);
  const torrc = [
    readFileSync(inject('torNetworkFile'), 'utf8').trim(),
    'BridgeRelay 1',
    'PublishServerDescriptor 0',
    `DataDirectory ${dir}`,
    `ControlPort unix:${dir}/control`,
    'CookieAuthentication 1',
    'SocksPort 0',
    'Address 127.0.0.1',
    `ORPort 127.0.0.1:${port}`,
    'AssumeReachable 1',
    'ExitRelay 0',
    'NumCPUs 1',
    'ShutdownWaitLength 0',
    `__OwningControllerProcess ${process.pid}`,
  ];
  writeFileSync(join(dir, 'torrc'), `${torrc.join('\n')}\n`);
  const child = spawn('tor', ['--defaults-torrc', '/dev/null', '-f', join(dir, 'torrc'), '--hush'], {
    stdio: 'ignore',
  });
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    for (let tries = 0; !(await bootstrapped(dir)); tries++) {
      if (tries > 600) throw new Error('the bridge does not get to know the network');
      await new Promise((done) => setTimeout(done, 50));
    }
    return { port, fingerprint: await askTor(dir, 'fingerprint'), [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
};

const bootstrapped = async (dir: string): Promise<boolean> =>
  (await askTor(dir, 'status/bootstrap-phase').catch(() => '')).includes('PROGRESS=100');

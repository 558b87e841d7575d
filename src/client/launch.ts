// Starts a daemon on demand and waits until it answers; two starters at once end up with one daemon.
import { isErrorCode, SottoError } from '../protocol/errors.ts';
import { RPC_START_MS_MAX, UPGRADE_MS_MAX } from '../protocol/limits.ts';
import { UPGRADING } from '../protocol/version.ts';
import type { AccountPaths } from './paths.ts';
import { RpcClient } from './rpc-client.ts';

const WINNER_MS_MAX = 5_000;
const LOOK_MS = 15;

export type Launch = {
  readonly account: AccountPaths;
  /** Program and arguments that run the daemon in the foreground. */
  readonly command: readonly [string, ...string[]];
  /** Called before it is started; what it throws keeps it from that. */
  readonly starting?: () => void;
  /** Told what takes longer than a start. */
  readonly waiting?: (why: string) => void;
};

/**
 * A client of the account's daemon, which is started when none runs. Throws what the daemon says when it cannot start,
 * `wait.timeout` when one runs and does not answer, and `daemon.busy`.
 */
export const connectOrStart = async (launch: Launch): Promise<RpcClient> => {
  try {
    return await RpcClient.open(launch.account.socket);
  } catch (error) {
    // One that hangs or has its hands full is not helped by another one.
    if (error instanceof SottoError && (error.code === 'wait.timeout' || error.code === 'daemon.busy')) throw error;
    launch.starting?.();
    return start(launch);
  }
};

const start = async ({ account, command, waiting }: Launch): Promise<RpcClient> => {
  // Loaded here: most commands find a daemon that runs.
  const { spawn } = await import('node:child_process');
  const [program, ...args] = command;
  const child = spawn(program, [...args, '--json'], {
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
    cwd: '/',
  });
  let said = '';
  let exited = false;
  let exitedAt = 0;
  child.stderr?.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  child.on('error', (error) => {
    said += error.message;
    exited = true;
  });
  child.on('exit', () => {
    exited = true;
    exitedAt = Date.now();
  });
  let endAt = Date.now() + RPC_START_MS_MAX;
  for (let isUpgrading = false; ; ) {
    if (!isUpgrading && said.includes(UPGRADING)) {
      isUpgrading = true;
      endAt += UPGRADE_MS_MAX;
      waiting?.(UPGRADING);
    }
    try {
      const client = await RpcClient.open(account.socket);
      child.stderr?.destroy();
      child.unref();
      return client;
    } catch {
      if (exited) {
        // Who lost the race to another daemon waits for the winner to answer.
        const error = failure(account, said);
        if (error.code !== 'account.running' || Date.now() > exitedAt + WINNER_MS_MAX) throw error;
      }
      if (Date.now() > endAt)
        throw new SottoError('daemon.absent', { message: `The daemon does not answer: see ${account.log}` });
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }
};

const failure = (account: AccountPaths, said: string): SottoError => {
  const line = said.split('\n').find((one) => one.startsWith('{')) ?? '';
  try {
    const { code, message, details } = JSON.parse(line) as {
      code: string;
      message: string;
      details?: Record<string, unknown>;
    };
    if (isErrorCode(code)) return new SottoError(code, { message, details: details ?? {} });
  } catch {
    // not our error object: the text itself is told
  }
  return new SottoError('daemon.absent', {
    message: `The daemon did not start: ${said.trim().split('\n').at(-1) ?? ''} (see ${account.log})`,
  });
};

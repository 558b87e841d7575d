// The local wire between the daemon and its front ends: its methods together, and the daemon's first line.
import type { z } from 'zod';
import { ACCOUNT_METHODS } from './rpc-account.ts';
import { DAEMON_METHODS } from './rpc-daemon.ts';

/** Rises when a method or a field is removed or renamed. */
export const RPC_VERSION = 1;

export const METHODS = { ...DAEMON_METHODS, ...ACCOUNT_METHODS } as const;

export type DaemonMethod = keyof typeof DAEMON_METHODS;
export type AccountMethod = keyof typeof ACCOUNT_METHODS;
export type Method = keyof typeof METHODS;
/** What a caller gives: fields with a default may be absent. */
export type ParamsIn<M extends Method> = z.input<(typeof METHODS)[M]['params']>;
/** What a handler gets: validated, with defaults. */
export type Params<M extends Method> = z.output<(typeof METHODS)[M]['params']>;
export type Result<M extends Method> = z.infer<(typeof METHODS)[M]['result']>;

/** The daemon's first line on every connection. */
export type Greeting = {
  readonly sotto: string;
  readonly rpc: number;
  readonly account: string;
  readonly locked: boolean;
  /** False until `account.init` or `account.restore`. */
  readonly exists: boolean;
  /** Whether a passphrase opens it. */
  readonly passphrase: boolean;
  /** Process id of the daemon. */
  readonly pid: number;
};

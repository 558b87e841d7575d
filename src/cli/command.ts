// What a command is, and what it gets to work with.
import type { AccountPaths, Places } from '../client/paths.ts';
import type { RpcClient } from '../client/rpc-client.ts';
import type { Method } from '../protocol/rpc.ts';
import type { Output } from './output.ts';

/** What a running daemon has names of; `value` is of the setting in the word before. */
export type Names =
  | 'blocked'
  | 'channel'
  | 'contact'
  | 'conversation'
  | 'file'
  | 'member'
  | 'method'
  | 'request'
  | 'server'
  | 'setting'
  | 'value';

/** What completion offers: these words, kinds of events with commas between them, or names of this kind from a running daemon. */
type Offered = {
  readonly words?: readonly string[];
  readonly complete?: Names | 'kinds';
};

export type Flag = Offered & {
  readonly doc: string;
  /** Name of the value; a flag without one is a switch. */
  readonly value?: string;
  readonly short?: string;
};

export type Argument = Offered & {
  readonly name: string;
  readonly doc: string;
  readonly required?: boolean;
  readonly many?: boolean;
  /** True for that of a file. */
  readonly path?: true;
};

export type Command = {
  /** One to three words. */
  readonly path: string;
  readonly doc: string;
  readonly args: readonly Argument[];
  readonly flags?: Readonly<Record<string, Flag>>;
  /** RPC methods that this command is the way to. */
  readonly methods?: readonly Method[];
  /** The daemon ends its wait at `--timeout`, and tells how far it came; any other command ends then with `wait.timeout`, or a moment later. */
  readonly waits?: true;
  /** Its `--passphrase-fd` is of a channel: the account's passphrase comes another way. */
  readonly ownSecret?: true;
  readonly run: (context: CommandContext) => Promise<void>;
};

export type CommandContext = {
  readonly args: readonly string[];
  readonly flags: Flags;
  readonly out: Output;
  readonly places: Places;
  readonly account: AccountPaths;
  readonly pathsOf: (account: string) => AccountPaths;
  readonly version: string;
  /** A connection to the account's daemon, started and unlocked as needed. */
  readonly connect: (options?: ConnectOptions) => Promise<RpcClient>;
  /** Calls one method of that daemon over a connection of its own. */
  readonly call: RpcClient['call'];
  /** A passphrase from `--passphrase-fd`, SOTTO_PASSPHRASE_FILE or the terminal. */
  readonly passphrase: (options: PassphraseOptions) => Promise<string | undefined>;
  /** Everything on stdin as text. Throws `text.notUtf8`. */
  readonly stdinText: () => Promise<string>;
  /** Asks on the terminal; undefined when there is none. */
  readonly ask: (prompt: string) => Promise<string | undefined>;
  /** Program and arguments that run this account's daemon. */
  readonly daemonCommand: readonly [string, ...string[]];
  /** Ends the wait of a command that streams: the user interrupts, its time is over, or nobody reads on. */
  readonly interrupted: Promise<void>;
  /** What comes now is a wait, and ends at `--timeout`. What came before was asked of this machine, and had a moment at least. */
  readonly waitFromHere: () => void;
};

export type PassphraseOptions = {
  readonly prompt: string;
  /** True for one that is being chosen: typed twice, and not empty. Throws `passphrase.empty` and `passphrase.mismatch`. */
  readonly twice?: boolean;
  /** True where none typed is an answer, too. */
  readonly mayBeEmpty?: boolean;
  /** True where `--passphrase-fd` gives another one. */
  readonly notFd?: boolean;
  /** True where it is asked on the terminal also when stdin is something else: a text comes through it. */
  readonly piped?: boolean;
  /** The only flag that gives it, in place of `--passphrase-fd` and SOTTO_PASSPHRASE_FILE. */
  readonly flag?: string;
};

export type ConnectOptions = {
  /** False: only a running daemon. */
  readonly start?: boolean;
  /** False: a locked account is fine. */
  readonly unlock?: boolean;
  /** True: a daemon is started although there is no account yet. */
  readonly create?: boolean;
};

/** Typed access to flag values. */
export type Flags = {
  readonly has: (name: string) => boolean;
  readonly text: (name: string) => string | undefined;
  /** A whole number in [min, max]. Throws `usage.invalid`. */
  readonly number: (name: string, range: { readonly min: number; readonly max: number }) => number | undefined;
  /** Milliseconds of a duration. Throws `time.invalid`. */
  readonly duration: (name: string) => number | undefined;
  /** Milliseconds since the epoch of a time. Throws `time.invalid`. */
  readonly time: (name: string) => number | undefined;
  /** A message id as it is, or a time in milliseconds as text. */
  readonly bound: (name: string) => string | undefined;
  /** One of the given words. Throws `usage.invalid`. */
  readonly choice: <Word extends string>(name: string, words: readonly Word[]) => Word | undefined;
};

// Small steps that many commands share: the first argument, a text, how long a message lives, an absent parameter, a list.
import type { RpcClient } from '../client/rpc-client.ts';
import { SottoError } from '../protocol/errors.ts';
import { EXPIRY_MS_MAX, EXPIRY_MS_MIN } from '../protocol/limits.ts';
import { safeLine } from '../protocol/safe-text.ts';
import { parseDuration } from '../protocol/time-words.ts';
import type { CommandContext, Flags } from './command.ts';
import type { Hint } from './output.ts';
import { aligned } from './wrap.ts';

/** How long a message lives: `never` or a bare `0`, which give 0, a duration from its delivery, or `read+` a duration. Throws `params.invalid`. */
export const lifeOf = (asked: string): { readonly expiresMs: number; readonly expiresFrom: 'delivery' | 'read' } => {
  if (asked === 'never' || asked === '0') return { expiresMs: 0, expiresFrom: 'delivery' };
  const fromRead = asked.startsWith('read+');
  const expiresMs = parseDuration(fromRead ? asked.slice('read+'.length) : asked);
  if (expiresMs < EXPIRY_MS_MIN || expiresMs > EXPIRY_MS_MAX)
    throw new SottoError('params.invalid', { message: 'A message lives 1 s to 365 days' });
  return { expiresMs, expiresFrom: fromRead ? 'read' : 'delivery' };
};

/** What stdin gives is a secret where a flag says so, and goes nowhere else. Throws `usage.invalid`. */
export const mustBeFree = (flags: Flags): void => {
  const taken = ['passphrase-fd', 'new-passphrase-fd'].find((flag) => flags.text(flag) === '0');
  if (taken !== undefined)
    throw new SottoError('usage.invalid', { message: `--${taken} 0 reads stdin already: give one of them elsewhere` });
};

/** Who gives a new passphrase and says that there shall be none would get an account without one. Throws `usage.invalid`. */
export const checkOne = ({ flags }: CommandContext, flag: string): void => {
  if (flags.has('no-passphrase') && flags.text(flag) !== undefined)
    throw new SottoError('usage.invalid', { message: `Give a new passphrase with --${flag}, or say --no-passphrase` });
};

/** The flag of what asks first. */
export const YES_FLAG = {
  yes: { doc: 'do not ask whether that is meant; without a terminal nothing is asked, and it is done' },
} as const;

/** Asks a person at a terminal whether they mean what cannot be taken back. Throws `usage.invalid` when they do not say so. */
export const askIfMeant = async ({ ask, flags, out }: CommandContext, question: string): Promise<void> => {
  if (!out.isForPerson || flags.has('yes')) return;
  const said = (await ask(`${safeLine(question)} [y/N] `)) ?? '';
  if (!/^\s*y(es)?\s*$/i.test(said))
    throw new SottoError('usage.invalid', { message: 'Nothing was changed: y, or --yes, says that it is meant' });
};

/** How long the server is waited for, where that was said. */
export const waitGiven = ({ flags }: Pick<CommandContext, 'flags'>): { readonly timeoutMs?: number } =>
  optional('timeoutMs', flags.duration('timeout'));

/** The server of the first argument, where one was named, and how long it is waited for. */
export const serverGiven = (context: CommandContext): { readonly server?: string; readonly timeoutMs?: number } => ({
  ...optional('server', context.args[0]),
  ...waitGiven(context),
});

/** The first argument. */
export const first = (context: CommandContext): string => context.args[0] ?? '';

/** The text in the words after the first; `-`, or nothing, reads it from stdin. */
export const bodyGiven = async (context: CommandContext): Promise<string> => {
  const words = context.args.slice(1);
  if (words.length === 0 || (words.length === 1 && words[0] === '-')) return context.stdinText();
  return words.join(' ');
};

/** An object with the key, or without it when there is no value. */
export const optional = <Key extends string, Value>(key: Key, value: Value | undefined) =>
  value === undefined ? {} : ({ [key]: value } as Record<Key, Value>);

/** Runs what waits; when the user ends it before, that what was begun goes on is said. `tell` gives nothing when nothing was. */
export const orGoesOn = async <T>(
  { interrupted, out }: CommandContext,
  waiting: Promise<T>,
  tell: () => string | undefined,
): Promise<T> => {
  let isOver = false;
  void interrupted.then(() => {
    const text = isOver ? undefined : tell();
    if (text !== undefined) out.say(text);
  });
  try {
    return await waiting;
  } finally {
    isOver = true;
  }
};

/** Calls what ends the daemon; resolves with its answer when the daemon is gone. */
export const andEnd = async <T>(client: RpcClient, call: () => Promise<T>): Promise<T> => {
  const gone = new Promise<void>((resolve) => {
    client.onClose = resolve;
  });
  const answer = await call();
  await gone;
  return answer;
};

/** Ends the daemon; resolves when it is gone. */
export const endDaemon = async (client: RpcClient): Promise<void> => {
  try {
    await andEnd(client, () => client.call('daemon.stop', {}));
  } catch (error) {
    // Another command has told it before.
    if (!(error instanceof SottoError && error.code === 'daemon.gone')) throw error;
  }
};

/** A QR code of half blocks, two rows of it a line. */
export const drawn = async (text: string): Promise<string> => {
  const { encodeQR: encodeQr } = await import('qr');
  return `${encodeQr(text, 'ascii')}\n`;
};

/** Prints every item, or says that there is none. */
export const each = <T extends object>(
  { out }: CommandContext,
  items: readonly T[],
  text: (item: T, hint: Hint) => string,
  nothing: string,
): void => {
  const texts = out.isForPerson ? aligned(items.map((item) => text(item, out.hint))) : undefined;
  for (const [i, item] of items.entries()) out.item(item, (one, hint) => texts?.[i] ?? text(one, hint));
  if (items.length === 0) out.say(nothing);
};

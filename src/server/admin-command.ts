// `sotto serve admin …`: asks the running server over its socket, and shows the answer to people or programs.

import { resolve } from 'node:path';
import { SottoError } from '../protocol/errors.ts';
import { jsonLine } from '../protocol/json-line.ts';
import { AUDIT_LINES_MAX, INVITE_MS_MAX, INVITE_USES_MAX } from '../protocol/limits.ts';
import { safeText } from '../protocol/safe-text.ts';
import { parseDuration, parseTime } from '../protocol/time-words.ts';
import type { AdminRequest } from './admin.ts';
import { askAdmin } from './admin-client.ts';
import { restoreServer } from './backup.ts';
import { type ServerPorts, serverPaths } from './server-dir.ts';

/** The flags that count here. */
export type AdminValues = {
  readonly [Flag in 'role' | 'uses' | 'expires' | 'actor' | 'target' | 'kind' | 'since' | 'limit' | 'timeout']?:
    | string
    | undefined;
} & { readonly owner?: boolean | undefined; readonly deep?: boolean | undefined; readonly json?: boolean | undefined };

/** Runs one command; gives what is to be written to stdout. Throws `usage.invalid`, `server.unreachable`, `wait.timeout`, and what the server says. */
export const administer = async (
  words: readonly string[],
  values: AdminValues,
  { dir, socket, ports }: { readonly dir: string; readonly socket: string; readonly ports: ServerPorts },
): Promise<string> => {
  const [what = '', name = ''] = words;
  refuseMore(what, words);
  if (what === 'restore') {
    if (name === '') throw new SottoError('usage.invalid', { message: 'sotto serve admin restore FOLDER' });
    const { missingFiles } = await restoreServer(resolve(name), serverPaths(dir), ports);
    return shown(what, [{ restored: resolve(name), missingFiles }], values);
  }
  const request = requestOf(what, words, values, ports.clock.now());
  return shown(
    what,
    await askAdmin(socket, request, { clock: ports.clock, timeoutMs: waitOf(what, values.timeout) }),
    values,
  );
};

// A backup or a check takes as long as the server is large.
const waitOf = (what: string, timeout: string | undefined): number | undefined =>
  timeout !== undefined ? parseDuration(timeout) : what === 'backup' || what === 'check' ? undefined : ANSWER_MS;
const ANSWER_MS = 60_000;

const NAMED = new Set(['member', 'ban', 'unban', 'role', 'revoke', 'backup', 'restore']);

const refuseMore = (what: string, words: readonly string[]): void => {
  const more = words[what === 'role' ? 3 : NAMED.has(what) ? 2 : 1];
  if (more !== undefined)
    throw new SottoError('usage.invalid', { message: `sotto serve admin ${what} does not take ${more}: see --help` });
};

const requestOf = (what: string, words: readonly string[], values: AdminValues, now: number): AdminRequest => {
  const [, name = '', third = ''] = words;
  if (NAMED.has(what) && name === '')
    throw new SottoError('usage.invalid', { message: `sotto serve admin ${what} needs a word more: see --help` });
  switch (what) {
    case 'status':
    case 'members':
    case 'invites':
    case 'channels':
      return { do: what };
    case 'member':
    case 'ban':
    case 'unban':
      return { do: what, name };
    case 'role':
      return { do: 'role', name, role: oneOf('the role', third, ['owner', 'admin', 'member']) };
    case 'revoke':
      return { do: 'revoke', id: name };
    case 'invite':
      return {
        do: 'invite',
        owner: values.owner === true,
        ...optional('role', values.role, (role) => oneOf('--role', role, ['admin', 'member'])),
        ...optional('uses', values.uses, (uses) => numberOf('--uses', uses, INVITE_USES_MAX)),
        ...optional('expiresMs', values.expires, someTime),
      };
    case 'audit':
      return {
        do: 'audit',
        ...optional('actor', values.actor),
        ...optional('target', values.target),
        ...optional('kind', values.kind),
        ...optional('since', values.since, (since) => parseTime(since, now)),
        ...optional('limit', values.limit, (limit) => numberOf('--limit', limit, AUDIT_LINES_MAX)),
      };
    case 'backup':
      return { do: 'backup', to: resolve(name) };
    case 'check':
      return { do: 'check', deep: values.deep === true };
    default:
      throw new SottoError('usage.invalid', {
        message:
          what === ''
            ? 'sotto serve admin needs a word: see --help'
            : `sotto serve admin does not know ${what}: see --help`,
      });
  }
};

const optional = <Key extends string, Value = string>(
  key: Key,
  text: string | undefined,
  read: (text: string) => Value = (same) => same as Value,
) => (text === undefined ? {} : ({ [key]: read(text) } as Record<Key, Value>));

const oneOf = <Word extends string>(what: string, text: string, words: readonly Word[]): Word => {
  const word = words.find((one) => one === text);
  if (word === undefined) throw new SottoError('usage.invalid', { message: `${what} is ${words.join(', ')}` });
  return word;
};

const someTime = (text: string): number => {
  const ms = parseDuration(text);
  if (ms === 0 || ms > INVITE_MS_MAX)
    throw new SottoError('usage.invalid', {
      message: '--expires takes a duration of more than 0 and at most ten years',
    });
  return ms;
};

const numberOf = (flag: string, text: string, most: number): number => {
  if (!/^[1-9]\d{0,6}$/.test(text) || Number(text) > most)
    throw new SottoError('usage.invalid', { message: `${flag} takes a whole number from 1 to ${most}` });
  return Number(text);
};

// The columns of a list, in order; what is not named is for programs.
const COLUMNS: Readonly<Record<string, readonly string[]>> = {
  members: ['name', 'role', 'banned', 'joinedAt', 'id'],
  invites: ['id', 'role', 'usesLeft', 'expiresAt', 'createdAt'],
  channels: ['name', 'encryption', 'private', 'members', 'events', 'archived', 'createdAt'],
  audit: ['at', 'actor', 'kind', 'target', 'detail'],
};

const shown = (what: string, items: readonly object[], { json }: AdminValues): string => {
  if (json === true) return items.map(jsonLine).join('');
  const columns = COLUMNS[what];
  if (columns === undefined) return items.map(block).join('\n');
  return items.length === 0 ? `No ${what === 'audit' ? 'lines' : what}.\n` : tableOf(columns, items);
};

const tableOf = (columns: readonly string[], items: readonly object[]): string => {
  const rows = [columns.map(title), ...items.map((item) => columns.map((key) => cell(key, fieldOf(item, key))))];
  const widths = columns.map((_, i) => Math.max(...rows.map((row) => (row[i] ?? '').length)));
  return rows
    .map(
      (row) =>
        `${row
          .map((text, i) => text.padEnd(widths[i] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
};

const block = (item: object): string => {
  const entries = Object.entries(item).filter(([, value]) => value !== undefined);
  const width = Math.max(...entries.map(([key]) => title(key).length));
  return entries.map(([key, value]) => `${title(key).padEnd(width)}  ${cell(key, value)}\n`).join('');
};

const fieldOf = (item: object, key: string): unknown => (item as Readonly<Record<string, unknown>>)[key];

/** `joinedAt` → `joined`, `rssBytes` → `rss`. */
const title = (key: string): string =>
  key.replace(/(At|Bytes|Ms)$/, '').replace(/[A-Z]/g, (one) => ` ${one.toLowerCase()}`);

const cell = (key: string, value: unknown): string => {
  if (value === undefined || value === '') return '-';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (typeof value === 'number') return numberText(key, value);
  if (Array.isArray(value)) return value.length === 0 ? '-' : safeText(value.map(String).join(', '));
  if (typeof value === 'object' && value !== null)
    return Object.keys(value).length === 0
      ? '-'
      : Object.entries(value)
          .map(([name, one]) => `${name} ${cell(key === 'jobs' ? 'doneAt' : name, one)}`)
          .join(', ');
  return safeText(String(value)).replaceAll('\n', ' ');
};

const numberText = (key: string, value: number): string => {
  if (/(At|^at)$/.test(key)) return value === 0 ? 'never' : new Date(value).toISOString().replace(/\.\d+Z$/, 'Z');
  if (key.endsWith('Bytes')) return `${(value / 1024 / 1024).toFixed(1)} MiB`;
  return key.endsWith('Ms') ? `${Math.round(value / 1000)} s` : String(value);
};

// Desktop notifications of messages and of invitations to channels: off until set, never a text, at most one in ten seconds, none while somebody looks.
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { Account } from '../core/account.ts';
import type { Cancel, Clock, Log } from '../ports.ts';
import { NOTIFY_INTERVAL_MS } from '../protocol/limits.ts';
import type { Event } from '../protocol/rpc-events.ts';
import { safeName } from '../protocol/safe-text.ts';
import { runChild } from './child.ts';

const SHOW_MS_MAX = 5_000;

/** Whether this names a file, or a program that is found by its name. */
const isProgram = (name: string): boolean =>
  (name.includes('/') ? [name] : (process.env.PATH ?? '').split(delimiter).map((dir) => join(dir, name))).some((path) =>
    existsSync(path),
  );

export type NotifyOptions = {
  readonly account: Account;
  readonly clock: Clock;
  readonly log: Log;
  /** Whether a front end has the user's eyes. */
  readonly focused: () => boolean;
  readonly platform: string;
  readonly cwd: string;
};

/** Whether `now` lies in hours such as 22:00-07:00, local time. */
export const inQuietHours = (hours: string, now: number): boolean => {
  const match = /^(\d\d):(\d\d)-(\d\d):(\d\d)$/.exec(hours);
  if (match === null) return false;
  const [from = 0, to = 0] = [Number(match[1]) * 60 + Number(match[2]), Number(match[3]) * 60 + Number(match[4])];
  const date = new Date(now);
  const minute = date.getHours() * 60 + date.getMinutes();
  return from <= to ? minute >= from && minute < to : minute >= from || minute < to;
};

/** By name; `scope` is the id of a conversation. */
type Waiting = Map<string, { readonly count: number; readonly scope: string | undefined }>;
type Told = { readonly name: string; readonly count: number; readonly level: 'count' | 'name' };

/** Tells of new messages and invitations outside the program. */
export class Notifier implements Disposable {
  readonly #options: NotifyOptions;
  readonly #stop: Cancel;
  readonly #messages: Waiting = new Map();
  readonly #invitations: Waiting = new Map();
  #shownAt = Number.NEGATIVE_INFINITY;
  #cancel: Cancel | undefined;
  /** What the command of the last notification said when it failed. */
  #failed: string | undefined;

  constructor(options: NotifyOptions) {
    this.#options = options;
    this.#stop = options.account.events.subscribe(
      (event) => this.#event(event),
      ['message.received', 'channel.invited'],
    );
  }

  /** Why the next notification cannot be shown, or the last one could not; undefined when nothing is known to stand in the way. */
  trouble(): string | undefined {
    const { account, platform } = this.#options;
    const { command } = shower(account.setting('notify.command'), platform, '');
    if (account.setting('notify.level') === 'none') return undefined;
    return isProgram(command[0]) ? this.#failed : `there is no ${command[0]} here`;
  }

  [Symbol.dispose](): void {
    this.#stop();
    this.#cancel?.();
  }

  #event({ message, channel }: Event): void {
    const { account } = this.#options;
    // Into a channel that I am in others are invited, too: that is nothing for me.
    if (channel?.state === 'invited') return this.#wait(this.#invitations, `${channel.name}@${channel.server}`);
    // What was said before I came, or was read on another device, is no news.
    if (message === undefined || !('conversationId' in message) || message.unread !== true) return;
    const scope = message.conversationId;
    const which = account.notifies(scope);
    if (which === 'none' || (which === 'mentions' && message.mention !== true)) return;
    this.#wait(this.#messages, message.conversation, scope);
  }

  #wait(waiting: Waiting, name: string, scope?: string): void {
    const { clock, focused } = this.#options;
    if (focused() || this.#level(scope) === 'none') return;
    waiting.set(name, { count: (waiting.get(name)?.count ?? 0) + 1, scope });
    if (this.#cancel !== undefined) return;
    this.#cancel = clock.after(Math.max(0, this.#shownAt + NOTIFY_INTERVAL_MS - clock.monotonic()), () => this.#show());
  }

  // What may be told now, with mute and quiet hours.
  #level(scope?: string): 'none' | 'count' | 'name' {
    const { account, clock } = this.#options;
    if (inQuietHours(account.setting('notify.quietHours'), clock.now())) return 'none';
    if (scope !== undefined && account.setting('conversation.mutedUntil', scope) > clock.now()) return 'none';
    return account.setting('notify.level', scope);
  }

  // What was read, muted or switched off while it waited for its turn is told no more.
  #taken(waiting: Waiting): Told[] {
    const { account } = this.#options;
    const all = [...waiting].flatMap(([name, { count, scope }]) => {
      const level = this.#level(scope);
      const left = scope === undefined ? count : Math.min(count, account.unreadIn(scope));
      return level === 'none' || left === 0 ? [] : [{ name, count: left, level }];
    });
    waiting.clear();
    return all;
  }

  #show(): void {
    const { clock, log, account, cwd, platform } = this.#options;
    this.#cancel = undefined;
    const body = [
      told(this.#taken(this.#messages), ['new message', 'new messages', 'from']),
      told(this.#taken(this.#invitations), ['invitation', 'invitations', 'to']),
    ]
      .filter((one) => one !== '')
      .join(', ');
    if (body === '' || this.#options.focused()) return;
    this.#shownAt = clock.monotonic();
    const { command, input } = shower(account.setting('notify.command'), platform, body);
    const [program, ...args] = command;
    runChild(program, args, {
      input,
      ms: SHOW_MS_MAX,
      outputBytes: 1024,
      clock,
      cwd,
    }).then(
      ({ ok, detail }) => {
        this.#failed = ok ? undefined : detail;
        if (!ok) log.warn('notify.failed', { detail });
      },
      (error: unknown) => log.error('notify.failed', { message: String(error) }),
    );
  }
}

const told = (all: readonly Told[], [one, many, of]: readonly [string, string, string]): string => {
  if (all.length === 0) return '';
  const total = all.reduce((sum, { count }) => sum + count, 0);
  const names = all.filter(({ level }) => level === 'name').map(({ name }) => safeName(name));
  return `${total} ${total === 1 ? one : many}${names.length > 0 ? ` ${of} ${names.join(', ')}` : ''}`;
};

type Shower = { readonly command: readonly [string, ...string[]]; readonly input: string };

// What stands in arguments can be read by every user of the machine: only notify-send takes the words in no other way.
const shower = (own: string, platform: string, body: string): Shower => {
  if (own !== '') return { command: ['/bin/sh', '-c', own], input: `${JSON.stringify({ title: 'sotto', body })}\n` };
  if (platform === 'darwin')
    return { command: ['osascript'], input: `display notification ${JSON.stringify(body)} with title "sotto"\n` };
  return { command: ['notify-send', '--app-name=sotto', 'sotto', body], input: '' };
};

// Desktop notifications: off until set, never a text, at most one in ten seconds, none while somebody looks.
import type { Account } from '../core/account.ts';
import type { Cancel, Clock, Log } from '../ports.ts';
import { NOTIFY_INTERVAL_MS } from '../protocol/limits.ts';
import type { Event } from '../protocol/rpc-events.ts';
import { safeName } from '../protocol/safe-text.ts';
import { runChild } from './child.ts';

const SHOW_MS_MAX = 5_000;

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

/** Tells of new messages outside the program. */
export class Notifier implements Disposable {
  readonly #options: NotifyOptions;
  readonly #stop: Cancel;
  readonly #waiting = new Map<string, { count: number; named: boolean }>();
  #shownAt = Number.NEGATIVE_INFINITY;
  #cancel: Cancel | undefined;

  constructor(options: NotifyOptions) {
    this.#options = options;
    this.#stop = options.account.events.subscribe((event) => this.#event(event), ['message.received']);
  }

  [Symbol.dispose](): void {
    this.#stop();
    this.#cancel?.();
  }

  #event(event: Event): void {
    const { account, clock, focused } = this.#options;
    if (event.message === undefined || !('conversationId' in event.message)) return;
    const scope = event.message.conversationId;
    const level = account.setting('notify.level', scope);
    if (level === 'none' || focused()) return;
    const which = account.notifies(scope);
    if (which === 'none' || (which === 'mentions' && event.message.mention !== true)) return;
    if (
      account.setting('conversation.mutedUntil', scope) > clock.now() ||
      inQuietHours(account.setting('notify.quietHours'), clock.now())
    )
      return;
    const known = this.#waiting.get(event.message.conversation) ?? { count: 0, named: level === 'name' };
    this.#waiting.set(event.message.conversation, { count: known.count + 1, named: known.named });
    if (this.#cancel !== undefined) return;
    this.#cancel = clock.after(Math.max(0, this.#shownAt + NOTIFY_INTERVAL_MS - clock.monotonic()), () => this.#show());
  }

  #show(): void {
    const { clock, log, account, cwd, platform } = this.#options;
    this.#cancel = undefined;
    if (this.#options.focused()) return this.#waiting.clear();
    this.#shownAt = clock.monotonic();
    const entries = [...this.#waiting.entries()];
    this.#waiting.clear();
    const total = entries.reduce((sum, [, { count }]) => sum + count, 0);
    const names = entries.filter(([, { named }]) => named).map(([name]) => safeName(name));
    const body = `${total} new ${total === 1 ? 'message' : 'messages'}${names.length > 0 ? ` from ${names.join(', ')}` : ''}`;
    const { command, input } = shower(account.setting('notify.command'), platform, body);
    const [program, ...args] = command;
    runChild(program, args, {
      input,
      ms: SHOW_MS_MAX,
      outputBytes: 1024,
      clock,
      cwd,
    }).then(
      ({ ok, detail }) => (ok ? undefined : log.warn('notify.failed', { detail })),
      (error: unknown) => log.error('notify.failed', { message: String(error) }),
    );
  }
}

type Shower = { readonly command: readonly [string, ...string[]]; readonly input: string };

// What stands in arguments can be read by every user of the machine: only notify-send takes the words in no other way.
const shower = (own: string, platform: string, body: string): Shower => {
  if (own !== '') return { command: ['/bin/sh', '-c', own], input: `${JSON.stringify({ title: 'sotto', body })}\n` };
  if (platform === 'darwin')
    return { command: ['osascript'], input: `display notification ${JSON.stringify(body)} with title "sotto"\n` };
  return { command: ['notify-send', '--app-name=sotto', 'sotto', body], input: '' };
};

// Every setting: its schema, default, widest scope and narrowest scope. The values live in the encrypted store.
import * as z from 'zod';
import { EXPIRY_MS_MAX, EXPIRY_MS_MIN, OUTBOX_EXPIRY_MS, OUTBOX_EXPIRY_MS_MAX } from './limits.ts';

/** Where a setting may be set: for the whole account, or for one conversation as well. */
export type SettingScope = 'account' | 'conversation';

type Setting<Schema extends z.ZodType> = {
  readonly schema: Schema;
  readonly default: z.infer<Schema>;
  readonly scopes: readonly SettingScope[];
  /** True when it counts from the daemon's next start, or `daemon reload`. */
  readonly restart: boolean;
  readonly doc: string;
};

const setting = <Schema extends z.ZodType>(
  schema: Schema,
  rest: Omit<Setting<Schema>, 'schema' | 'restart'> & { readonly restart?: boolean },
) => ({ schema, restart: false, ...rest });

const both = ['account', 'conversation'] as const;
const account = ['account'] as const;
const HOURS = 'empty, or as 22:00-07:00, from one time to another';
// The same time twice would be no hours, and who writes it may mean all of them.
const hours = z.string().regex(/^(?!(.{5})-\1$)([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$/, HOURS);
const LIFE = '0, or a second to a year';
const expiry = z.number(LIFE).int(LIFE).min(EXPIRY_MS_MIN, LIFE).max(EXPIRY_MS_MAX, LIFE);
const WAITING = 'a minute to 90 days';
const waiting = z.number(WAITING).int(WAITING).min(60_000, WAITING).max(OUTBOX_EXPIRY_MS_MAX, WAITING);
const TIME = 'milliseconds since 1970';
const PROGRAM = 'empty, or up to 4,096 characters';
const switched = z.boolean('on or off');

export const SETTINGS = {
  'privacy.readReceipts': setting(switched, {
    default: false,
    scopes: both,
    doc: 'tell the sender that a message was read',
  }),
  'privacy.typing': setting(switched, { default: false, scopes: both, doc: 'tell the other side while you write' }),
  'privacy.presence': setting(switched, {
    default: false,
    scopes: both,
    doc: 'tell contacts when you are online or away; members of a server see it whatever this says',
  }),
  'messages.expiresMs': setting(z.union([z.literal(0), expiry], LIFE), {
    default: 0,
    scopes: both,
    doc: 'milliseconds after which new messages end on both sides; 0 = never',
  }),
  'messages.expiresFrom': setting(z.enum(['delivery', 'read'], 'delivery or read'), {
    default: 'delivery',
    scopes: both,
    doc: 'what starts the expiry clock at the receiver',
  }),
  'outbox.expiresMs': setting(waiting, {
    default: OUTBOX_EXPIRY_MS,
    scopes: account,
    doc: 'milliseconds an undelivered message waits before it fails',
  }),
  'notify.level': setting(z.enum(['none', 'count', 'name'], 'none, count or name'), {
    default: 'none',
    scopes: both,
    doc: 'what a desktop notification tells; never the text',
  }),
  'notify.command': setting(z.string(PROGRAM).max(4096, PROGRAM), {
    default: '',
    scopes: account,
    doc: 'command line for /bin/sh that shows a notification, given as JSON on stdin: {"title", "body"}; empty = notify-send or osascript',
  }),
  'notify.quietHours': setting(z.union([z.literal(''), hours], HOURS), {
    default: '',
    scopes: account,
    doc: 'local hours without notifications, as 22:00-07:00',
  }),
  'conversation.mutedUntil': setting(z.number(TIME).int(TIME).min(0, TIME), {
    default: 0,
    scopes: ['conversation'],
    doc: 'no notifications until this time (ms since the epoch); 0 = not muted',
  }),
  'network.tor': setting(switched, {
    default: true,
    scopes: account,
    restart: true,
    doc: 'run Tor; off: an account for rooms only, whose servers are reached straight. Counts after `sotto daemon reload`',
  }),
  'requests.hooks': setting(switched, { default: false, scopes: account, doc: 'run hooks for contact requests too' }),
} as const;

export type SettingKey = keyof typeof SETTINGS;
export type SettingValue<Key extends SettingKey> = z.infer<(typeof SETTINGS)[Key]['schema']>;

/** Whether a text names a setting. */
export const isSettingKey = (key: string): key is SettingKey => Object.hasOwn(SETTINGS, key);

// Objects as lines for people. Everything passes the sanitiser again in output.ts; what others wrote passes it here too, so
// that it cannot look like a line of its own.

import { pausedText } from '../protocol/paused.ts';
import type {
  AccountObject,
  Check,
  Contact,
  Conversation,
  FileObject,
  Message,
  SettingRow,
  Why,
} from '../protocol/rpc-objects.ts';
import { safeFileName, safeLine, safeName, safeText } from '../protocol/safe-text.ts';
import { durationText } from '../protocol/time-words.ts';
import { requestText, stillReadTexts } from './cautions.ts';
import type { Hint, Output } from './output.ts';
import { alert, bad, bold, dim, good, own } from './style.ts';

const pad = (value: number): string => String(value).padStart(2, '0');

/** `2026-01-31 14:05`, local time. */
export const timeText = (at: number): string => {
  const date = new Date(at);
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ${pad(date.getHours())}:${pad(date.getMinutes())}`;
};

/** `2026-01-31 14:05:09`, local time. */
export const clockText = (at: number): string => `${timeText(at)}:${pad(new Date(at).getSeconds())}`;

/** An account, with its address in every form; long lines as `out` fills them. */
export const selfText = (self: AccountObject, out: Pick<Output, 'filled'>): string =>
  [
    `${self.nickname} (account ${self.account})`,
    '',
    `address  ${self.address}`,
    out.filled(`words    ${self.words}`, '         '),
    `link     ${self.link}`,
  ].join('\n');

/** `1.5 MiB` */
export const sizeText = (bytes: number): string => {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
};

/** The beginning of an id by which a person names it. Ids of rooms begin with the time: of them a little more. */
export const shortId = (id: string): string => {
  const madeAt = Number.parseInt(id.slice(0, 12), 16);
  const isTimed = id[12] === '7' && madeAt > Date.UTC(2020) && madeAt < Date.UTC(2100);
  return id.slice(0, isTimed ? 14 : 8);
};

/** Text of several lines, without the empty ones at its end, the later ones indented: none looks like another entry. */
export const block = (text: string): string => safeText(text).trimEnd().replaceAll('\n', '\n    ');

/** What has become of a message, in words. */
export const messageFlags = (message: Message): string[] => [
  ...(message.mine ? [message.state] : []),
  ...(message.reason === undefined ? [] : [message.reason]),
  ...(message.editedAt === undefined ? [] : ['edited']),
  ...(message.pinnedAt === undefined ? [] : ['pinned']),
  ...(message.mention === true ? ['names you'] : []),
  ...(message.answers === undefined ? [] : [`${message.answers} in its thread`]),
  ...(message.thread === undefined ? [] : [`thread ${shortId(message.thread)}`]),
  ...(message.sharedBy === undefined ? [] : [`shown by ${safeName(message.sharedBy)}`]),
  ...(message.expiresAt === undefined ? [] : [`ends ${timeText(message.expiresAt)}`]),
];

/** Where a command is named as it is. */
export const AS_IT_IS: Hint = (sentence) => sentence;

/** A message with the channel it is in, when that is not all that is shown; its command as `hint` has it. */
export const messageText = (message: Message, hint = AS_IT_IS): string =>
  bareMessageText(
    message,
    hint,
    message.mine || !message.conversation.startsWith('#') ? '' : ` in ${safeName(message.conversation)}`,
  );

/** A message among those of many conversations, with the one it is in, mine too. */
export const foundText = (message: Message, hint = AS_IT_IS): string =>
  message.mine
    ? bareMessageText(
        message,
        hint,
        `${message.conversation.startsWith('#') ? ' in ' : ' to '}${safeName(message.conversation)}`,
      )
    : messageText(message, hint);

/** What a message says, or that this version cannot show it. */
export const bodyOf = ({ kind, body }: Message): string =>
  kind === 'unknown' ? '(a message of a newer version of sotto)' : body;

const fileFlag = ({ file, mine }: Message, hint: Hint): string[] => {
  if (file === undefined) return [];
  return [mine ? 'a file' : hint(`a file: sotto file save ${shortId(file)}`)];
};

/** A message on one line, or on as many as its text has. `place` follows the name of who wrote it. */
export const bareMessageText = (message: Message, hint = AS_IT_IS, place = ''): string => {
  const flags = [...fileFlag(message, hint), ...messageFlags(message)];
  const said = message.snippet ?? (message.deletedAt === undefined ? bodyOf(message) : '(deleted)');
  const reply = message.replyTo === undefined ? '' : `↳ ${shortId(message.replyTo)} `;
  const reactions =
    message.reactions.length === 0 ? '' : `  ${message.reactions.map((one) => safeLine(one.emoji)).join(' ')}`;
  const head = `${dim(`${timeText(message.sentAt)}  ${shortId(message.id)}`)}  ${(message.mine ? own : bold)(safeName(message.from))}${place}`;
  const end = flags.length === 0 ? '' : `  ${(message.state === 'failed' ? bad : dim)(`[${flags.join(', ')}]`)}`;
  return `${head}: ${reply}${message.file === undefined ? block(said) : safeFileName(said)}${reactions}${end}`;
};

/** A contact on one line. */
export const contactText = (contact: Contact): string =>
  [
    `${contact.verified ? '◆' : '◇'} ${bold(safeName(contact.name))}`,
    contact.state === 'incoming' ? alert(contact.state) : contact.state,
    dim(contact.address),
    dim(contact.id.slice(0, 8)),
    ...(contact.requestNote !== undefined && ['incoming', 'outgoing'].includes(contact.state)
      ? [`“${safeLine(contact.requestNote)}”`]
      : []),
    ...(contact.note === undefined ? [] : [`(${safeLine(contact.note)})`]),
    ...(contact.paused === undefined ? [] : [bad(`paused: ${pausedText(contact.paused)}`)]),
  ].join('  ');

const memberStates = {
  linked: 'is',
  said: 'is, as only you say,',
  asked: 'says to be (sotto member link):',
} as const;

/** A contact with safety number and history. */
export const contactDetailText = (contact: Contact): string =>
  [
    contactText(contact),
    ...(contact.members ?? []).map((one) => `${memberStates[one.state]} ${safeName(one.name)}@${safeName(one.server)}`),
    ...(contact.safetyNumber === undefined ? [] : ['', safetyHead(contact), ...groups(contact.safetyNumber)]),
    ...(contact.history === undefined || contact.history.length === 0
      ? []
      : [
          '',
          ...contact.history.map((one) =>
            [timeText(one.at), one.kind, ...(one.detail === undefined ? [] : [safeLine(one.detail)])].join('  '),
          ),
        ]),
  ].join('\n');

type Compared = { readonly verified: boolean; readonly verifiedAt?: number | undefined };

/** What stands above a safety number. */
export const safetyHead = ({ verified, verifiedAt }: Compared): string =>
  verified
    ? `Verified${verifiedAt === undefined ? '' : ` since ${timeText(verifiedAt)}`}: both of you see these 60 digits`
    : 'Compare these 60 digits with them, face to face or by voice:';

const groups = (number: string): string[] => {
  const parts = number.split(' ');
  return [0, 4, 8].map((from) => `  ${parts.slice(from, from + 4).join(' ')}`);
};

/** A conversation on one line. */
export const conversationText = (one: Conversation, hint = AS_IT_IS): string =>
  [
    `${one.verified ? '◆' : '◇'} ${bold(safeName(one.name))}`,
    ...(one.encryption === 'open' ? [alert('NOT ENCRYPTED')] : []),
    // With its id: there may be another of its name by now.
    ...(one.state === undefined ? [] : [`${one.state} (${shortId(one.id)})`]),
    ...(one.request === true ? [alert(hint(requestText(one.name)))] : []),
    one.unread === 0 ? dim('nothing new') : own(`${one.unread} unread`),
    ...(one.mentions === 0 ? [] : [alert(`${one.mentions} for you`)]),
    ...(one.lastAt === undefined ? [] : [dim(timeText(one.lastAt))]),
    ...(one.draft === undefined ? [] : ['has a draft']),
    ...(one.muted ? [`muted${one.mutedUntilAt === undefined ? '' : ` until ${timeText(one.mutedUntilAt)}`}`] : []),
    ...(one.expiresMs === undefined
      ? []
      : [`new ones end ${durationText(one.expiresMs)} after they are ${endsFrom(one)}`]),
    ...(one.archived ? ['archived'] : []),
    ...stillReadTexts(one).map((text) => alert(hint(text))),
  ].join('  ');

const endsFrom = ({ kind, expiresFrom }: Conversation): string =>
  kind !== 'contact' ? 'sent' : expiresFrom === 'read' ? 'read' : 'delivered';

/** What has become of a transfer, and why, each said once. */
export const fileStateText = ({ state, reason }: Pick<FileObject, 'state' | 'reason'>): string =>
  reason === undefined ? state : reason.startsWith(state) ? reason : `${state}: ${reason}`;

/** A file transfer on one line. */
export const fileText = (file: FileObject): string =>
  `${dim(shortId(file.id))}  ${file.direction === 'in' ? 'from' : 'to'} ${bold(safeName(file.conversation))}  ${safeFileName(file.name)}  ${sizeText(file.transferredBytes)} of ${sizeText(file.sizeBytes)}  ${(file.state === 'failed' ? bad : dim)(fileStateText(file))}`;

/** What is in the way of a contact, and advice. */
export const whyText = (why: Why): string =>
  [
    safeLine(why.summary),
    `link     ${why.link.state}${why.link.lastError === undefined ? '' : `; last error: ${why.link.lastError}`}`,
    ...(why.link.nextRetryAt === undefined ? [] : [`retry    ${timeText(why.link.nextRetryAt)}`]),
    `outbox   ${why.outbox.depth}${why.outbox.oldestAt === undefined ? '' : `, the oldest since ${timeText(why.outbox.oldestAt)}`}`,
    ...why.advice.map((line) => `advice   ${safeLine(line)}`),
  ].join('\n');

/** One check of doctor, with its fix. */
export const checkText = (check: Check): string =>
  `${check.ok ? good('ok  ') : bad('BAD ')} ${check.check}: ${check.detail}${check.fix === undefined ? '' : `\n     mend: ${check.fix}`}`;

// As `config set` takes it.
const valueText = ({ key, value }: SettingRow): string => {
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  return typeof value === 'number' && value > 0 && key.endsWith('Ms') ? durationText(value) : JSON.stringify(value);
};

/** A setting on one line. */
export const settingText = (row: SettingRow): string =>
  `${row.key} = ${valueText(row)}${row.source === 'default' ? '' : `  (${row.source})`}  ${dim(row.doc)}`;

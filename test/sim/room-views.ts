// What must be true of a server and its people once everything is calm: the log, the outboxes, and what each may read of it.
import { contentOfEvent } from '../../src/crypto/room-event.ts';
import { type ChannelId, idOf, inboxOf, type MemberId } from '../../src/protocol/ids.ts';
import type { Message } from '../../src/protocol/rpc-objects.ts';
import type { ChannelObject } from '../../src/protocol/rpc-rooms.ts';
import { EVENT } from '../../src/protocol/server-frames.ts';
import type { Stored } from '../../src/server/event-log.ts';
import { checkDatabase } from '../../src/store/check.ts';
import type { Person, World } from '../../src/testing/people.ts';
import { compareSights, isSame, memberName, type Reader } from './room-deeds.ts';
import { type Sent, wrongFiles } from './room-habits.ts';
import type { Host } from './room-host.ts';

const ALL = { events: 1_000_000, bytes: 1e9 };
/** What a person is told of what is not there and need not be. */
const FINE_GAPS = /^you were not in the channel$/;
/** What got no answer, and was forgotten before it was said again, comes twice. */
const FORGOTTEN_GAPS = /^the server (no longer keeps it|shows something of .*’s again, or out of its order)$/;
const OUTCAST_GAPS = /^carol cannot read what you write: the server takes nothing for them$/;
const RESTORED_GAPS =
  /^(the server (has another history than before$|says that it was put back |left out something of )|with the other history of the server )/;

const isFine = ({ outcasts, wasRestored, forgets }: Scene, reason: string): boolean =>
  FINE_GAPS.test(reason) ||
  (forgets && FORGOTTEN_GAPS.test(reason)) ||
  (outcasts.size > 0 && OUTCAST_GAPS.test(reason)) ||
  (wasRestored && RESTORED_GAPS.test(reason));

/** What somebody was told is on its way. */
export type Said = { readonly from: string; readonly to: string; readonly id: string; readonly text: string };

type Scene = {
  readonly world: World;
  readonly host: Host;
  readonly people: readonly Person[];
  /** Those of them whom the server had let go: what was sealed meanwhile is not for them. */
  readonly outcasts: ReadonlySet<Person>;
  /** Names of those whose store was put back: how they had changed what they said may be with others only. */
  readonly forgetful: ReadonlySet<string>;
  readonly channels: readonly string[];
  readonly said: readonly Said[];
  /** Events that the server had and has no more, since it was put back. */
  readonly lost: ReadonlySet<string>;
  readonly wasRestored: boolean;
  /** Channels keep what was said for a while only. */
  readonly forgets: boolean;
  readonly trace: string[];
  /** Members who were shown the past of a channel, as `#channel member`. */
  readonly shown: ReadonlySet<string>;
  readonly files: readonly Sent[];
};

/** Everything that is not as it must be. */
export const wrongIn = async (scene: Scene): Promise<string[]> => {
  const { host, people, channels } = scene;
  const readers = people.filter((one) => !scene.outcasts.has(one));
  const wrong: string[] = [];
  const { wrong: broken } = await host.store.check({ deep: true });
  wrong.push(...broken.map((line) => `the server: ${line}`), ...leftIn(host, people));
  for (const person of people) wrong.push(...checkDatabase(person.db).map((line) => `${person.name}: ${line}`));
  // With what the server forgot nothing can be compared: what people are told of it is true.
  if (scene.forgets) return [...wrong, ...(await untrueIn(scene, readers))];
  const logs = new Map<string, readonly Stored[]>();
  for (const channel of channels) {
    const log = await logOf(host, channel);
    logs.set(channel, log);
    scene.trace.push(`${channel} ${log.map(({ seq, id }) => `${seq}:${id.slice(0, 12)}`).join(' ')}`);
    const ids = new Set(log.map(({ id }) => id));
    if (ids.size !== log.length || log.some(({ seq }, i) => seq !== i + 1))
      wrong.push(`${channel} has holes or repeats`);
    for (const person of readers) wrong.push(...(await viewOf(scene, { person, channel, log })));
    // A server that was put back has lost what one side still shows.
    if (!scene.wasRestored) wrong.push(...(await compareSights(channel, log, readersOf(readers, log))));
  }
  for (const person of people) {
    const inbox = await host.store.log.read(inboxOf(memberOf(person)), 0, ALL);
    logs.set(memberName(person), inbox);
  }
  for (const said of scene.said) wrong.push(...(await fateOf(scene, said, logs.get(said.to) ?? [])));
  const mayHave = hasFile(scene, logs);
  wrong.push(
    ...(await wrongFiles(
      scene.world,
      readers,
      scene.files.filter(({ from }) => !scene.outcasts.has(from)),
      mayHave,
    )),
  );
  for (const person of people)
    for (const to of logs.keys()) wrong.push(...orderOf(scene.said, person.name, to, logs.get(to) ?? []));
  return wrong;
};

/** What people are told of channels that is not so, and who is behind. */
const untrueIn = async (scene: Scene, people: readonly Person[]): Promise<string[]> => {
  const wrong: string[] = [];
  for (const person of people)
    for (const channel of scene.channels) {
      const shown = await person.call('channel.show', { channel }).catch(() => undefined);
      if (shown === undefined) continue;
      const [head] = await scene.host.store.log.heads([shown.id as ChannelId]);
      if (shown.state === 'joined' && shown.heldTo !== head?.seq)
        wrong.push(`${person.name} in ${channel}: at ${shown.heldTo}, which ends at ${head?.seq}`);
      wrong.push(...gapsOf(scene, shown).map((line) => `${person.name} in ${channel}: ${line}`));
    }
  return wrong;
};

const gapsOf = (scene: Scene, { gaps = [] }: ChannelObject): string[] =>
  gaps.flatMap(({ reason }) => (reason.split('; ').every((one) => isFine(scene, one)) ? [] : [`gap: ${reason}`]));

/** Whether somebody must be able to save a file: it is for them, and there. */
const hasFile =
  ({ outcasts }: Scene, logs: ReadonlyMap<string, readonly Stored[]>) =>
  (reader: Person, { id, to }: Sent): boolean => {
    const log = logs.get(to) ?? [];
    const event = log.find((one) => one.id === id);
    if (outcasts.has(reader) || event === undefined || event.body === null) return false;
    if (!to.startsWith('#')) return memberName(reader) === to;
    const stay = staysOf(log, memberOf(reader)).find((one) => one.to === Number.POSITIVE_INFINITY);
    return stay !== undefined && (to === '#open' || event.seq >= stay.from);
  };

// Nothing waits in the server, and nobody is counted twice.
const leftIn = ({ server }: Host, people: readonly Person[]): string[] => {
  const { context } = server;
  const left = {
    asking: context.asking.count,
    waiting: context.hub.depth,
    online: context.online.size - new Set(people.map(memberName)).size,
    connections: server.connections - people.length,
  };
  return Object.entries(left).flatMap(([what, n]) => (n === 0 ? [] : [`the server: ${what} ${n}`]));
};

export const logOf = async ({ store }: Host, channel: string): Promise<readonly Stored[]> => {
  const row = await store.state.getChannelByName(channel.slice(1));
  return row === undefined ? [] : store.log.read(row.id, 0, ALL);
};

const memberOf = ({ db }: Person): MemberId =>
  idOf(db.get<{ id: Uint8Array }>('SELECT member_id AS id FROM servers')?.id ?? new Uint8Array(16));

type Stay = { readonly from: number; to: number };
type Control = { readonly op: string; readonly member?: MemberId; readonly role?: string };

const controlOf = ({ kind, body }: Stored): Control | undefined =>
  kind !== EVENT.control || body === null ? undefined : JSON.parse(Buffer.from(contentOfEvent(body)).toString());

/** From when to when a member was in a channel, as its controls say. */
const staysOf = (log: readonly Stored[], member: MemberId): Stay[] => {
  const stays: Stay[] = [];
  let now: Stay | undefined;
  for (const event of log) {
    const { seq, member: sender } = event;
    const control = controlOf(event);
    if (control === undefined) continue;
    const comes =
      (/^(create|join)$/.test(control.op) && sender === member) || (control.op === 'add' && control.member === member);
    const goes =
      (control.op === 'leave' && sender === member) || (/^(remove|ban)$/.test(control.op) && control.member === member);
    if (comes && now === undefined) {
      now = { from: seq, to: Number.POSITIVE_INFINITY };
      stays.push(now);
    }
    if (!goes || now === undefined) continue;
    now.to = seq;
    now = undefined;
  }
  return stays;
};

const readersOf = (people: readonly Person[], log: readonly Stored[]): Reader[] =>
  people.flatMap((person) => {
    const stay = staysOf(log, memberOf(person)).find(({ to }) => to === Number.POSITIVE_INFINITY);
    return stay === undefined ? [] : [{ person, from: stay.from }];
  });

/** Who was in a channel and as what, by its log from the beginning. */
const rolesOf = (log: readonly Stored[]): Map<string, string> => {
  const roles = new Map<string, string>();
  for (const event of log) {
    const { op, member = event.member, role = 'member' } = controlOf(event) ?? {};
    if (op === 'create') roles.set(member, 'owner');
    if ((op === 'join' || op === 'add') && !roles.has(member)) roles.set(member, role);
    if (op === 'role' && roles.has(member)) roles.set(member, role);
    if (op === 'leave' || op === 'remove' || op === 'ban') roles.delete(member);
  }
  return roles;
};

/** A channel as it was after each control since somebody first came, where they are out until they went. */
const rewound = async (
  { person, channel, log }: View,
  from: number,
  held: ReadonlyMap<number, string>,
): Promise<string[]> => {
  const wrong: string[] = [];
  const went = staysOf(log, memberOf(person)).at(-1)?.to ?? 0;
  // Whom a channel has banned while they were away the server shows nothing of when.
  const to = log.some(({ seq }) => seq === went) && !held.has(went) ? Math.max(...held.keys()) : went;
  const told = log.filter(({ seq }) => seq >= from && seq <= to);
  for (const { at } of told.filter((event) => controlOf(event) !== undefined)) {
    const { members = [] } = await person.call('channel.show', { channel, at });
    const then = [...rolesOf(log.filter((event) => event.at <= at))].map(([id, role]) => `${id} ${role}`).sort();
    const shown = members.map(({ id, role }) => `${id} ${role}`).sort();
    if (shown.join() !== then.join()) wrong.push(`${person.name} in ${channel}: at ${at} ${shown}, in the log ${then}`);
  }
  return wrong;
};

type View = { readonly person: Person; readonly channel: string; readonly log: readonly Stored[] };

const viewOf = async (scene: Scene, { person, channel, log }: View): Promise<string[]> => {
  const wrong: string[] = [];
  const say = (line: string): void => void wrong.push(`${person.name} in ${channel}: ${line}`);
  const shown = await person.call('channel.show', { channel }).catch(() => undefined);
  const stays = staysOf(log, memberOf(person));
  const stay = stays.find(({ to }) => to === Number.POSITIVE_INFINITY);
  if (shown === undefined) {
    if (stay !== undefined) say('is a member and does not know of it');
    return wrong;
  }
  // Who left stays out, though a server that was put back knows nothing of it.
  if (shown.state === 'left' && stay !== undefined && scene.wasRestored) return wrong;
  if ((shown.state === 'joined') !== (stay !== undefined)) say(`is ${shown.state}, in the log ${stay !== undefined}`);
  for (const line of gapsOf(scene, shown)) say(line);
  const messages = await person.messages(channel);
  const byId = new Map(messages.map((message) => [message.id, message]));
  if (byId.size !== messages.length) say('shows a message twice');
  const isForAll = shown.history === 'all';
  const held = eventsOf(person, shown.id);
  for (const { seq, id, kind, member, body } of log) {
    const inStay = stays.some(({ from, to }) => seq >= from && seq < to);
    const message = byId.get(id);
    // Nobody reads what was said before they came or after they went.
    const mayRead = inStay || isForAll || scene.shown.has(`${channel} ${memberName(person)}`);
    if (message !== undefined && message.state === 'received' && !mayRead) say(`reads ${seq}, and may not`);
    const author = scene.people.find((one) => memberOf(one) === member);
    // What somebody was shown of before is what was said, by whom it was.
    if (message?.state === 'received' && !inStay && body !== null && author !== undefined && !isSame(author, person)) {
      if (`${message.from}@home` !== memberName(author)) say(`${seq} is of ${message.from}, and was of ${author.name}`);
      wrong.push(...(await bodyOf(scene, { person, channel, log }, author, message)));
    }
    if (stay === undefined || !(isForAll || seq >= stay.from)) continue;
    if (held.get(seq) !== id) say(`holds ${held.get(seq)?.slice(0, 12)} at ${seq}, which is ${id.slice(0, 12)}`);
    const said = scene.said.find((one) => one.id === id);
    if (kind !== EVENT.content || said === undefined) continue;
    // An empty word may have come in the place of what its author took back.
    if (message === undefined && wasTakenBack(scene, said)) continue;
    if (body === null ? message !== undefined && message.deletedAt === undefined : message === undefined)
      say(`${body === null ? 'still shows' : 'misses'} ${seq} of ${author?.name}`);
    else if (body !== null && author !== undefined && author !== person && message?.deletedAt === undefined)
      wrong.push(...(await bodyOf(scene, { person, channel, log }, author, message)));
  }
  // Between two stays, too.
  const heldFrom = scene.wasRestored ? stay?.from : shown.heldFrom;
  if (heldFrom !== undefined) wrong.push(...(await rewound({ person, channel, log }, heldFrom, held)));
  if (stay !== undefined) wrong.push(...inOrder(scene, { person, channel, log }, messages));
  return wrong;
};

const wasTakenBack = ({ people }: Scene, { from, id }: Said): boolean =>
  people
    .find(({ name }) => name === from)
    ?.db.get(
      "SELECT 1 FROM messages WHERE state = 'failed' AND reason = 'cancelled' AND message_id = ?",
      Buffer.from(id, 'hex'),
    ) !== undefined;

// An author who went before an edit was out keeps it for themself, and so does one whose server has lost it.
const bodyOf = async (
  { lost, forgetful }: Scene,
  { person, channel, log }: View,
  author: Person,
  message: Message | undefined,
): Promise<string[]> => {
  if (!isIn(log, author) || message === undefined || lost.size > 0 || forgetful.has(author.name)) return [];
  const theirs = (await author.messages(channel)).find(({ id }) => id === message.id);
  if (theirs === undefined || theirs.body === message.body || theirs.deletedAt !== undefined) return [];
  return [`${person.name} in ${channel}: "${message.body}" is "${theirs.body}" for its author ${author.name}`];
};

// What was shown before the server lost it stays where it was, wherever it was placed again. Where a server that was put back has
// lost keys too, those of one author may come after what others said.
const inOrder = (scene: Scene, { person, channel, log }: View, messages: readonly Message[]): string[] => {
  const kept = log.filter(({ id }) => !scene.lost.has(id));
  const isByAuthor = scene.wasRestored && channel !== '#open';
  const parts = isByAuthor ? scene.people.map((one) => kept.filter(({ member }) => member === memberOf(one))) : [kept];
  return parts.flatMap((part) => partInOrder({ person, channel, log: part }, messages));
};

const partInOrder = ({ person, channel, log }: View, messages: readonly Message[]): string[] => {
  const places = new Map(log.map(({ seq, id }) => [id as string, seq]));
  // Under the id of what was taken back an empty word may have come.
  const seqs = messages.flatMap(({ id, state }) => (state === 'failed' ? [] : (places.get(id) ?? [])));
  return seqs.some((seq, i) => seq < (seqs[i - 1] ?? 0))
    ? [`${person.name} in ${channel}: order ${seqs.join(' ')}`]
    : [];
};

/** What is held of a channel: event ids by seq. */
const eventsOf = ({ db }: Person, channel: string): Map<number, string> =>
  new Map(
    db
      .all<{ seq: number; id: string }>(
        `SELECT seq, lower(hex(event_id)) AS id FROM room_events
          WHERE channel_row = (SELECT id FROM channels WHERE lower(hex(channel_id)) = ?)`,
        channel,
      )
      .map(({ seq, id }) => [seq, id]),
  );

const isIn = (log: readonly Stored[], person: Person): boolean =>
  staysOf(log, memberOf(person)).some(({ to }) => to === Number.POSITIVE_INFINITY);

/** What was called sent is in the log, what was called failed is not, and nothing is left in between. */
const fateOf = async (scene: Scene, { from, to, id, text }: Said, log: readonly Stored[]): Promise<string[]> => {
  const author = scene.people.find(({ name }) => name === from);
  if (author === undefined) throw new Error(from);
  const mine = (await scene.world.during(author.messages(to))).find((message) => message.id === id);
  const what = `${from} to ${to}: ${text} ${id.slice(0, 12)}`;
  if (mine === undefined) return [`${what} is gone, which send had acknowledged`];
  if (mine.deletedAt !== undefined) return [];
  const isThere = log.some((event) => event.id === id);
  if (mine.state === 'queued') return [`${what} still waits`];
  // Who was put out before the answer came cannot be told that it had been taken.
  if (mine.state === 'failed' && /^channel\.(notMember|banned)$/.test(mine.reason ?? '') && !isIn(log, author))
    return [];
  // Nor can who is another device since, when it must be sealed anew, and nothing is taken for them any more.
  if (mine.reason === 'member.unknown' && [...scene.outcasts].some((one) => memberName(one) === to)) return [];
  if (mine.state === 'failed') return isThere ? [`${what} has failed (${mine.reason}) and is there`] : [];
  if (!isThere && !scene.lost.has(id)) return [`${what} is ${mine.state} and not in the log`];
  // What was for a member and is lost is said again, in another event.
  if (to.startsWith('#')) return [];
  const wrong: string[] = [];
  // What one device had told the other of a member may be lost with what the server lost.
  const hasCopy = scene.lost.size === 0;
  for (const reader of scene.people.filter(
    (one) => (memberName(one) === to || (hasCopy && one !== author && isSame(one, author))) && !scene.outcasts.has(one),
  )) {
    const theirs = await messagesOf(scene, reader, memberName(reader) === to ? memberName(author) : to, id);
    if (theirs.length !== 1) wrong.push(`${what} came ${theirs.length} times to ${reader.name}`);
    // What changed it may be lost.
    else if (
      theirs[0]?.body !== mine.body &&
      theirs[0]?.deletedAt === undefined &&
      scene.lost.size === 0 &&
      !scene.forgetful.has(from)
    )
      wrong.push(`${what} is "${theirs[0]?.body}" for ${reader.name}, here "${mine.body}"`);
  }
  return wrong;
};

const messagesOf = async ({ world }: Scene, reader: Person, conversation: string, id: string): Promise<Message[]> => {
  const messages = await world.during(reader.messages(conversation).catch(() => []));
  return messages.filter((message) => message.id === id);
};

const orderOf = (all: readonly Said[], from: string, to: string, log: readonly Stored[]): string[] => {
  const places = new Map(log.map(({ seq, id }) => [id as string, seq]));
  const seqs = all.filter((said) => said.from === from && said.to === to).flatMap(({ id }) => places.get(id) ?? []);
  return seqs.some((seq, i) => seq < (seqs[i - 1] ?? 0)) ? [`${from} to ${to}: in the order ${seqs.join(' ')}`] : [];
};

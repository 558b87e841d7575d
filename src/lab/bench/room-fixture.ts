// An account with a long history of one encrypted channel, as its daemon would have kept it, for measuring without a server.

import { existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { accountPaths, placesOf } from '../../client/paths.ts';
import { stateToJson } from '../../core/channel-json.ts';
import type { ChannelState } from '../../crypto/channel-state.ts';
import { makeDevice, memberIdOf } from '../../crypto/member.ts';
import { ed25519Public, sha256 } from '../../crypto/primitives.ts';
import { systemClock, systemRandom } from '../../machine.ts';
import { type EventId, ID_BYTES, idBytes, idOf, type MemberId, timedId } from '../../protocol/ids.ts';
import { DAY_MS } from '../../protocol/limits.ts';
import type { Database } from '../../sqlite/open.ts';
import { patchChannel, putChannel } from '../../store/channels.ts';
import { patchConversation, putConversation } from '../../store/conversations.ts';
import { putMember } from '../../store/members.ts';
import { editMessage, getMessage, patchMessage, putMessage } from '../../store/messages.ts';
import { SCHEMA_VERSION } from '../../store/migrations.ts';
import { putReaction } from '../../store/reactions.ts';
import { putRoomEvent, type RoomEventRow } from '../../store/room-events.ts';
import { putServer } from '../../store/servers.ts';
import { seededRandom } from '../../testing/random.ts';
import type { Bench } from './figure.ts';
import { bodyOf, makeAccount, makeOffline } from './fixture.ts';

/** What the fixture's channel is called. */
export const CHANNEL = '#ops';
const PEOPLE = 50;
const BATCH = 20_000;
/** How long the history is, and how long ago it ended. */
export const ROOM_DAYS = 364;

type Person = { readonly row: number; readonly id: MemberId };
type Room = {
  readonly db: Database;
  readonly channel: number;
  readonly conversation: number;
  readonly people: readonly Person[];
  readonly random: ReturnType<typeof seededRandom>;
  /** The last message, and the root of the thread of now. */
  last: number;
  thread: Uint8Array<ArrayBuffer> | null;
};

/**
 * The data folder of the fixture, account `alice`; built once and kept. Most events are texts with the words of `bodyOf`, one in
 * 20 a reaction, one in 50 an edit, one in 200 a pin or its end, one in 500 a member who comes or goes, one in 5,000 a topic.
 */
export const roomFixture = async (bench: Bench, events: number): Promise<string> => {
  const dir = join(bench.cacheDir, `bench-room-${SCHEMA_VERSION}-${events}`);
  makeOffline(dir);
  if (existsSync(accountPaths(placesOf(dir, process.env), 'alice', process.env).vault)) return dir;
  rmSync(dir, { recursive: true, force: true });
  const building = `${dir}.building`;
  rmSync(building, { recursive: true, force: true });
  makeOffline(building);
  bench.say(`building a channel of ${events.toLocaleString('en-GB')} events, once`);
  await makeAccount(building, 'alice', { contacts: 0, fill: (db) => fill(bench, db, events) });
  renameSync(building, dir);
  return dir;
};

const fill = (bench: Bench, db: Database, events: number): void => {
  const room = db.transaction(() => emptyRoom(db));
  const startAt = systemClock.now() - (ROOM_DAYS + 1) * DAY_MS;
  const at = (seq: number): number => startAt + Math.floor((seq * ROOM_DAYS * DAY_MS) / events);
  for (let done = 0; done < events; done += BATCH) {
    const end = Math.min(events, done + BATCH);
    db.transaction(() => {
      for (let seq = done + 1; seq <= end; seq++) putEvent(room, seq, at(seq));
    });
    bench.say(`${Math.round((100 * end) / events)} %`);
  }
  db.transaction(() => {
    patchChannel(db, room.channel, { firstSeq: 1, lastSeq: events, lastId: systemRandom.bytes(ID_BYTES), epoch: 1 });
    patchConversation(db, room.conversation, { lastAt: at(events) });
  });
};

const emptyRoom = (db: Database): Room => {
  const serverKey = ed25519Public(sha256(Buffer.from('bench server')));
  const seed = systemRandom.bytes(32);
  const me = makeDevice(systemRandom.bytes(32), serverKey, { seed, serial: 1 });
  const serverId = putServer(db, {
    uid: systemRandom.bytes(ID_BYTES),
    serverKey,
    ...{ label: 'home', origin: 'wss://127.0.0.1:9', trust: 'pinned', clearnet: 0, state: 'joined', invite: '' },
    ...{ memberId: idBytes(me.member), memberName: 'alice', createdAt: 1 },
    ...{ deviceId: idBytes(me.device), deviceSeed: seed, certificate: me.certificate },
  });
  const people = Array.from({ length: PEOPLE }, (_, n): Person => {
    const memberKey = systemRandom.bytes(32);
    const id = n === 0 ? me.member : memberIdOf(serverKey, memberKey);
    const name = n === 0 ? 'alice' : `m${n}`;
    const person = { serverId, memberId: idBytes(id), memberKey, name, role: 'member', status: '', createdAt: 1 };
    return { row: putMember(db, person), id };
  });
  const channelId = systemRandom.bytes(ID_BYTES);
  const hash = systemRandom.bytes(32);
  const state = stateOf(channelId, hash, people);
  const channel = putChannel(db, {
    ...{ serverId, channelId, hash, name: state.name, encryption: state.encryption, private: 0 },
    ...{ history: state.history, state: 'joined', createdAt: 1 },
  });
  patchChannel(db, channel, { membership: stateToJson(state), topic: 'topic of now' });
  const conversation = putConversation(db, { uid: systemRandom.bytes(ID_BYTES), channelRow: channel, createdAt: 1 });
  return { db, channel, conversation, people, random: seededRandom(11), last: 0, thread: null };
};

const stateOf = (channelId: Uint8Array, hash: Uint8Array<ArrayBuffer>, people: readonly Person[]): ChannelState => {
  const [owner] = people;
  const grant = { by: owner?.id as MemberId, at: 1 };
  const member = { joinedSeq: 1, entry: grant, roleGrant: grant };
  return {
    ...{
      channel: idOf(channelId),
      hash,
      name: CHANNEL.slice(1),
      encryption: 'members',
      private: false,
      history: 'joined',
    },
    members: new Map(people.map(({ id }) => [id, { ...member, role: id === owner?.id ? 'owner' : 'member' }])),
    ...{ invited: new Map(), banned: new Set(), mode: { slowMs: 0, retentionMs: 0, notify: 'all' } },
    ...{ epoch: 1, keys: [], exposed: new Set(), archived: false, unknown: 0, seq: 1, controls: 1 },
    ...{ head: new Uint8Array(32), heads: ['0'.repeat(32)], counted: new Map() },
  };
};

const putEvent = (room: Room, seq: number, at: number): void => {
  const { db, random } = room;
  const person = room.people[Math.floor(random.fraction() * PEOPLE)] as Person;
  const eventId = idBytes(timedId<EventId>(at, new Uint8Array(random.bytes(10))));
  const keep = (kind: string, value: string, messageRow: number | null): void =>
    putRoomEvent(db, room.channel, {
      ...{ seq, eventId, at, kind, value, messageRow },
      memberRow: person.row,
      hash: HASH,
    });
  if (seq % 5_000 === 1) return keep('topic', `topic of event ${seq}`, null);
  if (seq % 500 === 2) return keep(seq % 1_000 === 2 ? 'leave' : 'join', comeOrGo(room, seq), null);
  if (seq % 20 === 7) return keep('react', react(room, person, at), room.last);
  if (seq % 50 === 13) return keep('edit', edit(room, seq, at), room.last);
  if (seq % 200 === 31) return keep(seq % 400 === 31 ? 'pin' : 'unpin', '', room.last);
  putText(room, person, { seq, at, eventId });
  keep('text', '', room.last);
};
const HASH = new Uint8Array(32).fill(1);

// Who leaves comes back with the next one.
const comeOrGo = ({ people }: Room, seq: number): string => {
  const { id } = people[1 + (Math.floor(seq / 1_000) % (PEOPLE - 1))] as Person;
  return seq % 1_000 === 2
    ? JSON.stringify({ op: 'leave', was: [[id, 'member']] })
    : JSON.stringify({ op: 'join', was: [[id, null]] });
};

const react = ({ db, last }: Room, { row }: Person, at: number): string => {
  putReaction(db, last, { mine: 0, memberRow: row, emoji: '👍', at });
  return '👍';
};

const edit = (room: Room, seq: number, at: number): string => {
  const row = getMessage(room.db, room.last);
  if (row === undefined) throw new Error('there is a message');
  const number = row.editNumber + 1;
  editMessage(room.db, row, `${bodyOf(seq, room.random.fraction)} edited`, { number, at });
  if (number === 1 && seq % 400 === 113) patchMessage(room.db, row.id, { pinnedAt: at });
  return String(number);
};

const putText = (
  room: Room,
  person: Person,
  { seq, at, eventId }: Pick<RoomEventRow, 'seq' | 'at' | 'eventId'>,
): void => {
  const mine = person === room.people[0] ? 1 : 0;
  const isAnswer = seq % 10 === 3;
  room.last = putMessage(room.db, {
    ...{ conversationId: room.conversation, messageId: eventId, mine, body: bodyOf(seq, room.random.fraction) },
    ...{ state: mine === 1 ? 'sent' : 'received', sentAt: at, receivedAt: mine === 1 ? null : at, unread: 0 },
    ...{ replyTo: null, expiresMs: null, expiresFrom: 'delivery', expiresAt: null, fileId: null },
    ...{ memberRow: person.row, seq, thread: isAnswer ? room.thread : null },
  });
  if (!isAnswer && seq % 1_000 === 4) room.thread = eventId;
};

// A server's folder with members and sealed channels in it, made as their programs would make them; and what they log in with.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeDevice, memberSecrets, signLogin } from '../../crypto/member.ts';
import { ed25519Key, ed25519Public, sha256 } from '../../crypto/primitives.ts';
import { channelOf, creationScope, headOf, membersHash, signEvent, ZERO_HASH } from '../../crypto/room-event.ts';
import { OwnChain } from '../../crypto/sender-key.ts';
import { systemClock, systemRandom } from '../../machine.ts';
import { fromBase64, toBase64, toHex } from '../../protocol/bytes.ts';
import {
  type ChannelId,
  type DeviceId,
  type EventId,
  type MemberId,
  SERVER_CHANNEL,
  timedId,
} from '../../protocol/ids.ts';
import type { Content, Control } from '../../protocol/room-content.ts';
import { EVENT } from '../../protocol/server-frames.ts';
import type { Change } from '../../server/changes.ts';
import type { Draft } from '../../server/event-log.ts';
import type { DeviceRow, MemberRow } from '../../server/rows.ts';
import { createServer, serverPaths } from '../../server/server-dir.ts';
import { ServerStore } from '../../server/server-store.ts';
import type { Sign } from './programs.ts';

const TEXT = 'the quick brown fox jumps over the lazy dog and then some more words '.repeat(3).slice(0, 200);
const BATCH = 500;
const CLIENT_NONCE = new Uint8Array(32);

type Person = {
  readonly id: MemberId;
  readonly device: DeviceId;
  readonly seed: Uint8Array<ArrayBuffer>;
  readonly certificate: Uint8Array<ArrayBuffer>;
  readonly keys: Pick<DeviceRow, 'signingKey' | 'signalKey'> & Pick<MemberRow, 'memberKey'>;
};
type Room = { readonly id: ChannelId; readonly hash: Uint8Array; chain: Uint8Array<ArrayBuffer> };

/** A town on a server: who lives there, and in which rooms. */
export type Plan = {
  readonly people: number;
  readonly rooms: number;
  /** The rooms that somebody is in, the one they speak in first. */
  readonly roomsOf: (person: number) => readonly number[];
  readonly speaks: (person: number) => boolean;
};

/** A server's folder, and the files for the load generator beside it. */
export type Town = {
  readonly dir: string;
  readonly peopleFile: string;
  /** Of a sealed event of 200 characters of text. */
  readonly bodyBytes: number;
  readonly signFor: (origin: string) => Sign;
  /** What everybody logs in with, and the rooms they are in. */
  readonly people: readonly (Pick<Person, 'seed' | 'certificate'> & { readonly rooms: readonly ChannelId[] })[];
};

/**
 * Makes a server with these people and rooms of kind `members` in the new folder `dir`. Everybody has a certified device, every
 * room a signed creation, everybody in it a signed join; who speaks has a message of 200 characters, signed and sealed.
 */
export const buildTown = async (dir: string, plan: Plan): Promise<Town> => {
  const paths = serverPaths(join(dir, 'server'));
  const serverKey = systemRandom.bytes(32);
  const serverId = ed25519Public(serverKey);
  const ports = {
    clock: systemClock,
    random: systemRandom,
    turn: () => new Promise<void>((done) => setImmediate(done)),
  };
  createServer(paths, { name: 'town', registration: 'invite', serverKey, encryptAtRest: false }, ports);
  const people = Array.from({ length: plan.people }, () => makePerson(serverId));
  const rooms: Room[] = [];
  {
    await using store = ServerStore.open(paths, ports);
    const put = batched(store);
    for (const [i, person] of people.entries()) await put(registration(person, i));
    for (let i = 0; i < plan.rooms; i++) {
      const owner = people.findIndex((_, one) => plan.roomsOf(one).includes(i));
      const { room, draft } = creation(serverId, people[owner] as Person, i);
      rooms.push(room);
      await put(draft);
    }
    const has = rooms.map(() => false);
    for (const [i, person] of people.entries())
      for (const number of plan.roomsOf(i)) {
        const room = rooms[number] as Room;
        // The first one has made it.
        if (has[number] === true) await put(joining(serverId, person, room));
        has[number] = true;
      }
    await put(undefined);
    const lines: string[] = [];
    let bodyBytes = 0;
    for (const [i, person] of people.entries()) {
      const own = plan.roomsOf(i).map((number) => rooms[number] as Room);
      const heads = await store.log.heads(own.map(({ id }) => id));
      const cursors = Object.fromEntries(heads.map(({ channel, epoch, seq, id }) => [channel, [epoch, seq, id]]));
      const resume = JSON.stringify({ id: 3, do: 'resume', cursors });
      const body = plan.speaks(i) ? await sealed(serverId, person, own[0] as Room) : undefined;
      bodyBytes = body?.length ?? bodyBytes;
      const certificate = toBase64(person.certificate);
      const hex = body === undefined ? '-' : toHex(body);
      lines.push([certificate, resume, own[0]?.id ?? '', hex].join('\t'));
    }
    const peopleFile = join(dir, 'people');
    writeFileSync(peopleFile, `${lines.join('\n')}\n`);
    const inRooms = people.map(({ seed, certificate }, i) => ({
      seed,
      certificate,
      rooms: plan.roomsOf(i).map((number) => (rooms[number] as Room).id),
    }));
    const signFor = (origin: string) => signer(serverId, people, origin);
    return { dir: paths.dir, peopleFile, bodyBytes, signFor, people: inRooms };
  }
};

// Keys are made before anything is measured: it is the server's work that counts.
const signer = (serverId: Uint8Array, people: readonly Person[], origin: string): Sign => {
  const keys = people.map(({ seed }) => ed25519Key(seed));
  return (connection, nonce) => {
    const key = keys[connection];
    if (key === undefined) throw new Error('nobody has this connection');
    const serverNonce = fromBase64(nonce);
    const greeting = { origin, clientNonce: CLIENT_NONCE, serverNonce, serverId };
    return toBase64(signLogin(key, greeting));
  };
};

const makePerson = (serverId: Uint8Array): Person => {
  const [serversKey, seed] = [systemRandom.bytes(32), systemRandom.bytes(32)];
  const { member, device, certificate } = makeDevice(serversKey, serverId, { seed, serial: 1 });
  const { memberKey, signalKey } = memberSecrets(serversKey, serverId);
  return { id: member, device, seed, certificate, keys: { memberKey, signalKey, signingKey: ed25519Public(seed) } };
};

const newId = (): EventId => timedId(systemClock.now(), systemRandom.bytes(10));

/** Appends what it is given in batches; nothing ends the last one. */
const batched = (store: ServerStore) => {
  let waiting: Draft[] = [];
  return async (draft: Draft | undefined): Promise<void> => {
    if (draft !== undefined) waiting.push(draft);
    if (draft !== undefined && waiting.length < BATCH) return;
    const outcomes = await store.log.append(waiting);
    if (outcomes.some(({ kind }) => kind !== 'committed')) throw new Error('the log takes what nobody forbids');
    waiting = [];
  };
};

const draftOf = (
  channel: ChannelId,
  member: MemberId,
  event: { readonly kind: number; readonly id?: EventId; readonly body: Uint8Array<ArrayBuffer> },
  changes: readonly Change[],
): Draft => ({ id: newId(), ...event, channel, member, checkedAt: Number.MAX_SAFE_INTEGER, changes });

const registration = (person: Person, number: number): Draft => {
  const { memberKey, signingKey, signalKey } = person.keys;
  const now = systemClock.now();
  const name = `p${number}`;
  return draftOf(
    SERVER_CHANNEL,
    person.id,
    { kind: EVENT.notice, body: new Uint8Array(Buffer.from('{"what":"member.joined"}')) },
    [
      {
        kind: 'member',
        row: {
          id: person.id,
          memberKey,
          name,
          skeleton: name,
          role: 'member',
          status: '',
          banned: false,
          joinedAt: now,
          erasedAt: null,
        },
      },
      {
        kind: 'device',
        row: {
          id: person.device,
          member: person.id,
          signingKey,
          signalKey,
          certificate: person.certificate,
          serial: 1,
          addedAt: now,
          revokedAt: null,
        },
      },
    ],
  );
};

const creation = (serverId: Uint8Array, owner: Person, number: number): { room: Room; draft: Draft } => {
  const name = `room-${number}`;
  const id = newId();
  const control: Control = { op: 'create', name, encryption: 'members', private: false, history: 'joined' };
  const body = signEvent(
    creationScope(serverId),
    header(owner, id, { epoch: 0, kind: EVENT.control }),
    control,
    owner.seed,
  );
  const { channel, hash } = channelOf(body);
  const row = {
    id: channel,
    name,
    skeleton: name,
    encryption: 'members',
    isPrivate: false,
    history: 'joined',
    slowMs: 0,
    retentionMs: 0,
    archivedAt: null,
    createdBy: owner.id,
    createdAt: systemClock.now(),
    creation: body,
  } as const;
  const membership = { member: owner.id, state: 'joined', role: 'owner', mutedUntil: 0 } as const;
  return {
    room: { id: channel, hash, chain: membersHash(ZERO_HASH, hash) },
    draft: draftOf(channel, owner.id, { kind: EVENT.control, id, body }, [
      { kind: 'channel', row },
      { kind: 'membership', row: membership },
    ]),
  };
};

const joining = (serverId: Uint8Array, person: Person, room: Room): Draft => {
  const id = newId();
  const own = header(person, id, { epoch: 1, kind: EVENT.control, head: room.chain });
  const control: Control = { op: 'join' };
  const body = signEvent({ serverId, channelHash: room.hash }, own, control, person.seed);
  room.chain = membersHash(room.chain, sha256(body));
  const row = { member: person.id, state: 'joined', role: 'member', mutedUntil: 0 } as const;
  return draftOf(room.id, person.id, { kind: EVENT.control, id, body }, [{ kind: 'membership', row }]);
};

const sealed = async (serverId: Uint8Array, person: Person, room: Room): Promise<Uint8Array<ArrayBuffer>> => {
  const content: Content = { kind: 'text', text: TEXT };
  const own = header(person, newId(), { epoch: 1, kind: EVENT.content, head: room.chain });
  const signed = signEvent({ serverId, channelHash: room.hash }, own, content, person.seed);
  const chain = new OwnChain({ channel: room.id, epoch: 1, device: person.device }, { now: systemClock.now() });
  return chain.seal(signed);
};

const header = (
  { id: sender, device }: Person,
  id: EventId,
  {
    epoch,
    kind,
    head = ZERO_HASH,
  }: { readonly epoch: number; readonly kind: 1 | 2; readonly head?: Uint8Array<ArrayBuffer> },
) => ({
  epoch,
  id,
  sender,
  device,
  n: 1,
  seenSeq: 0,
  seenHash: headOf(ZERO_HASH),
  membersHead: headOf(head),
  kind,
});

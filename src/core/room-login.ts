// What follows a log-in: who we are there, and prekeys for those who want to write to us.

import { memberSecrets } from '../crypto/member.ts';
import type { PreKeySet, PublishedState, Upload } from '../crypto/prekeys.ts';
import { signalIdentity } from '../crypto/session.ts';
import { toBase64 } from '../protocol/bytes.ts';
import { timeOfId } from '../protocol/ids.ts';
import { STATUS_TEXT_CHARS_MAX } from '../protocol/limits.ts';
import { prekeyIdOf } from '../protocol/prekeys.ts';
import { isMemberName } from '../protocol/room-content.ts';
import { safeName } from '../protocol/safe-text.ts';
import type { Answer } from '../protocol/server.ts';
import { forgetBrought } from '../store/files.ts';
import { getMemberById, patchMember, putMember } from '../store/members.ts';
import { patchServer, putPreKeys, type ServerRow } from '../store/servers.ts';
import { type Core, commit } from './core.ts';
import type { RoomConnection } from './room-connection.ts';
import { keepOwn } from './room-device.ts';
import { theServer } from './room-rows.ts';
import { sayAgain } from './room-said-again.ts';
import { beginSessionsAnew, ownPreKeys } from './room-sessions.ts';

/**
 * Keeps what the server says of itself and of us, and gives whether our store was put back: it has more of this device than
 * we know of. Our key is ours: what it says of that is not asked.
 */
export const loggedIn = (core: Core, serverId: number, hello: Answer<'hello'>, answer: Answer<'login'>): boolean =>
  commit(core, (changes) => {
    const server = theServer(core.db, serverId);
    const { role } = answer.member;
    const name = isMemberName(answer.member.name) ? answer.member.name : server.memberName;
    const status = answer.member.status.slice(0, STATUS_TEXT_CHARS_MAX);
    patchServer(core.db, serverId, {
      name: safeName(hello.name),
      state: 'joined',
      invite: '',
      memberName: name,
      role,
      lastError: '',
      lastErrorAt: null,
      ...(server.inboxSeq === 0 ? { epoch: answer.inbox.epoch } : {}),
    });
    if (server.epoch !== 0 && server.epoch !== answer.inbox.epoch) {
      beginSessionsAnew(core, server);
      forgetBrought(core.db, serverId);
      sayAgain(core, changes, server, timeOfId(answer.inbox.id ?? '') ?? 0);
    }
    const { memberKey } = memberSecrets(core.serversKey, server.serverKey);
    const known = getMemberById(core.db, serverId, server.memberId);
    const row =
      known?.id ??
      putMember(core.db, {
        serverId,
        memberId: server.memberId,
        memberKey,
        name,
        role,
        status,
        createdAt: changes.at,
      });
    patchMember(core.db, row, { name, role, status });
    keepOwn(core, changes, server, row);
    return answer.sealed > server.sealed;
  });

/**
 * Publishes the prekeys that the server needs; the set is kept before anything of it leaves. Twice, where it had those of an
 * upload that was not answered, and they are used up.
 */
export const prepareKeys = async (core: Core, connection: RoomConnection, left: PublishedState): Promise<void> => {
  let published = left;
  for (let round = 0; round < 2; round++) {
    const upload = await changeKeys(core, connection, (set, server) => {
      const identity = signalIdentity(memberSecrets(core.serversKey, server.serverKey).signalSecret);
      return set.refill(identity, published, core.clock.now());
    });
    if (upload === undefined) return;
    published = await publishKeys(connection, upload, published);
    await changeKeys(core, connection, (set) => set.confirm(upload));
  }
};

// Gives what the server has then.
const publishKeys = async (
  connection: RoomConnection,
  { ec, kyber, signed, lastResort }: Upload,
  before: PublishedState,
): Promise<PublishedState> => {
  let left: Pick<PublishedState, 'ec' | 'kyber'> = before;
  // A message has 64 KiB, a Kyber key 2 KiB of them.
  for (let at = 0; at === 0 || at < Math.max(ec.length, kyber.length); at += KEYS_A_MESSAGE)
    left = await connection.request('prekeys.put', {
      ec: ec.slice(at, at + KEYS_A_MESSAGE).map(toBase64),
      kyber: kyber.slice(at, at + KEYS_A_MESSAGE).map(toBase64),
      ...(at > 0 || signed === undefined ? {} : { signed: toBase64(signed) }),
      ...(at > 0 || lastResort === undefined ? {} : { lastResort: toBase64(lastResort) }),
    });
  return {
    ...left,
    signed: signed === undefined ? before.signed : prekeyIdOf(signed),
    lastResort: lastResort === undefined ? before.lastResort : prekeyIdOf(lastResort),
  };
};

const KEYS_A_MESSAGE = 20;

/** Forgets the keys that nobody can use any more. To be called when the inbox was read. */
export const forgetKeys = (core: Core, connection: RoomConnection): Promise<boolean> =>
  changeKeys(core, connection, (set) => set.forget(core.clock.now()));

// The set is written when `step` gives that something has changed.
const changeKeys = <T>(
  core: Core,
  connection: RoomConnection,
  step: (set: PreKeySet, server: ServerRow) => T,
): Promise<T> =>
  core.queue.call(() => {
    const server = connection.row;
    const set = ownPreKeys(core, server);
    const changed = step(set, server);
    if (changed) commit(core, () => putPreKeys(core.db, server.id, set.serialize()));
    return changed;
  });

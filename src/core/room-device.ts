// This device on a server: that it was removed there, and how an account joins as another one.
import { makeDevice } from '../crypto/member.ts';
import { idBytes } from '../protocol/ids.ts';
import { forgetOurKey, listChannels, patchChannel } from '../store/channels.ts';
import { forgetSessions, getDevice, getMemberById, revokeDevice } from '../store/members.ts';
import { forgetAllSealed } from '../store/room-outbox.ts';
import { forgetPreKeys, patchServer, type ServerRow } from '../store/servers.ts';
import type { Changes, Core } from './core.ts';

const ownDevice = (core: Core, { id, memberId, deviceId }: ServerRow) => {
  const me = getMemberById(core.db, id, memberId);
  return me === undefined ? undefined : getDevice(core.db, me.id, deviceId);
};

/** Keeps that the server says that this device was removed by another one of its member. Inside a transaction. */
export const revokeOwn = (core: Core, server: ServerRow): void => {
  const own = ownDevice(core, server);
  if (own !== undefined) revokeDevice(core.db, own.id, core.clock.now());
};

/** Whether this device is known to be removed: the account joins that server as another one. */
export const isOwnRevoked = (core: Core, server: ServerRow): boolean => (ownDevice(core, server)?.revoked ?? 0) !== 0;

/** The keys of a new device of this account. */
export const newDevice = (core: Core, changes: Changes, serverKey: Uint8Array) => {
  const deviceSeed = core.random.bytes(32);
  const { member, device, certificate } = makeDevice(core.serversKey, serverKey, {
    seed: deviceSeed,
    serial: changes.at,
  });
  return { memberId: idBytes(member), deviceId: idBytes(device), deviceSeed, certificate };
};

/**
 * Makes this account another device of its member: what it holds stays, and what is bound to the one that was removed begins anew,
 * as sessions, prekeys, its key and its count in channels. What waits is sealed anew. Inside a transaction.
 */
export const becomeAnother = (core: Core, changes: Changes, server: ServerRow): void => {
  const { memberId: _same, ...device } = newDevice(core, changes, server.serverKey);
  patchServer(core.db, server.id, device);
  forgetSessions(core.db, server.id);
  forgetPreKeys(core.db, server.id);
  forgetAllSealed(core.db, server.id);
  for (const { id } of listChannels(core.db, server.id)) {
    patchChannel(core.db, id, { sent: 0, senderKey: null });
    forgetOurKey(core.db, id);
  }
};

// This device on a server: that it was removed there, and how an account joins as another one.
import { makeDevice, readDeviceCertificate, SERIAL_MAX } from '../crypto/member.ts';
import { SottoError } from '../protocol/errors.ts';
import { idBytes } from '../protocol/ids.ts';
import { forgetOurKey, listChannels, patchChannel } from '../store/channels.ts';
import { keepFormerDevice } from '../store/former-devices.ts';
import { forgetSessions, getDevice, getMemberById, putDevice, renewDevice, revokeDevice } from '../store/members.ts';
import { forgetAllSealed } from '../store/room-outbox.ts';
import { forgetPreKeys, patchServer, type ServerRow } from '../store/servers.ts';
import { type Changes, type Core, commit } from './core.ts';
import { theServer } from './room-rows.ts';

const ownDevice = (core: Core, { id, memberId, deviceId }: ServerRow) => {
  const me = getMemberById(core.db, id, memberId);
  return me === undefined ? undefined : getDevice(core.db, me.id, deviceId);
};

/** Keeps that the server says that this device was removed by another one of its member. Inside a transaction. */
export const revokeOwn = (core: Core, server: ServerRow): void => {
  const own = ownDevice(core, server);
  if (own !== undefined) revokeDevice(core.db, own.id, core.clock.now());
};

/** Keeps the certificate of this device among those of its member. Inside a transaction. */
export const keepOwn = (core: Core, changes: Changes, server: ServerRow, memberRow: number): void => {
  const { device, signingKey, signalKey, serial } = readDeviceCertificate(server.certificate, server.serverKey);
  const own = getDevice(core.db, memberRow, server.deviceId);
  const { certificate } = server;
  if (own === undefined) {
    const row = { memberRow, deviceId: idBytes(device), certificate, signingKey, signalKey, serial };
    putDevice(core.db, { ...row, createdAt: changes.at });
  } else if (own.serial !== serial) renewDevice(core.db, own.id, { certificate, serial });
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
 * Another certificate for this device, where the server has refused the one it has for a serial that is too low: it tells which
 * one its member needs, as their clocks differ and it may have been put back. False for any other error.
 */
export const renewCertificate = (core: Core, server: ServerRow, error: unknown): Promise<boolean> =>
  core.queue.call(() => {
    const least = error instanceof SottoError && error.code === 'certificate.invalid' ? error.details.least : undefined;
    if (typeof least !== 'number' || !Number.isInteger(least) || least < 0 || least > SERIAL_MAX) return false;
    const { certificate } = makeDevice(core.serversKey, server.serverKey, { seed: server.deviceSeed, serial: least });
    commit(core, () => patchServer(core.db, server.id, { certificate }));
    return true;
  });

/**
 * Our store was put back to before what this device has sealed: its keys and counts were used already, and the account goes on
 * as another device.
 */
export const goOnAsAnother = (core: Core, serverId: number): Promise<void> =>
  core.queue.call(() =>
    commit(core, (changes) => {
      const server = theServer(core.db, serverId);
      // What others seal before they know of the other is for this one.
      keepFormerDevice(core.db, serverId);
      becomeAnother(core, changes, server);
      const me = getMemberById(core.db, serverId, server.memberId);
      if (me === undefined) return;
      const detail =
        'this account was put back to an earlier state, and goes on as another device: what it said since may be missing here. If the one before runs nowhere else, end it: sotto server devices';
      changes.event({ kind: 'member.device', memberRow: me.id, detail });
    }),
  );

/**
 * Makes this account another device of its member: what it holds stays, and what is bound to the one that was removed begins anew,
 * as sessions, prekeys, its key and its counts. What waits is sealed anew. Inside a transaction.
 */
export const becomeAnother = (core: Core, changes: Changes, server: ServerRow): void => {
  const { memberId: _same, ...device } = newDevice(core, changes, server.serverKey);
  patchServer(core.db, server.id, { ...device, sealed: 0 });
  // That it was removed, too, may be all that is ever heard of it.
  const me = getMemberById(core.db, server.id, server.memberId);
  if (me !== undefined) keepOwn(core, changes, theServer(core.db, server.id), me.id);
  forgetSessions(core.db, server.id);
  forgetPreKeys(core.db, server.id);
  forgetAllSealed(core.db, server.id);
  for (const { id } of listChannels(core.db, server.id)) {
    patchChannel(core.db, id, { sent: 0, senderKey: null });
    forgetOurKey(core.db, id);
  }
};

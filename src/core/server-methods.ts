// The methods of an open account that are about servers, and calls on them.
import { expectedError, ProtocolError, SottoError } from '../protocol/errors.ts';
import { idBytes, idOf } from '../protocol/ids.ts';
import { makeInviteLink } from '../protocol/invite-link.ts';
import { INVITE_MS } from '../protocol/limits.ts';
import type { Answer } from '../protocol/server.ts';
import { parseStrictJson } from '../protocol/strict-json.ts';
import { getDevice, getMemberById, revokeDevice } from '../store/members.ts';
import { listServers, patchServer, type ServerRow } from '../store/servers.ts';
import { type Core, commit } from './core.ts';
import type { HandlersOf } from './methods.ts';
import { begins, isPrefix, noneWithId, only } from './references.ts';
import { callsOn } from './room-calls.ts';
import { connectionNow, connectionOf } from './room-control.ts';
import { allInvites } from './room-lists.ts';
import { findServer } from './room-names.ts';
import { serverObject } from './room-objects.ts';
import { theServer } from './room-rows.ts';
import { makeSecret, removeSecond, setSecond, showSecond } from './room-second.ts';
import { joinServer, leaveServer, memberNameOf } from './room-servers.ts';

/** Answers of `server.*` and `call.*`. */
export const SERVER_HANDLERS: HandlersOf<'server' | 'call'> = {
  'server.join': async ({ core, waits }, params) => {
    const { id, ...moved } = await joinServer(core, waits, params);
    return { ...serverShown(core, id), ...moved };
  },
  'server.list': ({ core }) => listServers(core.db).map((row) => serverObject(core, row)),
  'server.retry': async ({ core, files }, { server, timeoutMs }) => {
    const row = findServer(core.db, server);
    // Also where only the user could have changed something. What stands in the way is in what is shown.
    core.rooms.connect(row.id).start();
    const connection = await connectionNow(core, row, timeoutMs).catch((error: unknown) => {
      if (expectedError(error) === undefined) throw error;
      return undefined;
    });
    connection?.sender.retry();
    await core.queue.call(() => files.retry({ serverId: row.id }));
    return serverShown(core, row.id);
  },
  'server.leave': async ({ core }, { server, erase, timeoutMs }) => {
    const row = findServer(core.db, server);
    await leaveServer(core, row.id, { erase: erase === true, timeoutMs });
    return serverShown(core, row.id);
  },
  'server.invite': async ({ core }, { server, uses, expiresMs, role, timeoutMs }) => {
    const row = findServer(core.db, server);
    const wanted = {
      uses: uses ?? 1,
      role: role ?? 'member',
      expiresAt: core.clock.now() + (expiresMs ?? INVITE_MS),
    };
    const connection = await connectionOf(core, row, timeoutMs);
    const { invite, token } = await connection.request('invite.create', wanted).catch(refusedInvite);
    const { origin, serverKey, trust } = row;
    return inviteShown(row, invite, makeInviteLink({ origin, serverKey, trust, token }));
  },
  'server.invites': async ({ core }, { server, timeoutMs }) => {
    const row = findServer(core.db, server);
    const invites = await allInvites(await connectionOf(core, row, timeoutMs));
    return invites.map((invite) => inviteShown(row, invite));
  },
  'server.revoke': async ({ core }, { server, id, timeoutMs }) => {
    const row = findServer(core.db, server);
    const connection = await connectionOf(core, row, timeoutMs);
    const found = byPrefix(
      await allInvites(connection),
      id,
      'invite.unknown',
      `${noneWithId('invite', id)}: sotto server invites`,
    );
    await connection.request('invite.revoke', { invite: found.id });
    return { ...inviteShown(row, found), uses: 0 };
  },
  'server.devices': async ({ core }, { server, timeoutMs }) => {
    const row = findServer(core.db, server);
    return devicesOf(core, row, timeoutMs);
  },
  'server.revokeDevice': async ({ core }, { server, id, timeoutMs }) => {
    const row = findServer(core.db, server);
    const devices = await devicesOf(core, row, timeoutMs);
    const found = byPrefix(devices, id, 'device.unknown', `${noneWithId('device', id)}: sotto server devices`);
    await (await connectionOf(core, row, timeoutMs)).request('device.revoke', { device: found.id });
    // From here on it is told nothing by this device, whatever the server says of it.
    await core.queue.call(() => commit(core, () => forgetDevice(core, row, found.id)));
    return { ...found, revoked: true };
  },
  'server.secondCheck': ({ core }, params) => showSecond(core, params),
  'server.secondSecret': ({ core }, params) => makeSecret(core, params),
  'server.setSecondCheck': ({ core }, params) => setSecond(core, params),
  'server.removeSecondCheck': ({ core }, params) => removeSecond(core, params),
  'server.export': async ({ core }, { server, timeoutMs }) => {
    const row = findServer(core.db, server);
    const { json } = await (await connectionOf(core, row, timeoutMs)).request('member.export', {});
    const kept: unknown = parseStrictJson(json);
    if (typeof kept !== 'object' || kept === null || Array.isArray(kept)) throw new ProtocolError('frame.invalid');
    return { server: row.label, kept: kept as Record<string, unknown> };
  },
  'server.profile': async ({ core }, { server, name, status, timeoutMs }) => {
    const row = findServer(core.db, server);
    const { member } = await (await connectionOf(core, row, timeoutMs)).request('member.profile', {
      ...(name === undefined ? {} : { name: memberNameOf(name) }),
      ...(status === undefined ? {} : { status }),
    });
    await core.queue.call(() => commit(core, () => patchServer(core.db, row.id, { memberName: member.name })));
    return serverShown(core, row.id);
  },
  'call.list': async ({ core }, { server, timeoutMs }) => {
    const servers = server === undefined ? listServers(core.db) : [findServer(core.db, server)];
    const online = servers.filter((one) => server !== undefined || core.rooms.get(one.id)?.state === 'online');
    return (
      await Promise.all(online.map(async (one) => callsOn(core, await connectionOf(core, one, timeoutMs))))
    ).flat();
  },
};

const refusedInvite = (error: unknown): never => {
  if (expectedError(error)?.code !== 'registration.closed') throw error;
  throw new SottoError('registration.closed', {
    message: 'Nobody can join while registration is closed there: who runs the server opens it',
  });
};

const serverShown = (core: Core, id: number) => serverObject(core, theServer(core.db, id));

const inviteShown = (server: ServerRow, invite: Answer<'invite.create'>['invite'], link?: string) => ({
  id: invite.id,
  server: server.label,
  role: invite.role,
  uses: invite.usesLeft,
  createdAt: invite.createdAt,
  ...(invite.expiresAt === undefined ? {} : { expiresAt: invite.expiresAt }),
  ...(link === undefined ? {} : { link }),
});

const byPrefix = <T extends { readonly id: string }>(
  all: readonly T[],
  id: string,
  code: 'invite.unknown' | 'device.unknown',
  message: string,
): T => {
  const fit = isPrefix(id) ? all.filter((one) => begins(one.id, id)) : [];
  return only(fit, { code, message }, ({ id }) => ({ id }));
};

const forgetDevice = (core: Core, server: ServerRow, id: string): void => {
  const me = getMemberById(core.db, server.id, server.memberId);
  const device = me === undefined ? undefined : getDevice(core.db, me.id, idBytes(id));
  if (device !== undefined) revokeDevice(core.db, device.id, core.clock.now());
};

const devicesOf = async (core: Core, server: ServerRow, timeoutMs: number | undefined) => {
  const id = idOf(server.memberId);
  const connection = await connectionOf(core, server, timeoutMs);
  const [{ devices }, { on }] = await Promise.all([
    connection.request('member.devices', { members: [id] }),
    connection.request('second.show', {}),
  ]);
  return (devices[id] ?? []).map((one) => ({
    id: one.id,
    this: one.id === idOf(server.deviceId),
    addedAt: one.addedAt,
    revoked: one.revoked,
    secondCheck: on,
  }));
};

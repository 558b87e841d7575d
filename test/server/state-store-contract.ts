// What every state store promises.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type BlobHash, type ChannelId, type DeviceId, inboxOf, type MemberId } from '../../src/protocol/ids.ts';
import type { EventLog } from '../../src/server/event-log.ts';
import type { PrekeyRow, UploadRow } from '../../src/server/rows.ts';
import type { StateStore } from '../../src/server/state-store.ts';
import type { LogUnderTest } from './event-log-contract.ts';
import {
  auditLine,
  bytesOf,
  change,
  channelId,
  channelRow,
  deviceId,
  deviceRow,
  draft,
  furnish,
  inviteRow,
  memberId,
  memberRow,
  put,
  rowId,
} from './server.ts';

const CHANNEL = channelId(1);
const ALICE = memberId(1);
const hash = (n: number) => n.toString(16).padStart(64, 'b') as BlobHash;

/** Pages through a list of two at a time. */
const pages = async <T, K>(
  list: (after: K | undefined) => Promise<readonly T[]>,
  keyOf: (row: T) => K,
): Promise<T[]> => {
  const rows: T[] = [];
  for (;;) {
    const last = rows.at(-1);
    const page = await list(last === undefined ? undefined : keyOf(last));
    rows.push(...page);
    if (page.length === 0) return rows;
  }
};

/** Runs the promises of StateStore on what `make` gives: a server without members or channels. */
export const stateStoreContract = (name: string, make: () => Promise<LogUnderTest>): void => {
  describe(`${name} keeps the promises of a state store`, () => {
    let made: LogUnderTest;
    let log: EventLog;
    let state: StateStore;
    beforeEach(async () => {
      made = await make();
      ({ log, state } = made);
      await furnish(log, 3);
    });
    afterEach(() => made[Symbol.asyncDispose]());

    test('the server has a name and a rule for newcomers', async () => {
      const before = await state.getServer();
      expect(before).toMatchObject({ name: 'home', registration: 'invite' });
      expect(before.epoch).toBeGreaterThanOrEqual(Math.floor(made.clock.now() / 1000));
      await state.putServer({ registration: 'closed' }, auditLine());
      await state.putServer({ name: 'den' }, auditLine());
      expect(await state.getServer()).toEqual({ ...before, name: 'den', registration: 'closed' });
    });

    test('members: by id, by what the name looks like, in pages; a taken name is refused; an erased one is gone', async () => {
      const set = (member: MemberId, change: object) => ({ kind: 'memberSet', member, set: change }) as const;
      expect(await put(log, change([set(ALICE, { name: 'x', skeleton: 'member 2' })]))).toMatchObject({
        code: 'taken',
      });
      expect(await put(log, change([set(memberId(9), { status: 'x' })]))).toMatchObject({ code: 'no_such_member' });
      await put(log, change([set(ALICE, { name: 'Al', skeleton: 'al', role: 'admin', banned: true, status: 'here' })]));
      const alice = memberRow(1, { name: 'Al', skeleton: 'al', role: 'admin', banned: true, status: 'here' });
      expect([await state.getMember(ALICE), await state.getMemberByName('al')]).toEqual([alice, alice]);
      expect(await state.getMemberByName('member 1')).toBeUndefined();
      const ids = async () =>
        (
          await pages(
            (last: MemberId | undefined) => state.listMembers(last, 2),
            ({ id }) => id,
          )
        ).map(({ id }) => id);
      expect(await ids()).toEqual([1, 2, 3].map(memberId));
      await put(log, change([set(ALICE, { name: '', skeleton: null, erasedAt: 5 })]));
      expect(await ids()).toEqual([2, 3].map(memberId));
      expect([await state.countMembers(), (await state.getMember(ALICE))?.erasedAt]).toEqual([2, 5]);
      // Nothing that was under way brings them back.
      for (const late of [{ name: 'Al', skeleton: 'al' }, { status: 'here' }, { erasedAt: 9 }])
        expect(await put(log, change([set(ALICE, late)]))).toMatchObject({ code: 'no_such_member' });
      const device = deviceRow(5, { member: ALICE });
      expect(await put(log, change([{ kind: 'device', row: device }]))).toMatchObject({ code: 'no_such_member' });
      await put(log, change([set(memberId(2), { name: '', skeleton: null, erasedAt: 6 })]));
      expect(await put(log, change([{ kind: 'member', row: memberRow(7, { skeleton: 'al' }) }]))).toMatchObject({
        seq: 7,
      });
    });

    test('devices: serials only grow, a revoked one stays revoked and loses its prekeys', async () => {
      const add = (n: number, serial: number) => change([{ kind: 'device', row: deviceRow(n, { serial }) }]);
      const revoke = (n: number) => change([{ kind: 'deviceRevoked', device: deviceId(n) }]);
      const added = await log.append([add(1, 5), add(2, 5), add(3, 4), add(1, 9), add(4, 6)]);
      expect(added.map(({ kind }) => kind)).toEqual(['committed', 'refused', 'refused', 'refused', 'committed']);
      await state.putPrekeys(deviceId(1), [{ kind: 'ec', keyId: 1, body: bytesOf('key') }]);
      const revoked = await log.append([revoke(1), revoke(1), revoke(9), add(5, 6)]);
      expect(revoked.map(({ kind }) => kind)).toEqual(['committed', 'refused', 'refused', 'refused']);
      expect((await state.listDevices(ALICE)).map(({ id, revokedAt }) => [id, revokedAt])).toEqual([
        [deviceId(1), made.clock.now()],
        [deviceId(4), null],
      ]);
      const row = deviceRow(4, { serial: 6 });
      expect(await state.getDevice(deviceId(4))).toEqual(row);
      const isSame = async (n: number, certificate: Uint8Array<ArrayBuffer>) =>
        (await state.getCertified(deviceId(n), certificate))?.isSame;
      expect(await state.getCertified(deviceId(4), row.certificate)).toEqual({
        ...{ member: row.member, revokedAt: null },
        isSame: true,
      });
      expect([await isSame(4, bytesOf('other')), await isSame(99, row.certificate)]).toEqual([false, undefined]);
      expect(await state.getCertified(deviceId(1), bytesOf('other'))).toMatchObject({ revokedAt: made.clock.now() });
      expect(await state.countPrekeys(deviceId(1))).toEqual({ ec: 0, kyber: 0 });
    });

    test('how often a device has sealed something commits with its event, never goes back, and ends with the device', async () => {
      const add = change([{ kind: 'device', row: deviceRow(1) }]);
      const says = (times: number) => draft({ changes: [{ kind: 'sealed', device: deviceId(1), times }] });
      await put(log, add);
      expect(await state.getSealed(deviceId(1))).toBe(0);
      const seen: number[] = [];
      const twice = says(9);
      for (const one of [says(3), says(2), draft(), twice, twice]) {
        await log.append([one]);
        seen.push(await state.getSealed(deviceId(1)));
      }
      expect(seen).toEqual([3, 3, 3, 9, 9]);
      await put(log, change([{ kind: 'deviceRevoked', device: deviceId(1) }]));
      expect(await state.getSealed(deviceId(1))).toBe(0);
    });

    test('a one-time prekey is given to one asker, but for the newest; then the key of last resort, again and again', async () => {
      await put(log, change([{ kind: 'device', row: deviceRow(1) }]));
      const device = deviceId(1);
      const key = (kind: PrekeyRow['kind'], keyId: number) => ({ kind, keyId, body: bytesOf(`${kind} ${keyId}`) });
      expect(await state.takePrekeys(device)).toBeUndefined();
      await state.putPrekeys(device, [key('signed', 1), key('ec', 1), key('ec', 2)]);
      expect(await state.takePrekeys(device)).toBeUndefined();
      await state.putPrekeys(device, [key('last', 7), key('kyber', 3), { ...key('ec', 2), body: bytesOf('other') }]);
      await state.putPrekeys(device, [key('kyber', 4), key('ec', 3)]);
      expect(await state.countPrekeys(device)).toEqual({ ec: 3, kyber: 2 });
      const take = async (id: DeviceId) => {
        const bundle = await state.takePrekeys(id);
        return [bundle?.signed, bundle?.ec, bundle?.kyber].map((one) => one && Buffer.from(one.body).toString());
      };
      const taken = await Promise.all([take(device), take(device), take(device)]);
      expect(taken).toEqual([
        ['signed 1', 'ec 1', 'kyber 3'],
        ['signed 1', 'ec 2', 'last 7'],
        ['signed 1', undefined, 'last 7'],
      ]);
      await state.putPrekeys(device, [key('signed', 2), key('last', 8)]);
      expect(await take(device)).toEqual(['signed 2', undefined, 'last 8']);
      expect(await state.countPrekeys(device)).toEqual({ ec: 1, kyber: 1 });
      // An upload is repeated whose answer was lost: what was given is not given again.
      await state.putPrekeys(
        device,
        [1, 2, 3, 4, 5].flatMap((n) => [key('ec', n), key('kyber', n)]),
      );
      expect(await state.countPrekeys(device)).toEqual({ ec: 3, kyber: 2 });
      expect(await take(device)).toEqual(['signed 2', 'ec 3', 'kyber 4']);
    });

    test('an invite has so many uses, until it expires or is revoked', async () => {
      const use = async (n: number) => (await put(log, change([{ kind: 'inviteUsed', invite: rowId(n) }]))).kind;
      await state.putInvite(inviteRow(1), auditLine());
      await state.putInvite(inviteRow(2, { expiresAt: made.clock.now(), madeBy: ALICE }), auditLine());
      await state.putInvite(inviteRow(3), auditLine());
      expect([await use(1), await use(1), await use(1), await use(2)]).toEqual([
        ...['committed', 'committed', 'refused', 'refused'],
      ]);
      const revoke = (now: number) => state.removeInvite(rowId(3), now, auditLine({ kind: 'revoked' }));
      expect([await revoke(5), await revoke(6)]).toEqual([true, false]);
      expect(await state.listAudit({ kind: 'revoked', limit: 9 })).toHaveLength(1);
      expect(await use(3)).toBe('refused');
      expect(await state.getInvite(inviteRow(3).tokenHash)).toEqual(inviteRow(3, { revokedAt: 5 }));
      expect((await state.listInvitesOf(ALICE, 5)).map(({ id }) => id)).toEqual([rowId(2)]);
      const usable = [inviteRow(4), inviteRow(5)];
      for (const row of usable) await state.putInvite(row, auditLine());
      const now = made.clock.now();
      expect(await state.listInvitesUsable(now, undefined, 5)).toEqual(usable);
      expect(await state.listInvitesUsable(now, rowId(4), 5)).toEqual([usable[1]]);
    });

    test('channels: by id, by what the name looks like, in pages', async () => {
      await put(log, change([{ kind: 'channelSet', set: { slowMs: 9, retentionMs: 8 } }], { channel: CHANNEL }));
      const row = channelRow(1, { slowMs: 9, retentionMs: 8 });
      expect([await state.getChannel(CHANNEL), await state.getChannelByName(row.skeleton)]).toEqual([row, row]);
      const all = await pages(
        (last: ChannelId | undefined) => state.listChannels(last, 2),
        ({ id }) => id,
      );
      expect(all.map(({ id }) => id)).toEqual([1, 2, 3].map(channelId));
    });

    test('membership: where the last join was, from both sides, in pages', async () => {
      const become = (n: number, state: 'invited' | 'joined' | 'left', channel = CHANNEL, mutedUntil = 0) =>
        change([{ kind: 'membership', row: { member: memberId(n), state, role: 'member', mutedUntil } }], { channel });
      await log.append([
        become(1, 'invited'),
        become(1, 'joined'),
        become(2, 'joined'),
        become(1, 'joined', CHANNEL, 7),
      ]);
      const alice = { channel: CHANNEL, member: ALICE, state: 'joined', role: 'member', mutedUntil: 7, joinedSeq: 3 };
      expect(await state.getMembership(CHANNEL, ALICE)).toEqual(alice);
      await log.append([become(1, 'left'), become(1, 'joined'), become(1, 'joined', channelId(2))]);
      expect((await state.getMembership(CHANNEL, ALICE))?.joinedSeq).toBe(7);
      const mine = await pages(
        (last: ChannelId | undefined) => state.listMembershipsOf(ALICE, last, 1),
        ({ channel }) => channel,
      );
      const joined = () => Promise.all([CHANNEL, channelId(2), channelId(3)].map((one) => state.countJoined(one)));
      expect(await joined()).toEqual([2, 1, 0]);
      await log.append([become(2, 'left'), become(3, 'invited')]);
      expect(await joined()).toEqual([1, 1, 0]);
      expect(mine.map(({ channel }) => channel)).toEqual([CHANNEL, channelId(2)]);
      expect(await state.getMembership(channelId(3), ALICE)).toBeUndefined();
    });

    test('a second factor: each step and each code counts once', async () => {
      const row = { member: ALICE, passwordHash: bytesOf('p'), sealedTotp: bytesOf('t'), lastStep: 5, updatedAt: 1 };
      const codes = [bytesOf('one'), bytesOf('two')];
      await state.putSecondFactor(row, codes, auditLine());
      expect(await state.getSecondFactor(ALICE)).toEqual(row);
      const steps = await Promise.all([5, 6, 6, 4, 8, 7].map((step) => state.takeTotpStep(ALICE, step)));
      expect(steps).toEqual([false, true, false, false, true, false]);
      const taken = await Promise.all(
        ['one', 'one', 'three'].map((code) => state.takeRecoveryCode(ALICE, bytesOf(code))),
      );
      expect(taken).toEqual([true, false, false]);
      expect(await state.countRecoveryCodes(ALICE)).toBe(1);
      await state.putSecondFactor({ ...row, lastStep: 1 }, [bytesOf('new')], auditLine());
      const take = (code: string) => state.takeRecoveryCode(ALICE, bytesOf(code));
      expect([await take('two'), await take('new')]).toEqual([false, true]);
      await state.putSecondFactor(row, [bytesOf('newest')], auditLine());
      const remove = () => state.removeSecondFactor(ALICE, auditLine({ kind: 'removed' }));
      expect([await remove(), await remove()]).toEqual([true, false]);
      expect(await state.listAudit({ kind: 'removed', limit: 9 })).toHaveLength(1);
      expect([await state.getSecondFactor(ALICE), await take('newest')]).toEqual([undefined, false]);
      expect(await state.takeTotpStep(ALICE, 99)).toBe(false);
    });

    test('attempts are counted in windows, each subject for itself; a clock that was put back begins a new one', async () => {
      const count = (subject: string, now: number) => state.putAttempt('login', subject, { now, windowMs: 100 });
      const tries = [];
      for (const now of [1000, 1050, 1099, 1100, 1150, 900]) tries.push((await count('a', now)).tries);
      expect(tries).toEqual([1, 2, 3, 1, 2, 1]);
      expect(await count('b', 1000)).toEqual({ tries: 1, since: 1000 });
      expect(await state.getAttempt('login', 'b')).toEqual({ tries: 1, since: 1000 });
      expect(await state.getAttempt('login', 'c')).toBeUndefined();
      for (const since of [1000, 999]) await state.takeBackAttempt('login', 'b', since);
      expect(await count('b', 1001)).toEqual({ tries: 1, since: 1000 });
      await state.removeAttempts(1000);
      expect([await count('a', 950), await count('b', 1001)]).toEqual([
        { tries: 1, since: 950 },
        { tries: 2, since: 1000 },
      ]);
    });

    test('read markers move forward only, and may be said again', async () => {
      const mark = (seq: number, channel = CHANNEL) => state.putReadMarker({ member: ALICE, channel, seq });
      expect([await mark(3), await mark(2), await mark(3), await mark(4), await mark(1, channelId(2))]).toEqual([
        ...[true, false, true, true, true],
      ]);
      expect((await state.listReadMarkers(ALICE)).map(({ seq }) => seq)).toEqual([4, 1]);
    });

    const upload = (n: number, more: Partial<UploadRow> = {}): UploadRow => ({
      ...{ id: rowId(n), member: ALICE, channel: CHANNEL, hash: hash(n), size: 100, received: 0 },
      ...{ createdAt: 1, expiresAt: 50 + n, ...more },
    });

    test('uploads are there until they expire, or somebody goes on with them', async () => {
      await state.putUpload(upload(1));
      await state.putUpload(upload(2));
      await state.putUpload(upload(3));
      await state.putUploadExpiry(rowId(3), 90);
      expect(await state.getUpload(rowId(3))).toEqual(upload(3, { expiresAt: 90 }));
      expect(await state.getUploadOf(ALICE, CHANNEL, hash(2))).toEqual(upload(2));
      expect(await state.getUploadOf(ALICE, channelId(2), hash(2))).toBeUndefined();
      expect((await state.listUploadsOf(ALICE)).map(({ id }) => id)).toEqual([1, 2, 3].map(rowId));
      expect(await state.countFileBytes(ALICE)).toBe(300);
      expect((await state.listUploadsExpired(51, 9)).map(({ id }) => id)).toEqual([rowId(1)]);
      expect((await state.listUploadsExpired(53, 9)).map(({ id }) => id)).toEqual([rowId(1), rowId(2)]);
      await state.removeUpload(rowId(1));
      expect(await state.getUpload(rowId(1))).toBeUndefined();
      expect([await state.removeUploadExpired(rowId(3), 89), await state.removeUploadExpired(rowId(3), 90)]).toEqual([
        false,
        true,
      ]);
    });

    test('a blob is referred to once it is whole, and collected when nobody does', async () => {
      const refer = (n: number, expiresAt = 0) =>
        put(log, draft({ changes: [{ kind: 'file', hash: hash(n), expiresAt }] }));
      expect(await refer(1)).toMatchObject({ code: 'gone' });
      // What it is said to have counts until it is whole, and no longer.
      await state.putBlob(hash(1), { size: 1, isWhole: false, now: 10 });
      expect(await refer(1)).toMatchObject({ code: 'gone' });
      await state.putBlob(hash(1), { size: 70, isWhole: true, now: 11 });
      await state.putBlob(hash(2), { size: 7, isWhole: true, now: 12 });
      await state.putBlob(hash(1), { size: 9, isWhole: false, now: 13 });
      expect([await refer(1, 99), await refer(1, 100)]).toMatchObject([{ kind: 'committed' }, { kind: 'committed' }]);
      expect(await state.getBlobRef(CHANNEL, hash(1))).toMatchObject({ member: ALICE, expiresAt: 100 });
      expect(await state.getBlobRef(channelId(2), hash(1))).toBeUndefined();
      expect(await state.listBlobRefsOf(ALICE, 1)).toEqual([await state.getBlobRef(CHANNEL, hash(1))]);
      expect(await state.countFileBytes(ALICE)).toBe(70);
      expect([await state.getBlob(hash(1)), await state.getBlob(hash(3))]).toEqual([
        { size: 70, isWhole: true },
        undefined,
      ]);
      expect(await state.listBlobsUnused(99, 9)).toEqual([hash(2)]);
      expect([await state.removeBlob(hash(1), 99), await state.removeBlob(hash(2), 12)]).toEqual([false, false]);
      expect(await state.removeBlobRefsExpired(99, 9)).toEqual([]);
      expect(await state.removeBlob(hash(1), 99)).toBe(false);
      expect(await state.removeBlobRefsExpired(100, 9)).toEqual([hash(1)]);
      await refer(1);
      await state.removeBlobRef(channelId(2), hash(1));
      expect(await state.removeBlob(hash(1), 99)).toBe(false);
      await state.removeBlobRef(CHANNEL, hash(1));
      expect([await state.removeBlob(hash(1), 99), await state.removeBlob(hash(2), 13)]).toEqual([true, true]);
    });

    test('the audit log is told by actor, target, kind and time, newest first', async () => {
      const line = (n: number, kind: string, actor: MemberId | null, target = '') =>
        ({ id: rowId(n), at: n, actor, kind, target, detail: '{}' }) as const;
      await state.putAudit(line(1, 'ban', ALICE, 'x'));
      await state.putAudit(line(2, 'invite', null));
      await put(log, change([{ kind: 'audit', row: line(3, 'ban', null, 'y') }]));
      const ids = async (filter: object) => (await state.listAudit({ limit: 9, ...filter })).map(({ at }) => at);
      expect(await ids({})).toEqual([3, 2, 1]);
      expect(await ids({ limit: 1, before: rowId(3) })).toEqual([2]);
      expect([await ids({ actor: ALICE }), await ids({ actor: null }), await ids({ kind: 'ban', since: 2 })]).toEqual([
        ...[[1], [3, 2], [3]],
      ]);
      expect(await ids({ target: 'x' })).toEqual([1]);
      await state.removeAudit(3);
      expect(await ids({})).toEqual([3]);
    });

    test('what is done and its line of the audit log are there together, or neither', async () => {
      const line = auditLine();
      await state.putAudit(line);
      const factor = { member: ALICE, passwordHash: bytesOf('p'), sealedTotp: bytesOf('t'), lastStep: 5, updatedAt: 1 };
      await state.putInvite(inviteRow(1), auditLine());
      await state.putSecondFactor({ ...factor, member: memberId(2) }, [], auditLine());
      const acts = [
        () => state.putServer({ name: 'den' }, line),
        () => state.putInvite(inviteRow(2), line),
        () => state.removeInvite(rowId(1), 5, line),
        () => state.putSecondFactor(factor, [], line),
        () => state.removeSecondFactor(memberId(2), line),
      ];
      for (const act of acts) await expect(act()).rejects.toThrow();
      expect((await state.getServer()).name).toBe('home');
      expect(await state.listInvitesUsable(1, undefined, 9)).toEqual([inviteRow(1)]);
      expect(await state.getSecondFactor(ALICE)).toBeUndefined();
      expect(await state.getSecondFactor(memberId(2))).toBeDefined();
    });

    test('a job has one runner; who has lost the lease cannot say that it is done', async () => {
      const take = (now: number) => state.takeJob('prune', { now, leaseMs: 10 });
      const [one, none] = [await take(100), await take(109)];
      const two = await take(110);
      expect([one?.fencing, none, two?.fencing]).toEqual([1, undefined, 2]);
      expect([await state.putJobDone('prune', 1, 111), await state.putJobDone('prune', 2, 112)]).toEqual([false, true]);
      expect(await state.listJobs()).toEqual([{ name: 'prune', leaseUntil: 0, fencing: 2, doneAt: 112 }]);
      expect((await take(113))?.fencing).toBe(3);
      expect([await state.putJobFailed('prune', 2), await state.putJobFailed('prune', 3)]).toEqual([false, true]);
      expect((await take(114))?.fencing).toBe(4);
      // The clock was ahead when it was taken.
      expect([await take(104), (await take(103))?.fencing]).toEqual([undefined, 5]);
    });

    test('what belongs to a member who goes is removed, and nothing of others', async () => {
      for (const n of [1, 2]) {
        await put(log, change([{ kind: 'device', row: deviceRow(n, { member: memberId(n) }) }]));
        await state.putPrekeys(deviceId(n), [{ kind: 'ec', keyId: 1, body: bytesOf('key') }]);
        await state.putReadMarker({ member: memberId(n), channel: CHANNEL, seq: 1 });
        await state.putUpload(upload(n, { member: memberId(n) }));
        const row = {
          member: memberId(n),
          passwordHash: bytesOf('p'),
          sealedTotp: bytesOf('t'),
          lastStep: 5,
          updatedAt: 1,
        };
        await state.putSecondFactor(row, [bytesOf('one')], auditLine());
      }
      await put(log, draft({ channel: inboxOf(memberId(3)) }));
      await put(log, change([{ kind: 'memberSet', member: ALICE, set: { erasedAt: 5 } }]));
      await put(log, change([{ kind: 'memberSet', member: memberId(3), set: { erasedAt: 5 } }]));
      const erased = (last?: MemberId) => state.listErasedWithBelongings(last, 9);
      expect([await erased(), await erased(ALICE)]).toEqual([[ALICE, memberId(3)], [memberId(3)]]);
      await state.removeBelongings(ALICE);
      await log.prune(inboxOf(memberId(3)), 1);
      expect(await erased()).toEqual([]);
      const left = async (n: number) => [
        (await state.countPrekeys(deviceId(n))).ec,
        (await state.listReadMarkers(memberId(n))).length,
        (await state.listUploadsExpired(0, 9)).filter(({ member }) => member === memberId(n)).length,
        await state.takeRecoveryCode(memberId(n), bytesOf('one')),
      ];
      expect([await left(1), await left(2)]).toEqual([
        [0, 0, 1, false],
        [1, 1, 0, true],
      ]);
    });
  });
};

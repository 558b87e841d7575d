import { describe, expect, test, vi } from 'vitest';
import { systemRandom } from '../../src/machine.ts';
import { toBase64 } from '../../src/protocol/bytes.ts';
import { idOf, type MemberId } from '../../src/protocol/ids.ts';
import { TOTP_STEP_MS } from '../../src/protocol/limits.ts';
import { totp } from '../../src/server/second.ts';
import { Hosted, type Member } from './scene.ts';

describe('a server', () => {
  test('lets members register, create, join, talk live and read back', async () => {
    await using hosted = await Hosted.start();
    const [alice, bob] = [hosted.member('alice'), hosted.member('bob')];
    const { member } = await alice.join();
    expect(member).toMatchObject({ name: 'alice', role: 'member', banned: false });
    await bob.join();
    const ops = await alice.create('ops');
    const { channel } = await bob.client.request('channel.find', { name: 'Ops' });
    expect(channel).toMatchObject({ id: ops.channel, encryption: 'open', members: 1, joined: false });
    await bob.control(ops, { op: 'join' });
    await bob.client.request('resume', { cursors: { [ops.channel]: [channel.head.epoch, 0, null] } });
    await alice.say(ops.channel, 'one');
    const two = await bob.say(ops.channel, 'two');
    expect(two.seq).toBe(4);
    expect(bob.texts(ops.channel)).toEqual(['one', 'two']);
    const page = await alice.client.events('log.page', { channel: ops.channel, after: 2 });
    expect(page.events.map(({ body }) => Buffer.from(body).toString())).toEqual(['one', 'two']);
    expect(page.answer).toMatchObject({ events: 2, head: { seq: 4 } });
  });

  test('takes no word about somebody who is no member, and goes on', async () => {
    await using hosted = await Hosted.start();
    const alice = hosted.member('alice');
    await alice.join();
    const nobody = idOf<MemberId>(new Uint8Array(16).fill(7));
    const ops = await alice.create('ops');
    for (const op of ['invite', 'add', 'ban'] as const)
      await expect(alice.control(ops, { op, member: nobody })).rejects.toMatchObject({ code: 'member.unknown' });
    await alice.say(ops.channel, 'one');
    expect(hosted.server.connections).toBe(1);
  });

  test('lets two new devices of one member in that come at once', async () => {
    await using hosted = await Hosted.start();
    const one = hosted.member('alice');
    const two = one.another();
    const come = async (...devices: readonly Member[]) => {
      await Promise.all(devices.map((device) => device.dial()));
      const release = hosted.hold();
      const logins = devices.map((device) => device.client.login(device.keys(), { register: { name: 'alice' } }));
      await hosted.waiting(1);
      release();
      return Promise.allSettled(logins);
    };
    expect(await come(one, two)).toMatchObject([
      { value: { member: { name: 'alice' } } },
      { value: { member: { name: 'alice' } } },
    ]);
    const more = [one.another(), one.another()];
    more.forEach((device, i) => {
      device.serial = 4 - i;
    });
    // Who is behind is told what serial it needs.
    expect(await come(...more)).toMatchObject([
      { status: 'fulfilled' },
      { status: 'rejected', reason: { code: 'certificate.invalid', details: { least: 5 } } },
    ]);
  });

  test('takes one second check of two that come at once', async () => {
    await using hosted = await Hosted.start();
    const one = hosted.member('alice');
    await one.join();
    const phone = one.another();
    await phone.join();
    const secret = systemRandom.bytes(20);
    const code = totp(secret, Math.floor(Date.now() / TOTP_STEP_MS));
    const sets = [one, phone].map(({ client }, i) =>
      client.request('second.set', { password: `a password of ${i}`, secret: toBase64(secret), code }),
    );
    const ends = await Promise.allSettled(sets);
    expect(ends.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(ends.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'login.second' } });
  });

  test('is found again by its members after a restart, with everything that it answered', async () => {
    await using hosted = await Hosted.start();
    const alice = hosted.member('alice');
    await alice.join();
    const ops = await alice.create('ops');
    for (let i = 0; i < 5; i++) await alice.say(ops.channel, `text ${i}`);
    await hosted.close();
    await hosted.open();
    await alice.join();
    const { answer } = await alice.client.events('log.page', { channel: ops.channel, limit: 2 });
    const cursor: [number, number, string | null] = [answer.head.epoch, 0, null];
    await alice.client.request('resume', { cursors: { [ops.channel]: cursor } });
    expect(alice.texts(ops.channel)).toEqual(['text 0', 'text 1', 'text 2', 'text 3', 'text 4']);
  });

  test('closes its connections when it ends by a fault of ours', async () => {
    await using hosted = await Hosted.start();
    const alice = hosted.member('alice');
    await alice.join();
    vi.spyOn(hosted.server.jobs, Symbol.asyncDispose).mockRejectedValueOnce(new Error('a fault'));
    await expect(hosted.server[Symbol.asyncDispose]()).rejects.toThrow('a fault');
    await expect.poll(() => hosted.server.connections).toBe(0);
  });
});

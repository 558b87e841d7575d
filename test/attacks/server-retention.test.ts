// A server that forgets what is older than a channel keeps, and daemons that were away meanwhile: that is no lie, and hides none.
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { ChannelObject } from '../../src/protocol/rpc-rooms.ts';
import { EVENT } from '../../src/protocol/server-frames.ts';
import { type Guest, House } from '../rooms/house.ts';
import { aboutEvents, aboutHeads, Double, either } from './double.ts';

const HOUR = 3_600_000;
const PASSPHRASE = 'the wreck of the batavia';

let server: Double;
let house: House<Double>;
let alice: Guest;
let bob: Guest;

beforeAll(async () => {
  server = await Double.start();
  ({ house, alice, bob } = await House.around(server, 'alice', 'bob'));
});

afterEach(() => server.honest());
afterAll(() => house[Symbol.asyncDispose]());

const show = (guest: Guest, channel: string): Promise<ChannelObject> => guest.call('channel.show', { channel });
const gapsOf = async (guest: Guest, channel: string) => (await show(guest, channel)).gaps;

/** A channel of alice's that keeps an hour, with bob in it; what both have said is read. */
const gather = async (channel: string, encryption: ChannelObject['encryption']): Promise<void> => {
  const secret = encryption === 'passphrase' ? { passphrase: PASSPHRASE } : {};
  await alice.call('channel.create', { name: channel, encryption, ...secret });
  await alice.call('channel.set', { channel, retentionMs: HOUR });
  if (encryption === 'members') await alice.call('channel.invite', { channel, member: 'bob' });
  await bob.call('channel.join', { channel, ...secret });
  await alice.sees('both', async () => (await show(alice, channel)).memberCount === 2);
  await alice.say(channel, 'one');
  await bob.reads(channel, 'one');
  await bob.say(channel, 'by bob');
  await alice.reads(channel, 'by bob');
};

const sleep = async (guest: Guest): Promise<void> => {
  guest.disconnect();
  await guest.user.ok('daemon', 'stop');
};

const forgetAll = async (): Promise<void> => {
  server.hosted.shift(2 * HOUR);
  await server.hosted.server.jobs.run('retain');
};

test('who was away while a channel forgot sees what is gone, and nobody a lie', async () => {
  const kinds = ['open', 'passphrase', 'members'] as const;
  for (const kind of kinds) await gather(`#${kind}`, kind);
  await sleep(bob);
  for (const kind of kinds) {
    await alice.say(`#${kind}`, 'two');
    // One that is kept, and is counted as what was said is.
    await alice.call('channel.set', { channel: `#${kind}`, slowMs: 0 });
    await alice.say(`#${kind}`, 'three');
  }
  await forgetAll();
  for (const kind of kinds) await alice.say(`#${kind}`, 'four');
  await bob.back();
  for (const channel of kinds.map((kind) => `#${kind}`)) {
    await bob.reads(channel, 'four');
    await alice.say(channel, 'five');
    await bob.reads(channel, 'five');
    await bob.say(channel, 'and bob');
    await alice.reads(channel, 'and bob');
    expect(await bob.bodies(channel)).toEqual(['one', 'by bob', 'four', 'five', 'and bob']);
    const last = (await bob.messages(channel))[1]?.seq ?? 0;
    const gone = { fromSeq: last + 1, toSeq: last + 3, reason: 'the server no longer keeps it' };
    // What alice had received before it was forgotten she holds.
    expect([channel, await gapsOf(bob, channel), await gapsOf(alice, channel)]).toEqual([channel, [gone], []]);
  }
});

test('leaves out something behind what it no longer keeps: that is told', async () => {
  const channel = '#behind';
  await gather(channel, 'open');
  const { id } = await show(bob, channel);
  const theirs = (await bob.call('server.list', {}))[0]?.memberId ?? '';
  await sleep(bob);
  await alice.say(channel, 'two');
  await forgetAll();
  const { seq = 0 } = await alice.say(channel, 'left out');
  await alice.say(channel, 'three');
  // The log that bob sees goes on where it is kept.
  server.lie = either(
    aboutEvents((event, member) => {
      if (event.channel !== id || member !== theirs || event.seq < seq) return undefined;
      return event.seq === seq ? [] : [{ ...event, seq: event.seq - 1 }];
    }),
    aboutHeads(id, theirs, -1),
  );
  await bob.back();
  await bob.reads(channel, 'three');
  const gaps = await gapsOf(bob, channel);
  expect(gaps).toContainEqual({ fromSeq: seq - 1, toSeq: seq - 1, reason: 'the server no longer keeps it' });
  const told = expect.stringContaining('the server left out something of alice’s');
  expect(gaps).toContainEqual({ fromSeq: seq, toSeq: seq, reason: told });
});

test('what was stored and forgotten before its author was shown it is sent, and no lie', async () => {
  const channel = '#unseen';
  await gather(channel, 'members');
  const theirs = (await alice.call('server.list', {}))[0]?.memberId ?? '';
  // Alice ends between the answer and the event.
  server.lie = aboutEvents((event, member) => (member === theirs && event.kind === EVENT.content ? [] : undefined));
  const { id } = await alice.say(channel, 'two');
  await bob.reads(channel, 'two');
  await sleep(alice);
  server.honest();
  await forgetAll();
  await bob.say(channel, 'three');
  await alice.back();
  await alice.reads(channel, 'three');
  expect((await alice.call('message.show', { id })).state).toBe('sent');
  expect((await gapsOf(alice, channel))?.map(({ reason }) => reason)).toEqual(['the server no longer keeps it']);
});

test('who was out while a channel forgot, and may read it from its creation on, is told what is gone; a topic goes with it', async () => {
  const channel = '#back';
  await gather(channel, 'open');
  await alice.call('channel.topic', { channel, topic: 'before' });
  await bob.call('channel.leave', { channel });
  await alice.say(channel, 'two');
  await forgetAll();
  await bob.call('channel.join', { channel });
  await alice.say(channel, 'three');
  await bob.reads(channel, 'three');
  expect((await gapsOf(bob, channel))?.map(({ reason }) => reason)).toEqual(['the server no longer keeps it']);
  // What nobody can know who came late: it is set anew.
  const late = await house.guest('carol');
  await late.call('server.join', { link: await alice.invite(), name: 'carol', label: 'home' });
  await late.call('channel.join', { channel });
  expect([(await show(late, channel)).topic, (await show(alice, channel)).topic]).toEqual([undefined, 'before']);
  await alice.call('channel.topic', { channel, topic: 'before' });
  await late.sees('the topic', async () => (await show(late, channel)).topic === 'before');
});

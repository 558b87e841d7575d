// Calls as an account sees them, through its daemon and command line: who is in one, and what becomes of it when the server dies.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock, systemRandom } from '../../src/machine.ts';
import type { ServerTarget } from '../../src/ports.ts';
import { parseInviteLink } from '../../src/protocol/invite-link.ts';
import type { CallObject } from '../../src/protocol/rpc-rooms.ts';
import { CLOSE } from '../../src/protocol/websocket.ts';
import { Caller } from '../../src/testing/caller.ts';
import { type Guest, House } from './house.ts';
import { Member, type Room } from './scene.ts';

let house: House;
let alice: Guest;
let dave: Member;
let room: Room;
let target: ServerTarget;

beforeAll(async () => {
  ({ house, alice } = await House.open('alice'));
  const { origin, serverKey, token } = parseInviteLink(await alice.invite());
  target = { origin, serverKey, trust: 'pinned' };
  dave = new Member({ target, member: (name) => new Member({ target, member: () => dave }, name) }, 'dave');
  await dave.join(token);
  room = await dave.create('den');
  await alice.call('channel.join', { channel: '#den' });
});
afterAll(async () => {
  dave.leave();
  await house[Symbol.asyncDispose]();
});

/** The last that was told of a call. */
const told = (): CallObject | undefined => alice.events.filter(({ kind }) => kind === 'voice.changed').at(-1)?.call;
const sees = (what: string, look: (call: CallObject) => boolean) =>
  alice.sees(what, async () => {
    const call = told();
    return call !== undefined && look(call);
  });

test('who comes into the call of a channel is told, listed, and gone with the server: nothing of it is on its disk', async () => {
  const { call, ticket } = await dave.client.request('call.join', { channel: room.channel });
  const secret = Buffer.from(ticket, 'base64');
  const caller = await Caller.open({
    target,
    ticket: secret,
    clock: systemClock,
    random: systemRandom,
    frame: () => {},
  });
  await sees('a call', ({ people }) => people[0]?.linked === true);
  await dave.client.request('call.set', { channel: room.channel, muted: true, deafened: false });
  await sees('that Dave is muted', ({ people }) => people[0]?.muted === true);
  const person = { id: dave.id, name: 'dave', mine: false, muted: true, deafened: false, linked: true };
  expect(told()).toMatchObject({ id: call.call, conversation: '#den@home', server: 'home', people: [person] });
  expect(await alice.call('call.list', {})).toEqual([told()]);
  expect((await alice.user.ok('call', 'list', { json: false })).out).toMatch(
    /^#den@home {2}since .+ {2}dave \(muted\)$/m,
  );

  await house.server.stop('SIGKILL');
  expect((await caller.ended).code).toBe(CLOSE.broken);
  const files = readdirSync(house.server.data, { recursive: true }) as string[];
  for (const path of files.map((name) => join(house.server.data, name)).filter((one) => statSync(one).isFile()))
    for (const trace of [secret, Buffer.from(call.call, 'hex'), Buffer.from(call.call)])
      expect(readFileSync(path).includes(trace), path).toBe(false);
  await house.server.start();
  await sees('that it is over', ({ people }) => people.length === 0);
  expect(await alice.call('call.list', {})).toEqual([]);
});

test('a call by a member concerns those whom they may write to', async () => {
  await dave.closed;
  await dave.join();
  const { memberId = '' } = (await alice.call('server.list', {}))[0] ?? {};
  const ring = () => dave.client.request('call.join', { channel: memberId });
  const { call } = await ring();
  expect(await alice.call('call.list', {})).toEqual([]);
  await dave.client.request('call.leave', { channel: memberId });
  expect(told()?.id).not.toBe(call.call);
  await alice.call('message.send', { conversation: 'dave@home', text: 'hello' }).catch(() => {});
  await ring();
  await sees('a call by Dave', ({ conversation, people }) => conversation === 'dave@home' && people.length === 1);
  await dave.client.request('call.leave', { channel: memberId });
  await sees('that it is over', ({ people }) => people.length === 0);
});

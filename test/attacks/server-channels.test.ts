// A server that lies about channels, to daemons: what it invents, moves, repeats or holds back is refused, or shown by name.
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { channelOf, creationScope, signEvent, ZERO_HASH } from '../../src/crypto/room-event.ts';
import { systemRandom } from '../../src/machine.ts';
import { type ChannelId, type EventId, inboxOf, timedId } from '../../src/protocol/ids.ts';
import type { ChannelObject } from '../../src/protocol/rpc-rooms.ts';
import { EVENT, type LogEvent } from '../../src/protocol/server-frames.ts';
import { type Guest, House } from '../rooms/house.ts';
import type { Member, Room } from '../rooms/scene.ts';
import { aboutAnswers, aboutEvents, aboutHeads, Double, either, type Lie, type Saying } from './double.ts';

let server: Double;
let house: House<Double>;
let alice: Guest;
let bob: Guest;
let carol: Guest;
/** Whom the server has registered for itself. */
let mallory: Member;

beforeAll(async () => {
  server = await Double.start();
  const { house: made, ...guests } = await House.around(server, 'alice', 'bob', 'carol');
  house = made;
  ({ alice, bob, carol } = guests);
  const invite = await alice.call('server.invite', { uses: 1 });
  mallory = server.hosted.member('mallory');
  await mallory.join(new URL(invite.link ?? '').searchParams.get('token') ?? '');
});

afterEach(() => server.honest());
afterAll(() => house[Symbol.asyncDispose]());

const idOf = async (guest: Guest): Promise<string> => (await guest.call('server.list', {}))[0]?.memberId ?? '';
const show = (guest: Guest, channel: string): Promise<ChannelObject> => guest.call('channel.show', { channel });
const reasons = async (guest: Guest, channel: string): Promise<string[]> =>
  ((await show(guest, channel)).gaps ?? []).map(({ reason }) => reason);
const namesIn = async (guest: Guest, channel: string): Promise<string[]> =>
  ((await show(guest, channel)).members ?? []).map(({ name, role }) => `${name} ${role}`);

/** A channel of alice's with bob and carol in it, level with each other. */
const gather = async (channel: string, encryption: 'open' | 'members' = 'members'): Promise<string> => {
  await alice.call('channel.create', { name: channel, encryption });
  for (const guest of [bob, carol]) {
    if (encryption === 'members') await alice.call('channel.invite', { channel, member: guest.name });
    await guest.call('channel.join', { channel });
  }
  for (const guest of [alice, bob, carol])
    await guest.sees('all three', async () => (await show(guest, channel)).memberCount === 3);
  return (await show(alice, channel)).id;
};

/** Waits for a gap with this reason, as `read` and `why` tell it. */
const told = async (guest: Guest, channel: string, reason: string | RegExp): Promise<void> => {
  await guest.sees(`${reason} among ${await reasons(guest, channel)}`, async () =>
    (await reasons(guest, channel)).some((one) =>
      typeof reason === 'string' ? one.includes(reason) : reason.test(one),
    ),
  );
};

/** What the server puts into its log by itself. */
const append = async (channel: string, event: Pick<LogEvent, 'id' | 'member' | 'kind' | 'body'>): Promise<void> => {
  await server.context.append({
    channel: channel as ChannelId,
    id: event.id as EventId,
    member: event.member as never,
    kind: event.kind,
    body: event.body,
    checkedAt: Number.MAX_SAFE_INTEGER,
    changes: [],
  });
};

/** The room as the server knows it: what mallory needs to sign something there. */
const roomOf = async (channel: string): Promise<Room> => {
  const known = await server.context.states.get(channel as ChannelId);
  if (known === undefined) throw new Error('no such channel');
  return { channel: channel as ChannelId, hash: known.state.hash, chain: new Uint8Array(known.state.head) };
};

const isContent = (channel: string, event: LogEvent): boolean =>
  event.channel === channel && event.kind === EVENT.content;

test('invents a member: what is signed by nobody who may is shown, and lets nobody in', async () => {
  const channel = await gather('#invents');
  const room = await roomOf(channel);
  const added = mallory.signed(room, { op: 'add', member: mallory.id });
  await append(channel, { ...added, member: mallory.id });
  await told(bob, '#invents', 'mallory, who is not in the channel');
  // The same under the name of who may.
  const again = mallory.signed(room, { op: 'add', member: mallory.id });
  await append(channel, { ...again, member: await idOf(alice) });
  await told(bob, '#invents', 'what the server shows as alice’s was signed as something else');
  expect(await namesIn(bob, '#invents')).toEqual(['alice owner', 'bob member', 'carol member']);
  const read = await bob.user.run('read', '#invents', { json: false });
  expect(read.err).toContain('mallory, who is not in the channel');
  expect((await bob.user.run('why', '#invents', { json: false })).err).toContain('was signed as something else');
});

test('reports a join to obtain history: who was not invited is not let in, and given no key', async () => {
  const channel = await gather('#joins');
  const inbox = async () => (await server.context.log.heads([inboxOf(mallory.id)]))[0]?.seq ?? 0;
  const before = await inbox();
  await append(channel, { ...mallory.signed(await roomOf(channel), { op: 'join' }), member: mallory.id });
  await told(alice, '#joins', 'mallory is not let in');
  await alice.say('#joins', 'for the three of us');
  await bob.reads('#joins', 'for the three of us');
  expect(await namesIn(alice, '#joins')).not.toContain('mallory member');
  expect(await inbox()).toBe(before);
});

test('invents a role: a member does not become an owner, nor an owner a member', async () => {
  const channel = await gather('#roles', 'open');
  await append(channel, { ...mallory.signed(await roomOf(channel), { op: 'join' }), member: mallory.id });
  await bob.sees('mallory', async () => (await namesIn(bob, '#roles')).includes('mallory member'));
  server.context.states.forget(channel as ChannelId);
  const known = await server.context.states.get(channel as ChannelId);
  const room = { ...(await roomOf(channel)), chain: new Uint8Array(known?.state.head ?? []) };
  await append(channel, {
    ...mallory.signed(room, { op: 'role', member: mallory.id, role: 'owner' }),
    member: mallory.id,
  });
  await told(bob, '#roles', 'mallory may not do what the server shows of mallory');
  expect(await namesIn(bob, '#roles')).toContain('mallory member');
});

test('lets somebody speak who may not, or about what is another’s: nothing of it is read or done', async () => {
  const channel = await gather('#uninvited', 'open');
  const says = async (content: Parameters<Member['written']>[1]): Promise<void> => {
    const said = mallory.written(await roomOf(channel), content);
    await append(channel, { ...said, member: mallory.id });
  };
  const text = (words: string) => ({ kind: 'text', text: words }) as const;
  await says(text('not in it'));
  await told(bob, '#uninvited', 'mallory, who is not in the channel');
  await mallory.control(await roomOf(channel), { op: 'join' });
  await bob.sees('mallory', async () => (await namesIn(bob, '#uninvited')).includes('mallory member'));
  await says(text('in it'));
  const target = (await bob.reads('#uninvited', 'in it')).id as EventId;
  const mine = (await alice.say('#uninvited', 'mine')).id as EventId;
  await says({ kind: 'edit', target: mine, number: 1, text: 'forged' });
  await says({ kind: 'pin', target, on: true });
  await says({ kind: 'topic', text: 'of mallory' });
  await told(bob, '#uninvited', 'mallory may not do what the server shows of mallory');
  await alice.call('channel.mute', { channel: '#uninvited', member: 'mallory', muted: true });
  await says(text('muted'));
  await alice.call('channel.kick', { channel: '#uninvited', member: 'mallory' });
  await says(text('removed'));
  await alice.call('channel.ban', { channel: '#uninvited', member: 'mallory' });
  await says(text('banned'));
  await alice.say('#uninvited', 'the last word');
  await bob.reads('#uninvited', 'the last word');
  for (const guest of [alice, bob])
    expect(await guest.bodies('#uninvited')).toEqual(['in it', 'mine', 'the last word']);
  expect((await bob.call('message.show', { id: target })).pinnedAt).toBeUndefined();
  expect((await show(bob, '#uninvited')).topic).toBeUndefined();
});

test('erases for somebody what is another’s: it stays with everybody', async () => {
  const channel = await gather('#kept', 'open');
  const [target, own] = [(await alice.say('#kept', 'mine')).id, (await carol.say('#kept', 'hers')).id] as EventId[];
  await mallory.control(await roomOf(channel), { op: 'join' });
  const erase = mallory.signed(await roomOf(channel), { op: 'erase', target: target as EventId });
  await append(channel, { ...erase, member: mallory.id });
  await carol.call('message.delete', { id: own ?? '' });
  await bob.sees('a deletion', async () => (await bob.bodies('#kept')).includes(''));
  for (const guest of [alice, bob]) expect(await guest.bodies('#kept')).toEqual(['mine', '']);
});

test('relabels a sender: it is not read as somebody else’s', async () => {
  const channel = await gather('#labels');
  const [ours, theirs] = [await idOf(bob), await idOf(carol)];
  server.lie = aboutEvents((event, member) =>
    isContent(channel, event) && member === theirs ? [{ ...event, member: ours }] : undefined,
  );
  await alice.say('#labels', 'by alice');
  await bob.reads('#labels', 'by alice');
  await carol.sees('what is amiss', async () => (await reasons(carol, '#labels')).length > 0);
  expect(await carol.bodies('#labels')).toEqual([]);
});

test('shows our own as somebody else’s, or elsewhere: it counts as nobody’s there, and the daemon goes on', async () => {
  const [channel, other] = [await gather('#ours'), await gather('#other')];
  const ours = await idOf(alice);
  const elsewhere = (await server.context.log.heads([other as ChannelId]))[0] ?? { epoch: 0, seq: 0 };
  server.lie = aboutEvents((event, member) =>
    isContent(channel, event) && member === ours
      ? [{ ...event, channel: other, epoch: elsewhere.epoch, seq: elsewhere.seq + 1 }, event]
      : undefined,
  );
  await alice.say('#ours', 'by alice');
  await told(alice, '#other', '1 message waits for its key');
  // Of somebody whom it tells nothing about.
  server.lie = either(
    aboutAnswers('member.list', () => ({ members: [], more: false })),
    aboutAnswers('member.devices', () => ({ devices: {} })),
    aboutEvents((event, member) =>
      isContent(channel, event) && member === ours ? [{ ...event, member: 'ab'.repeat(16) }] : undefined,
    ),
  );
  await alice.say('#ours', 'once more');
  await bob.reads('#ours', 'once more');
  server.honest();
  await alice.say('#ours', 'and on');
  expect(await alice.bodies('#ours')).toEqual(['by alice', 'once more', 'and on']);
  expect(house.bugs()).toEqual([]);
});

test('replays: what was shown once is not shown again', async () => {
  for (const encryption of ['open', 'members'] as const) {
    const channel = await gather(`#again-${encryption}`, encryption);
    await alice.say(`#again-${encryption}`, 'once');
    const first = await bob.reads(`#again-${encryption}`, 'once');
    const [stored] = (await server.context.log.readBack(channel as ChannelId, 1e9, {
      events: 1,
      bytes: 1e6,
    })) as unknown as [LogEvent];
    server.lie = aboutEvents((event) =>
      isContent(channel, event) ? [{ ...event, id: stored.id, member: stored.member, body: stored.body }] : undefined,
    );
    await carol.say(`#again-${encryption}`, 'hidden by the old one').catch(() => {});
    await told(bob, `#again-${encryption}`, 'the server shows something of alice’s again, or out of its order');
    expect(await bob.bodies(`#again-${encryption}`)).toEqual(['once']);
    expect((await bob.messages(`#again-${encryption}`))[0]?.seq).toBe(first.seq);
    server.honest();
  }
});

test('reorders what one says: the second is not taken before the first', async () => {
  const channel = await gather('#order', 'open');
  const held: LogEvent[] = [];
  const theirs = await idOf(bob);
  server.lie = aboutEvents((event, member) => {
    if (!isContent(channel, event) || member !== theirs || event.request !== 0) return undefined;
    held.push(event);
    if (held.length < 2) return [];
    const [one, two] = held as [LogEvent, LogEvent];
    return [
      { ...two, seq: one.seq },
      { ...one, seq: two.seq },
    ];
  });
  await alice.say('#order', 'first');
  await alice.say('#order', 'second');
  await told(bob, '#order', /alice’s again, or out of its order/);
  expect(await bob.bodies('#order')).toEqual(['second']);
});

test('drops: the next word of the same author, or a hole in the log, shows it', async () => {
  const channel = await gather('#drops');
  await alice.say('#drops', 'one');
  await bob.reads('#drops', 'one');
  const theirs = await idOf(bob);
  let gone = 0;
  // The log that bob sees has no hole: what comes after moves up.
  server.lie = either(
    aboutEvents((event, member) => {
      if (event.channel !== channel || member !== theirs) return undefined;
      if (gone === 0) gone = event.seq;
      return event.seq === gone ? [] : [{ ...event, seq: event.seq - 1 }];
    }),
    aboutHeads(channel, theirs, -1),
  );
  await alice.say('#drops', 'left out');
  await alice.say('#drops', 'two');
  await bob.reads('#drops', 'two');
  await told(bob, '#drops', 'the server left out something of alice’s');
  expect(await bob.bodies('#drops')).toEqual(['one', 'two']);
});

test('leaves a hole in the log: it is passed over, and said', async () => {
  const channel = await gather('#hole');
  const theirs = await idOf(bob);
  let gone = 0;
  server.lie = aboutEvents((event, member) => {
    if (event.channel !== channel || member !== theirs) return undefined;
    if (gone === 0) gone = event.seq;
    return event.seq === gone ? [] : undefined;
  });
  await alice.say('#hole', 'left out');
  await alice.say('#hole', 'behind it');
  await bob.reads('#hole', 'behind it');
  await told(bob, '#hole', 'the server does not show it');
});

test('forks the log: the next word of whoever was shown something else tells it', async () => {
  const channel = await gather('#forks');
  const theirs = await idOf(bob);
  const held: LogEvent[] = [];
  // Bob is shown what alice and carol said the other way round.
  server.lie = aboutEvents((event, member) => {
    if (!isContent(channel, event) || member !== theirs || event.request !== 0 || held.length > 1) return undefined;
    held.push(event);
    if (held.length < 2) return [];
    const [one, two] = held as [LogEvent, LogEvent];
    return [
      { ...two, seq: one.seq },
      { ...one, seq: two.seq },
    ];
  });
  await alice.say('#forks', 'by alice');
  await carol.say('#forks', 'by carol');
  await bob.sees('both', async () => (await bob.bodies('#forks')).length === 2);
  server.honest();
  await bob.say('#forks', 'what I saw');
  for (const guest of [alice, carol]) await told(guest, '#forks', 'the server has shown bob another history');
});

test('goes back to an old backup and says nothing of it: what is shown elsewhere is said', async () => {
  const channel = await gather('#back', 'open');
  await alice.say('#back', 'before');
  await bob.reads('#back', 'before');
  const theirs = await idOf(bob);
  // For bob the log has lost its last event, and goes on in its place under the same epoch.
  server.lie = either(
    aboutEvents((event, member) =>
      event.channel === channel && member === theirs ? [{ ...event, seq: event.seq - 1 }] : undefined,
    ),
    aboutHeads(channel, theirs, -1),
  );
  await alice.say('#back', 'after');
  await told(bob, '#back', 'the server shows something else where it has shown us this');
});

test('begins another epoch to show old things again: what was counted stays counted', async () => {
  const channel = await gather('#epochs', 'open');
  for (const topic of ['one', 'two']) await alice.call('channel.topic', { channel: '#epochs', topic });
  await bob.sees('the topic', async () => (await show(bob, '#epochs')).topic === 'two');
  const log = await server.context.log.read(channel as ChannelId, 0, { events: 100, bytes: 1e6 });
  const old = log.find(({ kind }) => kind === EVENT.content) as unknown as LogEvent;
  const theirs = await idOf(bob);
  const epoch = ((await server.context.log.heads([channel as ChannelId]))[0]?.epoch ?? 0) + 1;
  const level = Promise.withResolvers<void>();
  server.lie = either(
    aboutEvents((event, member) => {
      if (event.channel !== channel || member !== theirs) return undefined;
      if (event.kind !== EVENT.content || event.request !== 0) return [{ ...event, epoch }];
      return [{ ...event, epoch, id: old.id, member: old.member, body: old.body }];
    }),
    (saying, member) => {
      if (saying.kind !== 'answer' || member !== theirs || saying.value.ok === undefined) return undefined;
      const { ok } = saying.value;
      const cursors = saying.asked?.params.cursors as Record<string, [number, number, string]> | undefined;
      const one = (ok.channels as Record<string, { head: object }> | undefined)?.[channel];
      if (one !== undefined) {
        const recovered = cursors?.[channel]?.[0] === epoch;
        if (recovered) level.resolve();
        const channels = { ...(ok.channels as object), [channel]: { recovered, head: { ...one.head, epoch } } };
        return [{ ...saying, value: { id: saying.value.id, ok: { channels } } }];
      }
      if (saying.asked?.params.channel !== channel || ok.head === undefined) return undefined;
      return [{ ...saying, value: { id: saying.value.id, ok: { ...ok, head: { ...(ok.head as object), epoch } } } }];
    },
  );
  for (const peer of server.context.online.get(theirs as never) ?? []) peer.close(1012, 'restart');
  await level.promise;
  await alice.say('#epochs', 'hidden by the old topic');
  await told(bob, '#epochs', 'the server shows something of alice’s again, or out of its order');
  expect((await show(bob, '#epochs')).topic).toBe('two');
});

test('begins another epoch while our key is given: nothing is sealed with a key that nobody has', async () => {
  const channel = await gather('#midst');
  const ours = await idOf(alice);
  const [{ epoch = 0, seq = 0 } = {}] = await server.context.log.heads([channel as ChannelId]);
  const id = 'ab'.repeat(16);
  const other = {
    request: 0,
    channel,
    epoch: epoch + 1,
    seq: seq + 1,
    id,
    member: ours,
    at: 1,
    erased: false,
  } as const;
  const given: Saying[] = [];
  server.lie = (saying, member) => {
    if (saying.kind !== 'answer' || saying.asked === undefined || member !== ours) return undefined;
    const { asked, value } = saying;
    // The second of the two who get the key has it once she has gone back in the log.
    if (asked.name === 'publish' && given.push(saying) === 2)
      return [{ kind: 'event', asked: undefined, event: { ...other, kind: EVENT.content, body: new Uint8Array(9) } }];
    if (asked.name === 'log.page' && given[1] !== undefined) {
      server.honest();
      return [saying, given[1]];
    }
    const resumed = (value.ok?.channels as Record<string, { head: object }> | undefined)?.[channel];
    if (asked.name !== 'resume' || resumed === undefined) return undefined;
    const channels = { [channel]: { recovered: false, head: { ...resumed.head, epoch: epoch + 1 } } };
    return [{ ...saying, value: { id: value.id, ok: { channels } } }];
  };
  await alice.say('#midst', 'for both');
  for (const guest of [bob, carol]) await guest.reads('#midst', 'for both');
  expect(given.length).toBe(2);
  expect(house.bugs()).toEqual([]);
});

/** The server shows a member nothing of the next control of a channel, and what follows one place before. */
const withholdControl = (channel: string, theirs: string): void => {
  let hidden = 0;
  server.lie = either(
    aboutEvents((event, member) => {
      if (event.channel !== channel || member !== theirs) return undefined;
      if (event.kind === EVENT.control && hidden === 0) hidden = event.seq;
      if (hidden === 0 || event.seq < hidden) return undefined;
      return event.seq === hidden ? [] : [{ ...event, seq: event.seq - 1 }];
    }),
    aboutHeads(channel, theirs, -1),
  );
};

test('withholds a kick: the next word of whoever knows tells it, by name', async () => {
  const channel = await gather('#kick', 'open');
  withholdControl(channel, await idOf(carol));
  await alice.call('channel.kick', { channel: '#kick', member: 'bob' });
  expect(await namesIn(carol, '#kick')).toContain('bob member');
  await alice.say('#kick', 'without bob');
  await told(carol, '#kick', 'alice knows of a change in the channel that the server has not shown');
});

test('withholds the end of an epoch: what is said after it waits for its key, and that is shown', async () => {
  const channel = await gather('#epoch');
  await alice.say('#epoch', 'with bob');
  await carol.reads('#epoch', 'with bob');
  withholdControl(channel, await idOf(carol));
  await alice.call('channel.kick', { channel: '#epoch', member: 'bob' });
  await alice.say('#epoch', 'without bob');
  await told(carol, '#epoch', '1 message waits for its key');
  expect(await carol.bodies('#epoch')).toEqual(['with bob']);
});

test('keeps nothing of a text that was edited and deleted, or has ended: its edits go with it', async () => {
  const channel = (await gather('#edited', 'open')) as ChannelId;
  await alice.call('channel.role', { channel: '#edited', member: 'bob', role: 'moderator' });
  const edited = async (text: string, more: { readonly expiresMs?: number } = {}): Promise<string> => {
    const { id } = await alice.say('#edited', `${text} 0`, more);
    for (const n of [1, 2]) await alice.call('message.edit', { id, text: `${text} ${n}` });
    await bob.reads('#edited', `${text} 2`);
    return id;
  };
  const [mine, theirs] = [await edited('by its author'), await edited('by a moderator')];
  await edited('by its time', { expiresMs: 3_000 });
  await alice.say('#edited', 'stays');
  // What somebody else calls an edit of it is theirs, and keeps nothing from going.
  await mallory.control(await roomOf(channel), { op: 'join' });
  const edit = { kind: 'edit', target: mine as EventId, number: 3, text: 'forged' } as const;
  await append(channel, { ...mallory.written(await roomOf(channel), edit), member: mallory.id });
  await alice.call('message.delete', { id: mine });
  await bob.call('message.delete', { id: theirs });
  const said = async () => {
    const events = await server.context.log.read(channel, 0, { events: 1_000, bytes: 1e6 });
    const bodies = events.filter(({ kind, body }) => kind === EVENT.content && body !== null).map(({ body }) => body);
    return bodies.map((body) => Buffer.from(body ?? []).toString());
  };
  await carol.sees('the end', async () => (await carol.bodies('#edited')).join() === ',,stays');
  await expect.poll(async () => (await said()).length, { timeout: 20_000 }).toBe(2);
  expect((await said()).map((body) => /stays|forged/.exec(body)?.[0])).toEqual(['stays', 'forged']);
});

test('holds a key back: what opens late changes nothing that was said since, and has what was said of it', async () => {
  await gather('#late');
  await alice.call('channel.role', { channel: '#late', member: 'carol', role: 'moderator' });
  const { id: known } = await carol.say('#late', 'known');
  await bob.reads('#late', 'known');
  const [bobId, aliceId] = [await idOf(bob), await idOf(alice)];
  let held = 0;
  server.lie = aboutEvents((event, member) => {
    if (event.channel !== inboxOf(bobId as never) || member !== bobId) return undefined;
    if (held === 0 && event.member === aliceId) held = event.seq;
    return held > 0 && event.seq >= held ? [] : undefined;
  });
  const { id: late } = await alice.say('#late', 'late');
  await carol.reads('#late', 'late');
  await alice.call('channel.topic', { channel: '#late', topic: 'the first' });
  await alice.call('message.pin', { id: known });
  await carol.sees('the pin', async () => (await carol.call('message.show', { id: known })).pinnedAt !== undefined);
  await carol.call('channel.topic', { channel: '#late', topic: 'the second' });
  await carol.call('message.unpin', { id: known });
  await carol.call('message.pin', { id: late });
  await carol.call('message.react', { id: late, emoji: '👍' });
  await carol.say('#late', 'last');
  for (const guest of [alice, bob]) await guest.reads('#late', 'last');
  expect([held > 0, await bob.bodies('#late')]).toEqual([true, ['known', 'last']]);
  server.honest();
  for (const peer of server.context.online.get(bobId as never) ?? []) peer.close(1012, 'restart');
  await bob.reads('#late', 'late');
  await bob.sees('nothing waits', async () => (await reasons(bob, '#late')).length === 0);
  for (const guest of [alice, bob, carol]) {
    const message = await guest.call('message.show', { id: late });
    expect([guest.name, message.pinnedAt !== undefined, message.reactions]).toMatchObject([
      guest.name,
      true,
      [{ emoji: '👍', from: 'carol' }],
    ]);
    expect((await guest.call('message.show', { id: known })).pinnedAt).toBeUndefined();
    expect((await show(guest, '#late')).topic).toBe('the second');
  }
});

test('shows what no key opens: it is told, and what a key opens is read behind it', async () => {
  const [old, fresh] = ['tulip mania in amsterdam', 'the south sea bubble'];
  await alice.call('channel.create', { name: '#opens', encryption: 'passphrase', passphrase: old });
  await bob.call('channel.join', { channel: '#opens', passphrase: old });
  await alice.call('channel.rotate', { channel: '#opens', passphrase: fresh });
  const { id } = await show(alice, '#opens');
  const member = await idOf(alice);
  const shown = (...head: number[]) => {
    const body = new Uint8Array(100);
    body.set(head);
    return append(id, { id: timedId(Date.now(), systemRandom.bytes(10)), member, kind: EVENT.content, body });
  };
  // Of no layout that there is; and of an epoch whose key never came.
  await shown(9);
  await Promise.all(Array.from({ length: 1_000 }, () => shown(1, 0, 0, 0, 99)));
  await alice.say('#opens', 'behind it');
  await told(bob, '#opens', '1001 messages wait for their key');
  await told(bob, '#opens', 'no key that came here opens what the server shows as alice’s');
  await bob.call('channel.join', { channel: '#opens', passphrase: fresh });
  await bob.reads('#opens', 'behind it');
  await told(bob, '#opens', '1000 messages wait for their key');
});

test('withholds an erasure from whom is shown what was before, or never ends: it is proven by all there is', async () => {
  const channel = await gather('#past');
  for (const text of ['erased later', 'a slip']) await alice.say('#past', text);
  const dave = await house.guest('dave');
  await dave.call('server.join', { link: await alice.invite(), label: 'home' });
  await alice.call('channel.invite', { channel: '#past', member: 'dave' });
  await dave.call('channel.join', { channel: '#past' });
  await alice.sees('them', async () => (await show(alice, '#past')).memberCount === 4);
  const theirs = await idOf(dave);
  const share = async (at: number) => (await show(dave, '#past')).shares?.[at];
  /** What dave is told of the controls. */
  const toldControls = (lie: Lie) => {
    server.lie = (saying, member) =>
      'asked' in saying && saying.asked?.name === 'log.control' && member === theirs ? lie(saying, member) : undefined;
  };

  toldControls((saying) => {
    if (saying.kind !== 'answer') return undefined;
    const { asked, value } = saying;
    const seq = Number(asked?.params.after) + 1_000;
    const nobody = { id: '00'.repeat(16), member: '00'.repeat(16), at: 0, erased: false, body: new Uint8Array(9) };
    const event = { ...nobody, channel, request: value.id, epoch: 1, seq, kind: EVENT.control };
    return [
      { kind: 'event', asked, event },
      { ...saying, value: { ...value, ok: { ...value.ok, more: true } } },
    ];
  });
  await alice.call('channel.shareHistory', { channel: '#past', member: 'dave', limit: 2 });
  await dave.sees('what was said last', async () => (await share(0))?.state === 'done');
  expect(await dave.bodies('#past')).toEqual(['a slip']);

  let answers = 0;
  toldControls((saying) => {
    if (saying.kind !== 'answer') return undefined;
    answers++;
    return [{ ...saying, value: { id: saying.value.id, error: { code: 'channel.notMember' } } }];
  });
  await alice.call('channel.shareHistory', { channel: '#past', member: 'dave' });
  await dave.sees('all of it', async () => {
    const one = await share(1);
    return one !== undefined && one.doneEvents === one.events;
  });
  const cut = () => {
    for (const peer of server.context.online.get(theirs as never) ?? []) peer.close(1012, 'restart');
  };
  /** Dave is connected anew, and has asked so often. */
  const asks = async (times: number) => {
    const before = answers;
    cut();
    await dave.sees('the controls', async () => answers >= before + times);
  };
  await asks(1);
  await dave.online();
  const [first] = await alice.messages('#past');
  await alice.call('message.delete', { id: first?.id ?? '' });
  const { seq = 0 } = await alice.say('#past', 'after that');
  await dave.reads('#past', 'after that');
  toldControls((saying) => {
    if (saying.kind === 'answer') answers++;
    return saying.kind === 'event' && saying.event.seq === seq - 1 ? [] : undefined;
  });
  await asks(2);
  server.honest();
  cut();
  await dave.sees('the end of it', async () => (await share(1))?.state === 'done');
  expect(await dave.bodies('#past')).toEqual(['', 'a slip', 'after that']);
});

test('shows a forged creation, one of another server, or another channel under a name: nothing is kept of it', async () => {
  const shown = (body: Uint8Array<ArrayBuffer>, said: Partial<LogEvent> = {}): Lie =>
    either(
      aboutAnswers('channel.find', (ok) => ({
        channel: { ...(ok.channel as object), id: channelOf(body).channel, ...(said.channel === undefined ? {} : {}) },
      })),
      aboutEvents((event) =>
        event.request === 0
          ? undefined
          : [
              {
                ...event,
                channel: channelOf(body).channel,
                seq: 1,
                id: header.id,
                member: mallory.id,
                kind: EVENT.control,
                body,
              },
            ],
      ),
    );
  const header = {
    epoch: 0,
    id: timedId<EventId>(Date.now(), systemRandom.bytes(10)),
    sender: mallory.id,
    device: mallory.device,
    n: 1,
    seenSeq: 0,
    seenHash: ZERO_HASH.slice(0, 16),
    membersHead: ZERO_HASH.slice(0, 16),
    kind: EVENT.control,
  } as const;
  const control = { op: 'create', name: 'forged', encryption: 'open', private: false, history: 'all' } as const;
  await alice.call('channel.create', { name: '#forged', encryption: 'open' });
  const { seed } = mallory.keys();
  const here = creationScope(server.hosted.target.serverKey);
  // By nobody's device; for another server; of another name; of another kind than the server says.
  const cases = [
    signEvent(here, header, control, systemRandom.bytes(32)),
    signEvent(creationScope(systemRandom.bytes(32)), header, control, seed),
    signEvent(here, header, { ...control, name: 'other' }, seed),
    signEvent(here, header, { ...control, encryption: 'members', history: 'joined' }, seed),
  ];
  // The request is for whatever the server has named: it has no such channel, and answers as if it had.
  for (const body of cases) {
    server.lie = either(shown(body), (saying) =>
      saying.kind === 'answer' && saying.asked?.name === 'log.control' && saying.value.error !== undefined
        ? [
            {
              kind: 'event',
              asked: saying.asked,
              event: {
                request: saying.value.id,
                channel: channelOf(body).channel,
                epoch: 1,
                seq: 1,
                id: header.id,
                member: mallory.id,
                at: 1,
                kind: EVENT.control,
                erased: false,
                body,
              },
            },
            {
              ...saying,
              value: {
                id: saying.value.id,
                ok: { events: 1, more: false, head: { epoch: 1, seq: 1, id: header.id, prunedTo: 0 } },
              },
            },
          ]
        : undefined,
    );
    expect(await bob.refused('channel.join', { channel: '#forged' })).toBe('event.forged');
  }
  server.lie = aboutAnswers('channel.find', (ok) => ({ channel: { ...(ok.channel as object), name: 'another' } }));
  expect(await bob.refused('channel.join', { channel: '#forged' })).toBe('event.forged');
  // What decides who may read is the creation's to say, not the server's.
  server.lie = aboutAnswers('channel.find', (ok) => ({ channel: { ...(ok.channel as object), history: 'joined' } }));
  expect(await bob.refused('channel.join', { channel: '#forged' })).toBe('event.forged');
  server.honest();
  expect((await bob.call('channel.list', {})).map(({ name }) => name)).not.toContain('#forged');
  await bob.call('channel.join', { channel: '#forged' });
});

test('serves an old salt, cheap costs, or hides a new passphrase: no key comes of it', async () => {
  const [old, fresh] = ['tulip mania in amsterdam', 'the south sea bubble'];
  await alice.call('channel.create', { name: '#salt', encryption: 'passphrase', passphrase: old, history: 'all' });
  await alice.call('channel.rotate', { channel: '#salt', passphrase: fresh });
  const { id } = await show(alice, '#salt');
  const changed = (from: string, to: string): Lie =>
    aboutEvents((event) =>
      event.channel === id && event.kind === EVENT.control
        ? [
            {
              ...event,
              body: new Uint8Array(Buffer.from(Buffer.from(event.body).toString('latin1').replace(from, to), 'latin1')),
            },
          ]
        : undefined,
    );
  server.lie = changed('"memoryKib":262144', '"memoryKib":065536'.replace('0', ' '));
  expect(await bob.refused('channel.join', { channel: '#salt', passphrase: fresh })).toBe('event.forged');
  server.lie = changed('"salt":"', '"salt":"A');
  expect(await bob.refused('channel.join', { channel: '#salt', passphrase: fresh })).toBe('event.forged');
  // Without the rotation the passphrase of now opens nothing.
  server.lie = aboutEvents((event) => (event.channel === id && event.seq > 1 ? [] : undefined));
  expect(await carol.refused('channel.join', { channel: '#salt', passphrase: fresh })).toBe('passphrase.wrong');
});

test('says that it stored a message, and does not show it: the message has failed, with a word why', async () => {
  const channel = await gather('#lost', 'open');
  const theirs = await idOf(alice);
  let gone = 0;
  server.lie = either(
    aboutEvents((event, member) => {
      if (!isContent(channel, event) || member !== theirs) return undefined;
      if (gone === 0) gone = event.seq;
      return event.seq === gone ? [] : [{ ...event, seq: event.seq - 1 }];
    }),
    aboutHeads(channel, theirs, -1),
  );
  const message = await alice.say('#lost', 'it was never there');
  await bob.say('#lost', 'in its place');
  await alice.sees(
    'that it is lost',
    async () => (await alice.call('message.show', { id: message.id })).state === 'failed',
  );
  expect((await alice.call('message.show', { id: message.id })).reason).toBe('lost');
  await told(alice, '#lost', 'the server does not show what it said it had stored of yours');
});

test('answers a publish with a place that there is not: what comes later is new all the same', async () => {
  await gather('#place', 'open');
  server.lie = (saying) =>
    saying.kind === 'answer' && saying.asked?.name === 'publish' && saying.value.ok !== undefined
      ? [{ ...saying, value: { id: saying.value.id, ok: { ...saying.value.ok, seq: 1e12 } } }]
      : undefined;
  await alice.say('#place', 'far away');
  server.honest();
  await bob.reads('#place', 'far away');
  await alice.call('conversation.markRead', { conversation: '#place' });
  await bob.say('#place', 'new');
  await alice.reads('#place', 'new');
  expect((await alice.call('message.unread', { conversation: '#place' })).messages.map(({ body }) => body)).toEqual([
    'new',
  ]);
});

test('says that another device has read what is not there yet: what comes is new all the same', async () => {
  const channel = await gather('#marks', 'open');
  await alice.say('#marks', 'one');
  await bob.reads('#marks', 'one');
  const theirs = await idOf(bob);
  server.lie = (saying, member) =>
    saying.kind === 'event' && saying.event.channel === channel && member === theirs
      ? [{ kind: 'notice', value: { notice: 'marked', channel, seq: 1e12 } }, saying]
      : undefined;
  await alice.say('#marks', 'two');
  await bob.reads('#marks', 'two');
  server.honest();
  await alice.say('#marks', 'three');
  await bob.reads('#marks', 'three');
  const unread = (await bob.call('message.unread', { conversation: '#marks' })).messages.map(({ body }) => body);
  expect(unread).toContain('three');
});

test('says that we are not in a channel: it is shown as lost, as nobody has signed that, and joining again is all it takes', async () => {
  const channel = await gather('#cut', 'open');
  server.lie = (saying) =>
    saying.kind === 'answer' && saying.asked?.name === 'resume' && channel in (saying.asked.params.cursors as object)
      ? [{ ...saying, value: { id: saying.value.id, error: { code: 'channel.notMember' } } }]
      : undefined;
  const peers = server.context.online.get((await idOf(bob)) as never) ?? new Set();
  for (const peer of peers) peer.close(1012, 'restart');
  await bob.sees('that', async () => (await show(bob, '#cut')).state === 'lost');
  server.honest();
  await bob.call('channel.join', { channel: '#cut' });
  expect((await show(bob, '#cut')).state).toBe('joined');
});

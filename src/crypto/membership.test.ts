import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { toHex } from '../protocol/bytes.ts';
import type { DeviceId, EventId, MemberId } from '../protocol/ids.ts';
import { type Control, EVENT_KIND, ROLES, type Role } from '../protocol/room-content.ts';
import { CONTROL_RULES } from '../protocol/room-rules.ts';
import { TestChannel, testEventId, testMember } from '../testing/rooms.ts';
import {
  type ChannelState,
  type ControlEvent,
  judgeContent,
  judgeControl,
  type Member,
  mayErase,
  rankOf,
} from './channel-state.ts';
import { replay } from './membership.ts';
import { sha256 } from './primitives.ts';
import { headOf, ZERO_HASH } from './room-event.ts';

const [alice, bob, carol, dave, erin] = [1, 2, 3, 4, 5].map((n) => testMember(n)) as [
  Person,
  Person,
  Person,
  Person,
  Person,
];
type Person = ReturnType<typeof testMember>;
type Encryption = ChannelState['encryption'];

const wrap = {
  salt: Buffer.alloc(16).toString('base64'),
  memoryKib: 256 * 1024,
  passes: 3,
  lanes: 4,
  commitment: Buffer.alloc(32).toString('base64'),
  wrapped: Buffer.alloc(48).toString('base64'),
};

/** Alice is the owner, Bob an admin, Carol a moderator, Dave a member; Erin is outside. */
const channel = (encryption: Encryption = 'members', given: object = {}): TestChannel => {
  const made = new TestChannel();
  const members = [
    { member: bob.id, role: 'admin' as const },
    { member: carol.id, role: 'moderator' as const },
    { member: dave.id, role: 'member' as const },
  ];
  const key = encryption === 'passphrase' ? { key: wrap } : {};
  made.do(alice, {
    op: 'create',
    name: 'ops',
    encryption,
    private: false,
    history: 'joined',
    members,
    ...key,
    ...given,
  });
  return made;
};
const rolesOf = ({ now }: TestChannel) => new Map([...now.members].map(([id, { role }]) => [id, role]));

describe('ROOM-1, ROOM-4 and ROOM-5: a channel', () => {
  test('begins with its creation, whose hash is its name, and nothing else', () => {
    const made = new TestChannel();
    expect(made.do(bob, { op: 'join' })).toBe('notCreated');
    expect(
      made.do(alice, { op: 'create', name: 'ops', encryption: 'open', private: false, history: 'all' }, { epoch: 1 }),
    ).toBe('epoch');
    const create = { op: 'create', name: 'ops', encryption: 'open', private: false, history: 'all' } as const;
    expect(made.do(alice, create, { membersHead: new Uint8Array(16).fill(1) })).toBe('stale');
    expect(made.do(alice, { ...create, members: [{ member: alice.id, role: 'member' }] })).toBe('alreadyMember');
    const state = channel().now;
    expect(state).toMatchObject({ name: 'ops', epoch: 1, controls: 1, archived: false, unknown: 0 });
    expect(state.channel).toBe(toHex(state.hash).slice(0, 32));
    expect([...state.members.values()].map(({ role }) => role)).toEqual(['owner', 'admin', 'moderator', 'member']);
    expect(channel().do(bob, { op: 'create', name: 'x', encryption: 'open', private: false, history: 'all' })).toBe(
      'alreadyCreated',
    );
  });

  test('refuses each operation by name to everybody whose role does not allow it', () => {
    const controls: readonly Control[] = [
      { op: 'invite', member: erin.id },
      { op: 'add', member: erin.id },
      { op: 'remove', member: dave.id },
      { op: 'role', member: dave.id, role: 'member' },
      { op: 'ban', member: dave.id },
      { op: 'unban', member: erin.id },
      { op: 'mute', member: dave.id },
      { op: 'unmute', member: dave.id },
      { op: 'mode', slowMs: 0 },
      { op: 'rotate' },
      { op: 'archive' },
    ];
    for (const control of controls) {
      const { by } = CONTROL_RULES[control.op];
      for (const who of [alice, bob, carol, dave, erin]) {
        const made = channel();
        const before = made.now;
        const role = before.members.get(who.id)?.role;
        const isAllowed = role !== undefined && by !== 'outsider' && rankOf(role) >= rankOf(by);
        const isSelf = who === dave;
        const result = made.do(who, control);
        if (role === undefined) expect(result, control.op).toBe('notMember');
        else if (!isAllowed) expect(result, `${control.op} by ${role}`).toBe('role');
        else expect([isSelf ? 'role' : control.op === 'unban' ? 'target' : 'applied'], control.op).toContain(result);
        if (result !== 'applied') expect(made.now).toEqual(before);
      }
    }
  });

  test('lets nobody act on an equal or a higher one, nor give a role above his own', () => {
    for (const op of ['remove', 'ban', 'mute'] as const) {
      expect(channel().do(carol, { op, member: bob.id })).toBe('role');
      expect(channel().do(carol, { op, member: alice.id })).toBe('role');
      expect(channel().do(bob, { op, member: bob.id })).toBe('role');
    }
    expect(channel().do(bob, { op: 'role', member: dave.id, role: 'owner' })).toBe('role');
    expect(channel().do(bob, { op: 'role', member: bob.id, role: 'owner' })).toBe('role');
    expect(channel().do(bob, { op: 'role', member: dave.id, role: 'admin' })).toBe('applied');
    expect(channel().do(bob, { op: 'role', member: bob.id, role: 'member' })).toBe('applied');
    expect(channel().do(alice, { op: 'role', member: dave.id, role: 'owner' })).toBe('applied');
  });

  test('keeps an owner as long as anybody is in it', () => {
    const made = channel();
    expect(made.do(alice, { op: 'role', member: alice.id, role: 'admin' })).toBe('lastOwner');
    expect(made.do(alice, { op: 'leave' })).toBe('lastOwner');
    made.do(alice, { op: 'role', member: bob.id, role: 'owner' });
    expect(made.do(alice, { op: 'leave' })).toBe('applied');
    for (const who of [carol, dave]) made.do(who, { op: 'leave' });
    expect(made.do(bob, { op: 'leave' })).toBe('applied');
    expect([made.now.members.size, made.now.archived]).toEqual([0, true]);
  });

  test('is joined by invitation where it is private or sealed for each member, else by anyone who is not banned', () => {
    for (const [encryption, given, result] of [
      ['members', {}, 'notInvited'],
      ['open', { private: true }, 'notInvited'],
      ['open', {}, 'applied'],
      ['passphrase', {}, 'applied'],
    ] as const) {
      const made = channel(encryption, given);
      expect(made.do(erin, { op: 'join' }), encryption).toBe(result);
      if (result === 'applied') continue;
      made.do(carol, { op: 'invite', member: erin.id });
      expect(made.do(erin, { op: 'join' })).toBe('applied');
      expect(made.now.invited.size).toBe(0);
      expect(made.now.members.get(erin.id)).toMatchObject({ role: 'member', joinedSeq: made.now.seq });
    }
    const made = channel('open');
    made.do(carol, { op: 'ban', member: erin.id });
    expect(made.do(erin, { op: 'join' })).toBe('banned');
    expect(made.do(carol, { op: 'invite', member: erin.id })).toBe('banned');
    made.do(carol, { op: 'unban', member: erin.id });
    expect(made.do(erin, { op: 'join' })).toBe('applied');
    expect(made.do(erin, { op: 'join' })).toBe('alreadyMember');
  });

  test('that is archived is left, moderated and read, and no more', () => {
    const made = channel();
    made.do(bob, { op: 'archive' });
    expect(made.do(alice, { op: 'invite', member: erin.id })).toBe('archived');
    expect(made.do(alice, { op: 'archive' })).toBe('archived');
    expect(made.do(carol, { op: 'remove', member: dave.id })).toBe('applied');
    expect(made.do(carol, { op: 'erase', target: testEventId(9) })).toBe('applied');
    expect(made.do(carol, { op: 'leave' })).toBe('applied');
  });

  test('begins a new epoch with every loss where messages are sealed for each member, and with a rotation', () => {
    const sealed = channel();
    const epochs = [
      sealed.do(carol, { op: 'invite', member: erin.id }),
      sealed.do(carol, { op: 'remove', member: erin.id }),
      sealed.now.epoch,
      sealed.do(dave, { op: 'leave' }),
      sealed.now.epoch,
      sealed.do(bob, { op: 'ban', member: carol.id }),
      sealed.now.epoch,
      sealed.do(alice, { op: 'rotate' }),
      sealed.now.epoch,
    ];
    expect(epochs).toEqual(['applied', 'applied', 1, 'applied', 2, 'applied', 3, 'applied', 4]);
    expect(sealed.do(alice, { op: 'rotate', key: wrap })).toBe('key');
    expect(channel('open').do(alice, { op: 'rotate' })).toBe('key');
  });

  test('with a passphrase says who may still read until it is rotated', () => {
    const made = channel('passphrase');
    made.do(carol, { op: 'remove', member: dave.id });
    expect([made.now.epoch, [...made.now.exposed]]).toEqual([1, [dave.id]]);
    made.do(dave, { op: 'join' });
    expect(made.now.exposed.size).toBe(0);
    made.do(dave, { op: 'leave' });
    expect(made.now.exposed.size).toBe(1);
    expect(made.do(carol, { op: 'rotate' })).toBe('key');
    const rotated = { ...wrap, lanes: 2 };
    expect(made.do(carol, { op: 'rotate', key: rotated })).toBe('applied');
    expect([made.now.epoch, made.now.exposed.size]).toEqual([2, 0]);
    expect(made.now.keys.map(({ epoch, key }) => [epoch, key.lanes])).toEqual([
      [1, 4],
      [2, 2],
    ]);
  });

  test('holds no more members, invitations and bans than its limits', () => {
    const full = (
      op: 'join' | 'add' | 'invite' | 'ban',
      encryption: Encryption,
      given: (size: number) => Partial<ChannelState>,
      max: number,
    ) => {
      const made = channel(encryption);
      if (op === 'join') made.do(carol, { op: 'invite', member: erin.id });
      const control = op === 'join' ? { op } : { op, member: erin.id };
      const { header } = made.sign(op === 'join' ? erin : alice, control);
      const event = { seq: 99, header, control, bodyHash: ZERO_HASH };
      return [max - 1, max].map((size) => judgeControl({ ...made.now, ...given(size) }, event));
    };
    const people = (size: number) => Array.from({ length: size }, (_, i) => String(i) as MemberId);
    const members = (size: number) => {
      const now = channel().now.members;
      const [, one] = [...now][3] as [MemberId, Member];
      return { members: new Map([...now, ...people(size - now.size).map((id) => [id, one] as const)]) };
    };
    const invited = (size: number) => ({ invited: new Map(people(size).map((id) => [id, { by: bob.id, at: 1 }])) });
    expect(full('add', 'members', members, 256)).toEqual([undefined, 'full']);
    expect(full('join', 'members', members, 256)).toEqual([undefined, 'full']);
    expect(full('add', 'open', members, 20_000)).toEqual([undefined, 'full']);
    expect(full('invite', 'open', invited, 1_000)).toEqual([undefined, 'full']);
    expect(full('ban', 'open', (size) => ({ banned: new Set(people(size)) }), 10_000)).toEqual([undefined, 'full']);
  });

  test('goes on past an operation that this version does not know, in the same chain', () => {
    const made = channel();
    expect(made.do(erin, { op: 'merge' })).toBe('notMember');
    expect(made.do(dave, { op: 'merge' })).toBe('unknown');
    expect([made.now.unknown, made.now.controls]).toEqual([1, 2]);
    expect(made.do(carol, { op: 'invite', member: erin.id })).toBe('applied');
  });
});

describe('ROOM-2 and ROOM-3: order and what its author had seen', () => {
  test('what gives rights counts only in the state it was signed for', () => {
    const made = channel();
    const late = [
      made.sign(bob, { op: 'add', member: erin.id }),
      made.sign(bob, { op: 'role', member: dave.id, role: 'admin' }),
      made.sign(carol, { op: 'invite', member: erin.id }),
      made.sign(bob, { op: 'mode', retentionMs: 0 }),
    ];
    made.do(alice, { op: 'mode', slowMs: 1000 });
    expect(late.map((signed) => made.put(signed))).toEqual(['stale', 'stale', 'stale', 'stale']);
  });

  test('a removal may come late, but not from long ago', () => {
    const made = channel();
    const [removal, ban] = [
      made.sign(carol, { op: 'remove', member: dave.id }),
      made.sign(carol, { op: 'ban', member: erin.id }),
    ];
    for (let i = 0; i < 64; i++) made.do(alice, { op: 'mode', slowMs: i });
    expect(made.put(removal)).toBe('applied');
    expect(made.put(ban)).toBe('stale');
  });

  test('a removal wins over what was added at the same time, whichever the server put first', () => {
    for (const first of ['removal', 'acts'] as const) {
      const made = channel();
      made.do(alice, { op: 'invite', member: testMember(6).id });
      const removal = made.sign(alice, { op: 'remove', member: bob.id });
      // What a server that holds the removal back makes of Bob's acts: each was signed on what he had been shown.
      const acts = () => [
        made.do(bob, { op: 'role', member: dave.id, role: 'admin' }),
        made.do(bob, { op: 'add', member: erin.id }),
        made.do(bob, { op: 'invite', member: testMember(7).id }),
      ];
      if (first === 'removal') {
        made.put(removal);
        expect(acts()).toEqual(['notMember', 'notMember', 'notMember']);
      } else {
        expect(acts()).toEqual(['applied', 'applied', 'applied']);
        made.put(removal);
      }
      expect(rolesOf(made)).toEqual(
        new Map<MemberId, Role>([
          [alice.id, 'owner'],
          [carol.id, 'moderator'],
          [dave.id, 'member'],
        ]),
      );
      expect([...made.now.invited.keys()]).toEqual([testMember(6).id]);
    }
  });

  test('it takes those too whom the added have added, but nothing that the remover had seen', () => {
    const made = channel();
    made.do(bob, { op: 'add', member: erin.id });
    const removal = made.sign(alice, { op: 'remove', member: bob.id });
    made.do(bob, { op: 'role', member: dave.id, role: 'moderator' });
    made.do(bob, { op: 'add', member: testMember(6).id });
    made.do(bob, { op: 'role', member: testMember(6).id, role: 'moderator' });
    made.do(testMember(6), { op: 'invite', member: testMember(7).id });
    made.do(testMember(7), { op: 'join' });
    expect(made.now.members.size).toBe(7);
    made.put(removal);
    expect([...rolesOf(made).keys()]).toEqual([alice.id, carol.id, dave.id, erin.id]);
    expect(rolesOf(made).get(dave.id)).toBe('member');
  });

  test('it spares whom somebody higher has raised since', () => {
    const made = channel();
    const removal = made.sign(bob, { op: 'remove', member: carol.id });
    for (const person of [erin, testMember(6)]) {
      made.do(carol, { op: 'invite', member: person.id });
      made.do(person, { op: 'join' });
    }
    made.do(alice, { op: 'role', member: erin.id, role: 'admin' });
    made.put(removal);
    expect([...rolesOf(made).keys()]).toEqual([alice.id, bob.id, dave.id, erin.id]);
  });

  test('who was removed meanwhile removes nobody, and a removal never reaches above the remover', () => {
    const made = channel();
    const revenge = made.sign(carol, { op: 'remove', member: dave.id });
    made.do(bob, { op: 'remove', member: carol.id });
    expect(made.put(revenge)).toBe('notMember');

    const other = channel();
    const removal = other.sign(carol, { op: 'remove', member: dave.id });
    other.do(alice, { op: 'role', member: dave.id, role: 'admin' });
    expect(other.put(removal)).toBe('role');
  });

  test('an event that comes again, of an old place or another epoch, is refused', () => {
    const made = channel();
    const removal = made.sign(carol, { op: 'remove', member: dave.id });
    made.put(removal);
    made.do(bob, { op: 'add', member: dave.id });
    expect(made.put(removal)).toBe('repeated');
    const [event] = made.log.slice(-1) as [ControlEvent];
    expect(judgeControl(made.now, { ...event, seq: made.now.seq })).toBe('repeated');
    expect(made.do(bob, { op: 'mode', slowMs: 1 }, { epoch: 1 })).toBe('epoch');
    expect(made.do(bob, { op: 'mode', slowMs: 1 }, { epoch: 9 })).toBe('epoch');
  });

  test('an event of another channel is refused for its chain', () => {
    const [one, two] = [channel(), channel('members', { name: 'other' })];
    const foreign = one.sign(bob, { op: 'add', member: erin.id });
    expect(() => two.put(foreign)).toThrow(/not signed/);
    expect(two.do(bob, { op: 'add', member: erin.id }, { membersHead: headOf(one.now.head) })).toBe('stale');
  });
});

describe('ROOM-4: contents', () => {
  test('are of members who are not muted, in the present epoch, and pins and topics of moderators', () => {
    const made = channel();
    const judge = (who: Person, kind: 'text' | 'pin' | 'topic' = 'text', epoch = made.now.epoch, at = 100) =>
      judgeContent(made.now, { header: made.header(who, { kind: EVENT_KIND.content, epoch }), kind, at });
    expect([judge(dave), judge(erin), judge(dave, 'pin'), judge(carol, 'topic')]).toEqual([
      undefined,
      'notMember',
      'role',
      undefined,
    ]);
    expect(judge(dave, 'text', 0)).toBe('epoch');
    made.do(carol, { op: 'mute', member: dave.id, untilAt: 101 });
    expect([judge(dave), judge(dave, 'text', 1, 101)]).toEqual(['muted', undefined]);
    made.do(carol, { op: 'mute', member: dave.id });
    expect(judge(dave, 'text', 1, Number.MAX_SAFE_INTEGER - 1)).toBe('muted');
    // To leave and to come back ends no mute.
    made.do(dave, { op: 'leave' });
    made.do(carol, { op: 'invite', member: dave.id });
    made.do(dave, { op: 'join' });
    expect(judge(dave, 'text', made.now.epoch)).toBe('muted');
    made.do(carol, { op: 'unmute', member: dave.id });
    expect(judge(dave)).toBeUndefined();
    made.do(carol, { op: 'ban', member: dave.id });
    expect(judge(dave)).toBe('banned');
    made.do(alice, { op: 'archive' });
    expect(judge(alice)).toBe('archived');
  });

  test('are erased by their author or a moderator', () => {
    const { now } = channel();
    expect([
      mayErase(now, dave.id, dave.id),
      mayErase(now, dave.id, carol.id),
      mayErase(now, carol.id, alice.id),
    ]).toEqual([true, false, true]);
    expect(mayErase(now, erin.id, erin.id)).toBe(false);
  });
});

// Random histories of five people, one device each, some of them members. A head is an age: 0 is the present one.
type Step = {
  readonly who: number;
  readonly to: number;
  readonly op: Control['op'];
  readonly role: Role;
  readonly age: number;
};
const ids = [alice, bob, carol, dave, erin].map(({ id, device }) => ({ id, device }));
const step = fc.record<Step>({
  who: fc.nat(4),
  to: fc.nat(4),
  // Few archives: nothing much happens after one.
  op: fc.oneof(
    { weight: 60, arbitrary: fc.constantFrom(...(Object.keys(CONTROL_RULES) as Control['op'][]).slice(0, -1)) },
    fc.constant<Control['op']>('archive'),
  ),
  role: fc.constantFrom(...ROLES),
  age: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, fc.nat(4)),
});
const history = fc.record({
  encryption: fc.constantFrom<Encryption>('open', 'members', 'passphrase'),
  steps: fc.array(step, { minLength: 10, maxLength: 60, size: 'max' }),
});

const controlOf = ({ op, to, role }: Step, encryption: Encryption): Control => {
  const member = (ids[to] as (typeof ids)[0]).id;
  switch (op) {
    case 'create':
      return { op, name: 'x', encryption: 'open', private: false, history: 'joined' };
    case 'role':
      return { op, member, role };
    case 'rotate':
      return encryption === 'passphrase' ? { op, key: wrap } : { op };
    case 'erase':
      return { op, target: testEventId(1) };
    case 'mode':
    case 'join':
    case 'leave':
    case 'archive':
      return { op };
    default:
      return { op, member };
  }
};

/** Plays steps one by one, each on a head of its age; `see` looks at each. */
const play = (
  { encryption, steps }: { readonly encryption: Encryption; readonly steps: readonly Step[] },
  see: (before: ChannelState, event: ControlEvent, after: ChannelState, result: string) => void = () => {},
) => {
  const events: ControlEvent[] = [];
  let state: ChannelState | undefined;
  const counts = new Map<DeviceId, number>();
  const put = (who: (typeof ids)[0], control: Control, head: Uint8Array, epoch: number) => {
    const n = (counts.get(who.device) ?? 0) + 1;
    counts.set(who.device, n);
    const event: ControlEvent = {
      seq: events.length + 1,
      control,
      bodyHash: sha256(Buffer.from(`${events.length} ${JSON.stringify(control)}`)),
      header: {
        epoch,
        id: testEventId(events.length) as EventId,
        sender: who.id,
        device: who.device,
        n,
        seenSeq: 0,
        seenHash: headOf(ZERO_HASH),
        membersHead: new Uint8Array(head),
        kind: EVENT_KIND.control,
      },
    };
    events.push(event);
    const before = state;
    const played = replay(state, [event]);
    state = played.state;
    const [outcome] = played.outcomes;
    if (before !== undefined && state !== undefined && outcome !== undefined)
      see(before, event, state, outcome.kind === 'refused' ? outcome.why : outcome.kind);
  };
  const members = [1, 2, 3].map((i) => ({
    member: (ids[i] as (typeof ids)[0]).id,
    role: (['admin', 'moderator', 'member'] as const)[i - 1] ?? 'member',
  }));
  const key = encryption === 'passphrase' ? { key: wrap } : {};
  const create = { op: 'create', name: 'x', encryption, private: false, history: 'joined', ...key } as const;
  put(ids[0] as (typeof ids)[0], { ...create, members }, new Uint8Array(16), 0);
  for (const one of steps) {
    const heads: readonly string[] = (state as ChannelState | undefined)?.heads ?? [];
    const head = Buffer.from(heads.at(-1 - one.age) ?? heads[0] ?? '', 'hex');
    put(
      ids[one.who] as (typeof ids)[0],
      controlOf(one, encryption),
      head,
      (state as ChannelState | undefined)?.epoch ?? 0,
    );
  }
  return { events, state };
};

describe('whatever happens', () => {
  test('the same events give the same state, wherever they were cut', () => {
    fc.assert(
      fc.property(history, fc.array(fc.nat(20), { maxLength: 8 }), (given, cuts) => {
        const { events, state } = play(given);
        let [cut, at] = [undefined as ChannelState | undefined, 0];
        for (const size of [...cuts, events.length]) {
          const before = structuredClone(cut);
          const next = replay(cut, events.slice(at, at + size)).state;
          expect(cut).toEqual(before);
          cut = next;
          at += size;
        }
        expect(cut).toEqual(state);
        expect(replay(undefined, events).state).toEqual(state);
      }),
      { numRuns: 200 },
    );
  });

  test('nobody gains rights but by an event that the one who may give them signed', () => {
    let gains = 0;
    fc.assert(
      fc.property(history, (given) => {
        play(given, (before, { control, header }, after, result) => {
          if (result !== 'applied') return expect(after).toEqual(before);
          const doer = before.members.get(header.sender)?.role;
          const rank = doer === undefined ? -1 : rankOf(doer);
          for (const [id, { role }] of after.members) {
            const had = before.members.get(id)?.role;
            if (had !== undefined && rankOf(had) >= rankOf(role)) continue;
            gains++;
            if (had !== undefined) {
              expect([control.op, 'member' in control && control.member]).toEqual(['role', id]);
              expect(rank >= rankOf('admin') && rank >= rankOf(role)).toBe(true);
            } else if (control.op === 'join') {
              expect([header.sender, before.banned.has(id), role]).toEqual([id, false, 'member']);
              expect(given.encryption !== 'members' || before.invited.has(id)).toBe(true);
            } else {
              expect([control.op, role, before.banned.has(id)]).toEqual(['add', 'member', false]);
              expect(rank).toBeGreaterThanOrEqual(rankOf('admin'));
            }
          }
          for (const id of after.invited.keys())
            if (!before.invited.has(id)) expect([control.op, rank >= rankOf('moderator')]).toEqual(['invite', true]);
          for (const id of before.banned) if (!after.banned.has(id)) expect(control.op).toBe('unban');
        });
      }),
      { numRuns: 400 },
    );
    expect(gains).toBeGreaterThan(100);
  });

  test('who is removed is out, whoever loses a member changes the key, and an owner is left', () => {
    let removals = 0;
    fc.assert(
      fc.property(history, (given) => {
        play(given, (before, { control, header }, after, result) => {
          if (result !== 'applied') return;
          const out =
            control.op === 'leave'
              ? header.sender
              : control.op === 'remove' || control.op === 'ban'
                ? control.member
                : undefined;
          if (out !== undefined) {
            removals++;
            expect([after.members.has(out), after.invited.has(out)]).toEqual([false, false]);
          }
          const lost = [...before.members.keys()].filter((id) => !after.members.has(id));
          if (out === undefined) expect(lost).toEqual([]);
          if (lost.length > 0 && given.encryption === 'members') expect(after.epoch).toBe(before.epoch + 1);
          if (given.encryption === 'passphrase') for (const id of lost) expect(after.exposed.has(id)).toBe(true);
          const roles = [...after.members.values()].map(({ role }) => role);
          if (roles.length > 0) expect(roles).toContain('owner');
          for (const id of after.members.keys()) expect(after.banned.has(id) || after.invited.has(id)).toBe(false);
        });
      }),
      { numRuns: 300 },
    );
    expect(removals).toBeGreaterThan(100);
  });
});

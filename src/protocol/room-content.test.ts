import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SottoError } from './errors.ts';
import { EVENT_CONTENT_BYTES_MAX } from './limits.ts';
import { channelNameOf, decodeContent, decodeControl, isChannelName } from './room-content.ts';

const id = 'ab'.repeat(16);
const key = Buffer.alloc(32, 1).toString('base64');
const wrap = {
  salt: Buffer.alloc(16).toString('base64'),
  memoryKib: 256 * 1024,
  passes: 3,
  lanes: 4,
  commitment: key,
  wrapped: Buffer.alloc(48).toString('base64'),
};
const create = { op: 'create', name: 'ops', encryption: 'passphrase', private: true, history: 'all', key: wrap };
const said = (decode: (bytes: Uint8Array) => unknown) => (value: unknown) => {
  try {
    return decode(Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)));
  } catch (error) {
    return error instanceof SottoError ? error.code : error;
  }
};
const content = said(decodeContent);
const control = said(decodeControl);

describe('EVENT-5: contents', () => {
  test('of every kind come back without what is unknown in them', () => {
    const all = [
      {
        kind: 'text',
        text: 'x',
        replyTo: id,
        thread: id,
        mentions: { members: [id], roles: ['admin'], here: true },
        expiresMs: 5000,
      },
      { kind: 'edit', target: id, number: 2, text: 'y' },
      { kind: 'react', target: id, emoji: '👍', on: false },
      { kind: 'pin', target: id, on: true },
      { kind: 'topic', text: '' },
      { kind: 'file', name: 'a.txt', sizeBytes: 9, key, root: key, blobs: [key], sentAt: 1 },
    ];
    for (const one of all) expect(content({ ...one, later: 1 })).toEqual(one);
    expect(content({ kind: 'poll' })).toEqual({ kind: 'unknown' });
  });

  test('beyond a limit, or not JSON of one object, are refused', () => {
    const text = { kind: 'text', text: 'x' };
    const bad = [
      { ...text, text: 'x'.repeat(16 * 1024 + 1) },
      { ...text, replyTo: 'AB'.repeat(16) },
      { ...text, mentions: { members: Array(33).fill(id) } },
      { ...text, mentions: { roles: ['king'] } },
      { ...text, expiresMs: 1 },
      { kind: 'topic', text: 'x'.repeat(501) },
      { kind: 'file', name: 'a', sizeBytes: 1, key, root: key, blobs: [], sentAt: 1 },
      { kind: 'file', name: 'a', sizeBytes: 1, key, root: key, blobs: Array(257).fill(key), sentAt: 1 },
      { kind: 1 },
      [],
      'nothing',
      '{"kind":"text","text":"x","text":"y"}',
      `{"kind":"poll","x":"${'x'.repeat(EVENT_CONTENT_BYTES_MAX)}"}`,
    ];
    for (const one of bad) expect(content(one)).toBe('event.invalid');
  });
});

describe('ROOM-1: controls', () => {
  test('of every operation come back', () => {
    const all = [
      create,
      { ...create, encryption: 'open', key: undefined, members: [{ member: id, role: 'admin' }] },
      { ...create, encryption: 'members', key: undefined, history: 'joined' },
      ...['invite', 'add', 'remove', 'ban', 'unban', 'mute', 'unmute'].map((op) => ({ op, member: id })),
      { op: 'mute', member: id, untilAt: 5 },
      ...['join', 'leave', 'archive', 'rotate'].map((op) => ({ op })),
      { op: 'role', member: id, role: 'owner' },
      { op: 'mode', slowMs: 1000, retentionMs: 0, notify: 'mentions' },
      { op: 'rotate', key: { ...wrap, previous: wrap.wrapped } },
      { op: 'erase', target: id },
    ];
    for (const one of all) expect(control(one)).toEqual(JSON.parse(JSON.stringify(one)));
    expect(control({ op: 'merge', with: id })).toEqual({ op: 'unknown' });
  });

  test('that contradict themselves or ask for a weak or a monstrous key are refused', () => {
    const bad = [
      { ...create, key: undefined },
      { ...create, encryption: 'open' },
      { ...create, encryption: 'members', key: undefined },
      { ...create, name: 'Ops' },
      { ...create, members: [{ member: id, role: 'owner' }] },
      {
        ...create,
        members: [
          { member: id, role: 'member' },
          { member: id, role: 'admin' },
        ],
      },
      ...[
        { memoryKib: 1024 },
        { memoryKib: 2 ** 31 },
        { passes: 1 },
        { passes: 200 },
        { lanes: 0 },
        { lanes: 64 },
        { salt: '' },
        { wrapped: key },
        { previous: key },
      ].map((weak) => ({ op: 'rotate', key: { ...wrap, ...weak } })),
      { op: 'role', member: id, role: 'king' },
      { op: 'mode', retentionMs: 5 },
      { op: 'mode', slowMs: -1 },
      { op: 'mute', member: id, untilAt: 1.5 },
      { op: 'invite' },
    ];
    for (const one of bad) expect(control(one)).toBe('event.invalid');
  });
});

describe('the name of a channel', () => {
  test('is 1–32 lower-case letters, digits, - and _ in NFKC', () => {
    for (const name of ['ops', 'a-b_c', '日本語', 'é', '7', 'x'.repeat(32)]) expect(isChannelName(name)).toBe(true);
    for (const name of [
      '',
      'Ops',
      '#ops',
      'a b',
      'e\u0301',
      'ﬁx',
      'x'.repeat(33),
      'a\u200db',
      'a.b',
      'İ'.normalize('NFD'),
    ])
      expect(isChannelName(name)).toBe(false);
    expect([channelNameOf('OPS'), channelNameOf('ﬁX')]).toEqual(['ops', 'fix']);
  });

  test('is found in one step from whatever is typed', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (typed) => {
        const name = channelNameOf(typed);
        expect(channelNameOf(name)).toBe(name);
      }),
      { numRuns: 2000 },
    );
  });
});

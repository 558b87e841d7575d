import { describe, expect, test } from 'vitest';
import { toHex } from './bytes.ts';
import { ProtocolError } from './errors.ts';
import {
  binaryFrame,
  CLOSE,
  closeCodeOf,
  closeFrame,
  FrameParser,
  type Message,
  maskedFrame,
  pingFrame,
  pongFrame,
  textFrame,
} from './websocket.ts';

const MAX = 64 * 1024;
const MASK = Uint8Array.of(0x37, 0xfa, 0x21, 0x3d);

type Side = 'client' | 'server';
const parserOf = (from: Side): FrameParser => new FrameParser({ from, messageBytesMax: MAX });

/** What `from` sends, in pieces of `size` bytes, as messages that say what they hold. */
const take = (bytes: Uint8Array, from: Side = 'server', size = bytes.length): string[] => {
  const parser = parserOf(from);
  const out: string[] = [];
  for (let at = 0; at < bytes.length; at += size)
    for (const message of parser.take(Buffer.from(bytes.subarray(at, at + size)))) out.push(toldOf(message));
  return out;
};

const toldOf = (message: Message): string =>
  message.kind === 'text'
    ? `text ${message.text}`
    : message.kind === 'close'
      ? `close ${message.code} ${message.reason}`.trim()
      : `${message.kind} ${message.bytes.toString('hex')}`;

/** The close code with which the bytes are refused; 0 when they are taken. */
const refusal = (bytes: Uint8Array, from: Side = 'server', size?: number): number => {
  try {
    take(bytes, from, size);
    return 0;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return closeCodeOf(error);
  }
};

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
/** An unmasked frame from its first byte and payload (≤ 125 bytes). */
const raw = (first: number, payload: string | Uint8Array = ''): Buffer => {
  const bytes = Buffer.from(payload as string);
  return Buffer.concat([Uint8Array.of(first, bytes.length), bytes]);
};
const masked = (bytes: Buffer): Buffer => maskedFrame(bytes, MASK);

describe('the examples of RFC 6455, section 5.7', () => {
  test.each([
    ['a text', 'server', '81 05 48656c6c6f', ['text Hello']],
    ['a masked text', 'client', '81 85 37fa213d 7f9f4d5158', ['text Hello']],
    ['a fragmented text', 'server', '01 03 48656c 80 02 6c6f', ['text Hello']],
    ['a ping', 'server', '89 05 48656c6c6f', ['ping 48656c6c6f']],
    ['a masked pong', 'client', '8a 85 37fa213d 7f9f4d5158', ['pong 48656c6c6f']],
  ] as const)('%s', (_name, from, bytes, told) => expect(take(hex(bytes), from)).toEqual(told));

  test('are what we build', () => {
    expect(textFrame('Hello')).toEqual(hex('81 05 48656c6c6f'));
    expect(masked(textFrame('Hello'))).toEqual(hex('81 85 37fa213d 7f9f4d5158'));
    expect(pingFrame(Buffer.from('Hello'))).toEqual(hex('89 05 48656c6c6f'));
    expect(binaryFrame(new Uint8Array(256)).subarray(0, 4)).toEqual(hex('82 7e 0100'));
    expect(binaryFrame(new Uint8Array(65536)).subarray(0, 10)).toEqual(hex('82 7f 0000000000010000'));
  });
});

// The numbers are those of the Autobahn test suite.
describe('messages', () => {
  const sizes = [0, 1, 124, 125, 126, 127, 128, 65_535, 65_536];
  test.each(sizes)('1.*: %i bytes of text and binary, whole and in pieces', (size) => {
    const text = '*'.repeat(size);
    for (const from of ['client', 'server'] as const)
      for (const piece of [MAX * 2, 997, size > 1000 ? 333 : 1]) {
        const frames = [textFrame(text), binaryFrame(Buffer.from(text.slice(0, 5)), Buffer.from(text.slice(5)))];
        const wire = Buffer.concat(from === 'client' ? frames.map(masked) : frames);
        expect(take(wire, from, piece)).toEqual([`text ${text}`, `binary ${toHex(Buffer.from(text))}`]);
      }
  });

  test('a message beyond the limit is refused by its header, before its bytes', () => {
    expect(refusal(hex('82 7f 0000000000010001'))).toBe(CLOSE.tooLarge);
    expect(refusal(hex('82 7f 8000000000000000'))).toBe(CLOSE.tooLarge);
    expect(refusal(hex('82 ff 0000000000010001 00000000'), 'client')).toBe(CLOSE.tooLarge);
  });

  test('so is one of fragments that come to more', () => {
    const half = Buffer.alloc(MAX / 2);
    const part = (first: number, bytes: Uint8Array): Buffer => {
      const frame = binaryFrame(bytes);
      frame[0] = first;
      return frame;
    };
    const whole = Buffer.concat([part(2, half), part(0, half)]);
    expect(take(Buffer.concat([whole, raw(0x80)]))).toEqual([`binary ${'00'.repeat(MAX)}`]);
    expect(refusal(Buffer.concat([whole, hex('80 01')]))).toBe(CLOSE.tooLarge);
  });

  test('lengths must have their shortest form', () => {
    expect(refusal(hex('82 7e 007d'))).toBe(CLOSE.protocol);
    expect(refusal(hex('82 7f 000000000000ffff'))).toBe(CLOSE.protocol);
  });

  test('clients mask and servers do not', () => {
    expect(refusal(textFrame('x'), 'client')).toBe(CLOSE.protocol);
    expect(refusal(masked(textFrame('x')), 'server')).toBe(CLOSE.protocol);
  });

  test('what is given away is not changed by what comes later', () => {
    const parser = parserOf('client');
    const wire = Buffer.concat([masked(binaryFrame(Buffer.from('one'))), masked(binaryFrame(Buffer.from('two')))]);
    const given = [...parser.take(wire.subarray(0, 14)), ...parser.take(wire.subarray(14))];
    expect(given.map(toldOf)).toEqual(['binary 6f6e65', 'binary 74776f']);
  });
});

describe('control frames', () => {
  test('2.*: pings and pongs of up to 125 bytes, any bytes, whole and byte by byte', () => {
    for (const payload of ['', '48656c6c6f', '00fffefdfcfb00ff', 'fe'.repeat(125)])
      for (const piece of [1000, 1]) {
        const wire = Buffer.concat([pingFrame(hex(payload)), pongFrame(hex(payload))]);
        expect(take(wire, 'server', piece)).toEqual([`ping ${payload}`, `pong ${payload}`]);
      }
    expect(refusal(hex(`89 7e 007e ${'00'.repeat(126)}`))).toBe(CLOSE.protocol);
    expect(() => pingFrame(Buffer.alloc(126))).toThrow('126 bytes');
    expect(() => closeFrame(CLOSE.normal, 'x'.repeat(124))).toThrow('126 bytes');
  });

  test('3.*: reserved bits are refused, in any frame, after what came before', () => {
    for (const bits of [0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70])
      for (const first of [0x81, 0x82, 0x88, 0x89, 0x8a]) expect(refusal(raw(first | bits))).toBe(CLOSE.protocol);
    const parser = parserOf('server');
    const taken = parser.take(Buffer.concat([textFrame('before'), raw(0xc1, 'x')]));
    expect(taken.next().value).toEqual({ kind: 'text', text: 'before' });
    expect(() => taken.next()).toThrow(ProtocolError);
  });

  test.each([3, 4, 5, 6, 7, 11, 12, 13, 14, 15])('4.*: opcode %i is refused', (opcode) => {
    for (const payload of ['', 'x']) expect(refusal(raw(0x80 | opcode, payload))).toBe(CLOSE.protocol);
  });
});

describe('fragments', () => {
  const [text, more, last, ping] = [raw(0x01, 'a'), raw(0x00, 'b'), raw(0x80, 'c'), raw(0x89, 'p')];
  test.each([
    ['5.3', [text, last], ['text ac']],
    ['5.6: a ping between them', [text, ping, last], ['ping 70', 'text ac']],
    [
      '5.19: pings and many fragments',
      [text, more, ping, more, more, ping, last],
      ['ping 70', 'ping 70', 'text abbbc'],
    ],
    ['6.1: empty ones', [raw(0x01), raw(0x00), raw(0x80)], ['text ']],
    ['two messages', [text, last, raw(0x02, 'a'), last], ['text ac', 'binary 6163']],
  ])('%s', (_name, frames, told) => {
    for (const piece of [1000, 1]) expect(take(Buffer.concat(frames), 'server', piece)).toEqual(told);
    expect(take(Buffer.concat(frames.map(masked)), 'client', 3)).toEqual(told);
  });

  test.each([
    ['5.1: a fragmented ping', [raw(0x09, 'x'), raw(0x80, 'x')]],
    ['5.2: a fragmented pong', [raw(0x0a, 'x'), raw(0x80, 'x')]],
    ['7.*: a fragmented close', [raw(0x08), raw(0x80)]],
    ['5.9: a continuation of nothing', [raw(0x80, 'x')]],
    ['5.12: one that is not the last', [raw(0x00, 'x'), text, last]],
    ['5.18: a second message before the end of the first', [text, raw(0x81, 'x')]],
    ['5.15: a third part after the end', [text, last, more]],
  ])('%s is refused', (_name, frames) => expect(refusal(Buffer.concat(frames))).toBe(CLOSE.protocol));
});

describe('UTF-8', () => {
  const valid = [
    'cebae1bdb9cf83cebcceb5',
    '00',
    'c280',
    'e0a080',
    'f0908080',
    '7f',
    'dfbf',
    'efbfbf',
    'f48fbfbf',
    'ed9fbf',
    'ee8080',
    'efbfbd',
    'efbfbe',
  ];
  const invalid = [
    'cebae1bdb9cf83cebcceb5eda080656469746564',
    'cebae1bdb9cf83cebcceb5f4908080656469746564',
    'f8888080 80',
    '80',
    'bf',
    'c0',
    'ce',
    'e0a0',
    'f09080',
    'fe',
    'ff',
    'c0af',
    'e080af',
    'f08080af',
    'c1bf',
    'eda080',
    'edbfbf',
    'eda080edb080',
    'f4908080',
  ];
  test.each(valid)('6.*: %s is text, also when fragments cut it', (bytes) => {
    const text = hex(bytes);
    expect(take(raw(0x81, text))).toEqual([`text ${text.toString()}`]);
    const pieces = [...text].map((byte) => raw(0x00, Uint8Array.of(byte)));
    expect(take(Buffer.concat([raw(0x01), ...pieces, raw(0x80)]))).toEqual([`text ${text.toString()}`]);
  });

  test.each(invalid)('6.*: %s is not', (bytes) => {
    expect(refusal(raw(0x81, hex(bytes)))).toBe(CLOSE.notText);
    expect(take(raw(0x82, hex(bytes)))).toHaveLength(1);
    expect(refusal(raw(0x88, Buffer.concat([hex('03e8'), hex(bytes)])))).toBe(CLOSE.notText);
  });
});

describe('closing', () => {
  test('7.3: without a code, with one, with a reason of up to 123 bytes', () => {
    expect(take(closeFrame(CLOSE.none))).toEqual(['close 1005']);
    expect(take(closeFrame(CLOSE.normal))).toEqual(['close 1000']);
    expect(take(closeFrame(CLOSE.slow, 'x'.repeat(123)))).toEqual([`close 4000 ${'x'.repeat(123)}`]);
    expect(refusal(hex('88 01 03'))).toBe(CLOSE.protocol);
    expect(refusal(hex(`88 7e 007e 03e8 ${'78'.repeat(124)}`))).toBe(CLOSE.protocol);
  });

  const code = (value: number): Buffer => raw(0x88, Uint8Array.of(value >>> 8, value & 255));
  test('7.7: codes that may be used', () => {
    for (const value of [
      1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999,
    ])
      expect(take(code(value))).toEqual([`close ${value}`]);
  });

  test('7.9: codes that may not', () => {
    for (const value of [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535])
      expect(refusal(code(value))).toBe(CLOSE.protocol);
  });

  test('7.1: what comes after it is not looked at, in this chunk and in others', () => {
    const after = Buffer.concat([closeFrame(CLOSE.normal), textFrame('late'), hex('ffff')]);
    for (const piece of [1000, 1]) expect(take(after, 'server', piece)).toEqual(['close 1000']);
  });
});

test('a frame that trickles in keeps no more than twice of what has come', () => {
  const parser = parserOf('client');
  const before = process.memoryUsage().arrayBuffers;
  const header = hex('82 ff 0000000000010000 00000000');
  for (const piece of [header, Buffer.alloc(300), Buffer.alloc(300)]) expect([...parser.take(piece)]).toEqual([]);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * 1024);
  const counts = Array.from({ length: MAX - 600 }, () => [...parser.take(Buffer.alloc(1))].length);
  expect(counts.indexOf(1)).toBe(MAX - 601);
});

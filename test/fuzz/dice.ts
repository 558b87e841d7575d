// Seeded choices, and the ways in which valid bytes, texts and JSON are made wrong.
import { toHex } from '../../src/protocol/bytes.ts';
import { seededRandom } from '../../src/testing/random.ts';

// Lengths and counts at which parsers err.
const EDGES = [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xbfff, 0xc000, 0xc001, 0xffff, 0x7fffffff, 0xffffffff];
const ODD_VALUES: readonly unknown[] = [
  null,
  true,
  false,
  0,
  -1,
  1.5,
  1e308,
  2 ** 53,
  -(2 ** 63),
  '',
  '\ud800',
  '\u0000',
  '__proto__',
  'a'.repeat(70_000),
  [],
  {},
  [[[[[[[[[[]]]]]]]]]],
  { toString: 1 },
];
const ODD_TEXTS = [
  '\u0000',
  '\n',
  '\r',
  '\t',
  ' ',
  '"',
  "'",
  '\\',
  '\u001b[2J',
  '\u009b31m',
  '\u202e',
  '\u200d',
  '\u{e0041}',
  '\ud800',
  '\udc00',
  '\ufeff',
  '\u0301\u0301\u0301\u0301\u0301\u0301',
  '\u{1f3f4}',
  '\ufe0f',
  '\u2028',
  'İ',
  'ß',
  '..',
  '/',
  ':',
  '=',
  '?',
  '%',
  '%ff',
  '*',
  '(',
  ')',
  '-',
  '--',
  '#',
  '[',
  ']',
  '{',
  '}',
  '0',
  '9999999999999',
  'NOT',
  'constructor',
];

/** The choices of one case; the same seed makes the same ones. */
export class Dice {
  readonly #random;

  constructor(seed: number) {
    this.#random = seededRandom(Math.imul(seed, 0x9e3779b1));
  }

  /** From 0 to `below` − 1. */
  int(below: number): number {
    return Math.floor(this.#random.fraction() * below);
  }

  chance(probability: number): boolean {
    return this.#random.fraction() < probability;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.int(items.length)] as T;
  }

  bytes(size: number): Uint8Array<ArrayBuffer> {
    return this.#random.bytes(size) as Uint8Array<ArrayBuffer>;
  }

  /** Lower-case hex of `size` bytes. */
  hex(size: number): string {
    return toHex(this.bytes(size));
  }

  /** Letters, and now and then something that a parser may stumble over. */
  text(pieces: number): string {
    let out = '';
    for (let i = this.int(pieces + 1); i > 0; i--)
      out += this.chance(0.3) ? this.pick(ODD_TEXTS) : String.fromCodePoint(0x61 + this.int(26));
    return out;
  }

  /** Any code point: of the first plane mostly. */
  char(): string {
    return String.fromCodePoint(this.chance(0.8) ? this.int(0x3000) : this.int(0x110000));
  }
}

/** Bytes with one to four faults; as long as before, shorter or longer. */
export const mutateBytes = (dice: Dice, bytes: Uint8Array): Uint8Array<ArrayBuffer> => {
  let out = Buffer.from(bytes);
  for (let faults = 1 + dice.int(4); faults > 0; faults--) out = faulty(dice, out);
  return new Uint8Array(out);
};

const faulty = (dice: Dice, bytes: Buffer<ArrayBuffer>): Buffer<ArrayBuffer> => {
  const at = dice.int(bytes.length + 1);
  const size = 1 + dice.int(8);
  switch (dice.int(8)) {
    case 0:
      return bytes.subarray(0, at);
    case 1:
      return Buffer.concat([bytes.subarray(0, at), dice.bytes(size), bytes.subarray(at)]);
    case 2:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + size)]);
    case 3:
      return Buffer.concat([bytes, bytes.subarray(at)]);
    case 4:
      if (at + 2 <= bytes.length) bytes.writeUInt16BE(dice.pick(EDGES) & 0xffff, at);
      return bytes;
    case 5:
      if (at + 4 <= bytes.length) bytes.writeUInt32BE(dice.pick(EDGES), at);
      return bytes;
    default:
      if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << dice.int(8));
      return bytes;
  }
};

/** A text with one to three faults. */
export const mutateText = (dice: Dice, text: string): string => {
  let out = text;
  for (let faults = 1 + dice.int(3); faults > 0; faults--) {
    const at = dice.int(out.length + 1);
    const cut = dice.chance(0.5) ? dice.int(4) : 0;
    const added = dice.pick([dice.pick(ODD_TEXTS), dice.char(), out.slice(at, at + dice.int(20)), '']);
    out = out.slice(0, at) + added + out.slice(at + cut);
  }
  if (dice.chance(0.05)) out = dice.chance(0.5) ? out.toUpperCase() : out.repeat(1 + dice.int(50));
  return out;
};

/** A text of JSON in which one place is another value, is missing, is there twice, or is no JSON any more. */
export const mutateJson = (dice: Dice, value: unknown): string => {
  const copy: unknown = structuredClone(value);
  const parents = containersOf(copy);
  const parent = dice.pick(parents);
  const keys = parent === undefined ? [] : Object.keys(parent);
  const key = keys.length === 0 ? 'x' : dice.pick(keys);
  if (parent === undefined) return JSON.stringify(dice.pick(ODD_VALUES));
  switch (dice.int(6)) {
    case 0:
      delete parent[key];
      return JSON.stringify(copy);
    case 1:
      parent[dice.pick(['x', 'toString', 'constructor', '', 'kind', 'id'])] = dice.pick(ODD_VALUES);
      return JSON.stringify(copy);
    case 2: {
      const text = JSON.stringify(copy);
      const member = `${JSON.stringify(dice.pick([key, '__proto__']))}:${JSON.stringify(dice.pick(ODD_VALUES))}`;
      return text.startsWith('{') ? text.replace('{', `{${member}${text === '{}' ? '' : ','}`) : text;
    }
    case 3:
      return mutateText(dice, JSON.stringify(copy));
    case 4:
      parent[key] = typeof parent[key] === 'string' ? mutateText(dice, parent[key]) : dice.pick(ODD_VALUES);
      return JSON.stringify(copy);
    default:
      parent[key] = dice.pick(ODD_VALUES);
      return JSON.stringify(copy);
  }
};

const containersOf = (value: unknown): Record<string, unknown>[] => {
  if (typeof value !== 'object' || value === null) return [];
  return [value as Record<string, unknown>, ...Object.values(value).flatMap(containersOf)];
};

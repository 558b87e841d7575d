// Parses JSON from outside: bounded depth, no duplicate keys, no `__proto__`; everything else is the schema's work.
import { ProtocolError } from './errors.ts';
import { JSON_DEPTH_MAX } from './limits.ts';

type Cursor = { readonly text: string; at: number };

/**
 * The value of `text`, which must be exactly one JSON value. Throws ProtocolError `frame.invalid` on a syntax error, more
 * than JSON_DEPTH_MAX nested containers, a key given twice, or the key `__proto__`. RFC 8259.
 */
export const parseStrictJson = (text: string): unknown => {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ProtocolError('frame.invalid', { details: { why: 'syntax' } });
  }
  scanValue({ text, at: 0 }, 0);
  return value;
};

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The value of UTF-8 `bytes`, as `parseStrictJson`. Throws ProtocolError `frame.invalid`. */
export const parseJsonBytes = (bytes: Uint8Array): unknown => {
  let decoded: string;
  try {
    decoded = UTF8.decode(bytes);
  } catch {
    throw new ProtocolError('frame.invalid', { details: { why: 'utf-8' } });
  }
  return parseStrictJson(decoded);
};

// A number or a word.
const SCALAR = /[-+.\w]*/y;

// The text is known to be valid JSON here: the scan only walks it, to see keys before JSON.parse merged them.
const scanValue = (cursor: Cursor, depth: number): void => {
  skipSpace(cursor);
  const first = cursor.text[cursor.at];
  if (first === '{') scanMembers(cursor, depth + 1);
  else if (first === '[') scanItems(cursor, depth + 1);
  else if (first === '"') scanString(cursor);
  else {
    SCALAR.lastIndex = cursor.at;
    SCALAR.test(cursor.text);
    cursor.at = SCALAR.lastIndex;
  }
  skipSpace(cursor);
};

const scanMembers = (cursor: Cursor, depth: number): void => {
  refuseDepth(depth);
  const keys = new Set<string>();
  cursor.at++;
  skipSpace(cursor);
  while (cursor.text[cursor.at] !== '}') {
    skipSpace(cursor);
    const written = scanString(cursor);
    const key = written.includes('\\') ? (JSON.parse(written) as string) : written.slice(1, -1);
    if (key === '__proto__' || keys.has(key)) throw new ProtocolError('frame.invalid', { details: { why: 'key' } });
    keys.add(key);
    skipSpace(cursor);
    cursor.at++;
    scanValue(cursor, depth);
    if (cursor.text[cursor.at] === ',') cursor.at++;
  }
  cursor.at++;
};

const scanItems = (cursor: Cursor, depth: number): void => {
  refuseDepth(depth);
  cursor.at++;
  skipSpace(cursor);
  while (cursor.text[cursor.at] !== ']') {
    scanValue(cursor, depth);
    if (cursor.text[cursor.at] === ',') cursor.at++;
  }
  cursor.at++;
};

const scanString = (cursor: Cursor): string => {
  const from = cursor.at;
  let end = cursor.text.indexOf('"', from + 1);
  while (isEscaped(cursor.text, end)) end = cursor.text.indexOf('"', end + 1);
  cursor.at = end + 1;
  return cursor.text.slice(from, cursor.at);
};

// After an odd number of backslashes.
const isEscaped = (text: string, at: number): boolean => {
  let first = at;
  while (text[first - 1] === '\\') first--;
  return (at - first) % 2 === 1;
};

const SPACE = 0x20;

const skipSpace = (cursor: Cursor): void => {
  while (cursor.text.charCodeAt(cursor.at) <= SPACE) cursor.at++;
};

const refuseDepth = (depth: number): void => {
  if (depth > JSON_DEPTH_MAX) throw new ProtocolError('frame.invalid', { details: { why: 'depth' } });
};

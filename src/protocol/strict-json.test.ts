import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseStrictJson } from './strict-json.ts';

const why = (text: string): unknown => {
  try {
    parseStrictJson(text);
    return 'accepted';
  } catch (error) {
    return (error as { details: { why: string } }).details.why;
  }
};

describe('JSON from outside', () => {
  test('gives what JSON.parse gives for every value without hostile keys', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
        const text = JSON.stringify(value, null, 1);
        if (text.includes('__proto__')) return;
        expect(parseStrictJson(text)).toEqual(JSON.parse(text));
      }),
    );
  });

  test('refuses a key given twice, also when it is escaped differently', () => {
    expect(why('{"a":1,"a":2}')).toBe('key');
    expect(why('{"a":1,"\\u0061":2}')).toBe('key');
    expect(why('{"x":[{"b":{},"b":[]}]}')).toBe('key');
    expect(why('[{"a":1},{"a":2}]')).toBe('accepted');
    expect(why(String.raw`{"\\":"\"","\"":"\\\\","b":[-1.5e+3,true,null],"c":"\\\""}`)).toBe('accepted');
    expect(why(String.raw`{"x\\":1,"b":{"\"":1,"\"":2}}`)).toBe('key');
  });

  test('refuses __proto__, nine levels and a broken text', () => {
    expect(why('{"__proto__":1}')).toBe('key');
    expect(why(`${'['.repeat(9)}${']'.repeat(9)}`)).toBe('depth');
    expect(why(`${'['.repeat(8)}${']'.repeat(8)}`)).toBe('accepted');
    expect(why('{"a":1} x')).toBe('syntax');
    expect(why('')).toBe('syntax');
  });

  test('never fails in another way', () => {
    fc.assert(fc.property(fc.string(), (text) => ['accepted', 'syntax', 'key', 'depth'].includes(String(why(text)))));
  });
});

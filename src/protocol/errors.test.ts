import { describe, expect, test } from 'vitest';
import { ERROR_CODES, errorObject, exitOf, ProtocolError, rpcNumberOf, SottoError, textOf } from './errors.ts';

describe('the error table', () => {
  test('every row has an exit code of the contract, a number and a sentence without a full stop', () => {
    for (const code of ERROR_CODES) {
      expect([1, 2, 3, 4, 5, 6, 7, 8]).toContain(exitOf(code));
      expect(rpcNumberOf(code)).toBe(-32000 - exitOf(code));
      expect(textOf(code)).toMatch(/^\S.*[^.]$/);
    }
  });

  test('an expected error keeps code, details and its own sentence', () => {
    const error = new ProtocolError('frame.invalid', { message: 'a field is missing', details: { field: 'id' } });
    expect(errorObject(error)).toEqual({
      code: 'frame.invalid',
      message: 'a field is missing',
      exit: 8,
      retry: 'never',
      details: { field: 'id' },
    });
  });

  test('anything else is our bug and tells nothing of its text', () => {
    const told = errorObject(new Error('secret text'));
    expect(told.code).toBe('internal.bug');
    expect(JSON.stringify(told)).not.toContain('secret');
  });

  test('what the disk says is told with its path', () => {
    const refused = (name: string, path?: string) => Object.assign(new Error('secret text'), { code: name, path });
    const told = errorObject(refused('EACCES', '/some/place'));
    expect(told).toMatchObject({
      code: 'path.notAllowed',
      message: `${textOf('path.notAllowed')} (EACCES /some/place)`,
    });
    expect(errorObject(refused('ENOSPC')).message).toBe(textOf('disk.full'));
    const tooLong = errorObject(refused('ENAMETOOLONG', '/some/place'));
    expect(tooLong).toMatchObject({ code: 'path.notAllowed', message: expect.stringMatching(/too long \(.*place\)$/) });
    expect(errorObject(refused('ENOENT', '/some/place')).code).toBe('internal.bug');
  });

  test('the table sentence is used when none is given', () => {
    expect(new SottoError('contact.unknown').message).toBe(textOf('contact.unknown'));
  });
});

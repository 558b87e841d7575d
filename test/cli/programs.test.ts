// The programs beside the commands: each explains itself, and does nothing when it is told what it does not know.
import { describe, expect, test } from 'vitest';
import { sotto } from '../rooms/program.ts';

describe.each(['bench', 'demo', 'serve', 'daemon run'])('sotto %s', (name) => {
  const words = name.split(' ');

  test('explains itself, wherever that is asked', async () => {
    for (const argv of [
      [...words, '--help'],
      [...words, '-h'],
      ['--help', ...words],
    ]) {
      const { code, out, err } = await sotto(argv);
      expect([code, err], argv.join(' ')).toEqual([0, '']);
      expect(out).toMatch(new RegExp(`^sotto ${name}\\b`));
    }
  });

  test.skipIf(name === 'daemon run')('refuses a flag that it does not know', async () => {
    const { code, out, err } = await sotto([...words, '--no-such-flag']);
    expect([code, out]).toEqual([2, '']);
    expect(err).toContain('--no-such-flag');
  });
});

test('bench takes its flags before its name too, and no figure that is not there', async () => {
  const { code, out } = await sotto(['--json', 'bench', '--list']);
  expect(code).toBe(0);
  expect(JSON.parse(out.split('\n')[0] ?? '')).toMatchObject({ name: expect.any(String), unit: expect.any(String) });
  expect((await sotto(['bench', 'no.such'])).code).toBe(2);
  expect((await sotto(['demo', 'alice'])).code).toBe(2);
});

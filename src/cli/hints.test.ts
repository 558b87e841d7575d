// Hints name the account they were given for, and leave alone what somebody has typed or is called.
import { expect, test } from 'vitest';
import { placeFlags, withFlags } from './hints.ts';

const FLAGS = placeFlags({ 'data-dir': "/srv/a b's", account: 'ann' });
const told = (sentence: string) => withFlags(sentence, FLAGS);

test('hints repeat the flags that chose the account, quoted for a shell', () => {
  expect(FLAGS).toBe(` --data-dir '/srv/a b'\\''s' --account ann`);
  expect(told('Next: sotto id, sotto contact add ADDRESS')).toBe(
    `Next: sotto${FLAGS} id, sotto${FLAGS} contact add ADDRESS`,
  );
  expect(told('unlock it with `sotto account unlock`')).toBe(`unlock it with \`sotto${FLAGS} account unlock\``);
  expect(withFlags('see sotto status', placeFlags({ account: true }))).toBe('see sotto status');
});

test('what is no hint stays as it is', () => {
  for (const sentence of [
    'There is no contact "sotto read \\" sotto read"',
    'This is not a sotto link',
    'What answers there is no sotto server',
    'host one: sotto serve',
    'to is missing. Usage: sotto send <to> [text …] [flags]',
    'Then: “sotto read”, 2 members',
    "You have left 'sotto read'",
    'sotto: sotto-read /srv/sotto read',
  ])
    expect(told(sentence)).toBe(sentence);
});

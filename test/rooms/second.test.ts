// The second check of a server, by who sets it: on a terminal and by programs, asked of other devices, changed and removed.
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { drawn } from '../../src/cli/give.ts';
import { refusedSecond } from '../../src/core/room-second.ts';
import { SottoError } from '../../src/protocol/errors.ts';
import { SECOND_TRIES_MAX, TOTP_STEP_MS } from '../../src/protocol/limits.ts';
import type { Result } from '../../src/protocol/rpc.ts';
import { totp } from '../../src/server/second.ts';
import { onTerminal } from '../cli/terminal.ts';
import { pathsOf } from '../daemon/furnished.ts';
import { run } from '../e2e/stage.ts';
import { type Guest, House } from './house.ts';

const ONE = 'a password of mine';
const TWO = 'another password';
const RECOVERY = /\b(?:[0-9a-f]{5}-){3}[0-9a-f]{5}\b/g;

let house: House;
let alice: Guest;
let bob: Guest;
let phone: Guest;
let link = '';
const secrets: string[] = [];
let recovery: string[] = [];

beforeAll(async () => {
  ({ house, alice, bob } = await House.open('alice', 'bob'));
  [phone, link] = await Promise.all([house.device(alice, 'phone'), alice.invite(9)]);
});
afterAll(() => house[Symbol.asyncDispose]());

const bytesOf = (secret: string): Uint8Array => {
  const digits = [...secret].map((digit) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(digit));
  const bits = digits.map((digit) => digit.toString(2).padStart(5, '0')).join('');
  return Uint8Array.from(bits.match(/.{8}/g) ?? [], (eight) => Number.parseInt(eight, 2));
};
/** What an authenticator shows, now or some steps later: the server takes each once, up to one step early. */
const codeOf = (secret: string, later = 0): string =>
  totp(bytesOf(secret), Math.floor(Date.now() / TOTP_STEP_MS) + later);
const secretOf = (shown: string): string => /secret=([A-Z2-7]{32})\b/.exec(shown)?.[1] ?? '';
const shows = async (guest: Guest) =>
  (await guest.user.items<Result<'server.secondCheck'>>('server', 'second-check'))[0];
const told = (guest: Guest) =>
  guest.events.filter(({ kind }) => kind === 'member.secondCheck').map((one) => one.detail);
const failure = (asked: Promise<unknown>) =>
  asked.then(
    () => 'nothing was refused',
    (error: Error & { code: string }) => `${error.code}: ${error.message}`,
  );
const joins = (guest: Guest, second?: { readonly password: string; readonly code: string }) =>
  guest.call('server.join', { link, label: 'home', ...second });

test('is set on a terminal: a password twice, a secret as a link and a picture, a code, and the recovery codes', async () => {
  expect(await shows(alice)).toEqual({ server: 'home', on: false, recoveryCodesLeft: 0 });
  const { code, shown } = await onTerminal(alice.user.words('server second-check set home'), [
    { on: /Password for the second check: /, type: `${ONE}\r` },
    { on: /The same again: /, type: `${ONE}\r` },
    // A slip costs nothing: it is asked for again.
    { on: /Code that it shows/, type: (all) => `${codeOf(secretOf(all), 9)}\r` },
    {
      on: /no code of the new secret[\s\S]*Code that it shows/,
      type: (all) => `${codeOf(secretOf(all)).replace(/(?=...$)/, ' ')}\r`,
    },
  ]);
  expect(code, shown).toBe(0);
  expect(shown).not.toContain(ONE);
  const [otpauth = ''] = /otpauth:\S+/.exec(shown) ?? [];
  expect(new URL(otpauth).pathname).toBe('/sotto%20home:alice');
  expect(shown.replaceAll('\r', '')).toContain((await drawn(otpauth)).trim());
  secrets.push(secretOf(shown));
  recovery = shown.match(RECOVERY) ?? [];
  expect(new Set(recovery).size).toBe(10);
  expect(await shows(alice)).toEqual({ server: 'home', on: true, recoveryCodesLeft: 10 });
  expect((await alice.user.run('server', 'second-check', 'set')).error?.code).toBe('second.on');
  const devices = async (guest: Guest) => {
    const { err } = await guest.user.run('server', 'devices', { json: false });
    return [
      err.trim().replace(/ --data-dir \S+ --account \S+/, ''),
      ...(await guest.user.items<{ secondCheck: boolean }>('server', 'devices')).map((one) => one.secondCheck),
    ];
  };
  expect(await devices(alice)).toEqual(['Another device needs the second check: sotto server second-check', true]);
  expect(await devices(bob)).toEqual(['Another device needs no second check: sotto server second-check set', false]);
  const words = await alice.user.ok('complete', '--', 'server', 'second-check', '', { json: false });
  expect(words.out.trim().split('\n')).toEqual(['set', 'change', 'remove', 'home']);
});

test('another device comes in with it only; each code serves once', async () => {
  const [secret = ''] = secrets;
  const [first = ''] = recovery;
  for (const half of [{ password: ONE }, { code: codeOf(secret, 1) }])
    expect(await phone.refused('server.join', { link, label: 'home', ...half })).toBe('params.invalid');
  expect(await failure(joins(phone))).toMatch(/^login\.second: .*--code/);
  for (const wrong of [
    { password: TWO, code: codeOf(secret, 1) },
    { password: ONE, code: `${first.slice(0, -1)}x` },
  ])
    expect(await failure(joins(phone, wrong))).toMatch(/^login\.second: The password or the code is wrong/);
  expect(await joins(phone, { password: ONE, code: codeOf(secret, 1) })).toMatchObject({ state: 'online' });
  const tablet = await house.device(alice, 'tablet');
  const again = { password: ONE, code: first };
  expect(await joins(tablet, again)).toMatchObject({ state: 'online' });
  expect(await shows(tablet)).toEqual({ server: 'home', on: true, recoveryCodesLeft: 9 });
  expect(await failure(phone.call('server.removeSecondCheck', again))).toMatch(/^login\.second: /);
});

test('is changed and removed with the present ones only, and every other device hears of it', async () => {
  const before = told(phone).length;
  const [given] = await alice.user.items<Result<'server.secondSecret'>>('server', 'second-check', 'change');
  const secret = given?.secret ?? '';
  secrets.push(secret);
  // Programs give what is secret by descriptors.
  const change = async (password: string, code: string) => {
    const flags = `--password-fd 3 --code ${code} --new-password-fd 4 --secret-fd 5 --new-code ${codeOf(secret)}`;
    const command = `${alice.user.words(`--json server second-check change home ${flags}`)} 3<<<'${password}' 4<<<'${TWO}' 5<<<'${secret}'`;
    const { code: exit, out, err } = await run(['-c', command], { program: 'bash' });
    return {
      exit,
      told: JSON.parse(exit === 0 ? out.toString() : err) as Result<'server.setSecondCheck'> & { code: string },
    };
  };
  const [, second = '', third = ''] = recovery;
  const refused = await change(TWO, second);
  expect([refused.exit, refused.told.code]).toEqual([6, 'login.second']);
  const changed = await change(ONE, second);
  expect(changed.exit).toBe(0);
  recovery.push(...changed.told.recoveryCodes);
  expect(await shows(phone)).toEqual({ server: 'home', on: true, recoveryCodesLeft: 10 });
  await phone.sees('the change', async () => told(phone).length > before);
  expect(told(phone).at(-1)).toMatch(/^was set or changed at 20\S+Z: if it was not you/);
  for (const wrong of [
    { password: TWO, code: third },
    { password: ONE, code: codeOf(secret, 1) },
  ])
    expect(await failure(phone.call('server.removeSecondCheck', wrong))).toMatch(/^login\.second: /);
  const code = codeOf(secret, 1);
  const removed = await alice.user.ok('server', 'second-check', 'remove', '--password-fd', '0', '--code', code, {
    input: `${TWO}\n`,
  });
  expect(removed.items).toEqual([{ server: 'home', on: false, recoveryCodesLeft: 0 }]);
  await phone.sees('the end', async () => told(phone).some((one) => one?.startsWith('was removed at 20')));
  expect(await failure(alice.call('server.removeSecondCheck', { password: TWO, code }))).toMatch(/^second\.off: /);
});

test('tries are few: who guesses is told to wait, and how long', async () => {
  const { secret } = await bob.call('server.secondSecret', {});
  const set = { password: ONE, secret, code: codeOf(secret) };
  const [one = ''] = (await bob.call('server.setSecondCheck', set)).recoveryCodes;
  const { code, shown } = await onTerminal(bob.user.words('server second-check change'), [
    { on: /Present password of the second check: /, type: `${ONE}\r` },
    { on: /New password of the second check: /, type: `${TWO}\r` },
    { on: /The same again: /, type: `${TWO}\r` },
    { on: /Code that it shows/, type: (all) => `${codeOf(secretOf(all))}\r` },
    { on: /Present code[^:]+: /, type: `${one}\r` },
  ]);
  expect([code, shown.match(RECOVERY)?.length], shown).toEqual([0, 11]);
  // The right answer was none of them.
  for (let tries = 0; tries < SECOND_TRIES_MAX; tries++)
    expect(await bob.refused('server.removeSecondCheck', { password: TWO, code: '0000' })).toBe('login.second');
  const late = { password: TWO, code: codeOf(secretOf(shown), 1) };
  expect(await failure(bob.call('server.removeSecondCheck', late))).toMatch(/^rate\.limited: .*again in \d+ min/);
  expect(await failure(bob.call('server.setSecondCheck', { ...set, present: late }))).toMatch(/^rate\.limited: /);
});

test('a clock that is off is told, where it may be why a code is refused', () => {
  const refused = new SottoError('login.second');
  expect(refusedSecond(refused, 90_000).message).toMatch(/wrong.*clock, which is 90 s ahead of this one/);
  expect(refusedSecond(refused, -90_000).message).toMatch(/which is 90 s behind this one/);
  expect(refusedSecond(refused, TOTP_STEP_MS).message).not.toMatch(/clock/);
});

test('nothing secret of it is in a log, an event or an account', async () => {
  expect([secrets.length, recovery.length]).toEqual([2, 20]);
  for (const guest of [alice, phone]) {
    const rows = await guest.look((db) =>
      db
        .all<{ name: string }>("SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE TABLE%'")
        .flatMap(({ name }) => db.all<object>(`SELECT * FROM ${name}`).flatMap((row) => Object.values(row)))
        .map((value) => (value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : String(value)))
        .join('\n'),
    );
    expect(rows.includes('was removed at')).toBe(true);
    const kept = `${readFileSync(pathsOf(guest.user).log, 'utf8')}${JSON.stringify(guest.events)}${rows}`;
    const raw = secrets.map((secret) => Buffer.from(bytesOf(secret)).toString('latin1'));
    expect([ONE, TWO, ...secrets, ...raw, ...recovery].filter((secret) => kept.includes(secret))).toEqual([]);
  }
});

// One account in two places: the copy says so and stays away, until it is told to take over or the other one ends.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Stage, User } from './stage.ts';

let stage: Stage;
let copies: Stage;
beforeAll(() => {
  stage = new Stage();
  // What Tor must be told with care.
  copies = new Stage({ name: `Zoë's "other" place #2 \\ 7` });
});
afterAll(async () => {
  await copies[Symbol.asyncDispose]();
  await stage[Symbol.asyncDispose]();
});

const copy = (from: string, to: string): void => void execFileSync('cp', ['-a', from, to]);

type Checks = { check: string; ok: boolean; fix?: string };

test('a copy of a running account is told so with exit 7; it heals when the other ends, and --takeover does not ask', async () => {
  const original = await stage.user('nora');
  await original.ok('daemon', 'stop');
  copy(join(stage.dir, 'accounts'), join(copies.dir, 'accounts'));
  await original.ok('daemon', 'start', '--wait', 'reachable');
  const second = copies.stranger('nora');

  const refused = await second.run('daemon', 'start', '--wait', 'online', '--timeout', '60s');
  expect(refused.error).toMatchObject({ code: 'account.elsewhere', exit: 7 });
  const checks = (await second.run<Checks>('doctor')).items.filter((one) => !one.ok);
  expect(checks).toMatchObject([{ check: 'tor', fix: expect.stringContaining('--takeover') }]);
  expect(await original.one('status')).toMatchObject({ tor: { state: 'online', reachable: true } });

  await original.ok('daemon', 'stop');
  await second.until('its own address', async () => (await second.one<Online>('status')).tor.reachable);
  await second.ok('daemon', 'stop');

  // The original is at home where it is: it does not ask. A third copy does, and takes over.
  await original.ok('daemon', 'start', '--wait', 'reachable');
  copy(join(copies.dir, 'accounts/nora'), join(copies.dir, 'accounts/third'));
  const third = new User(copies.dir, 'third');
  try {
    await third.ok('daemon', 'start', '--takeover', '--wait', 'reachable', '--timeout', '60s');
  } finally {
    await third.run('daemon', 'stop');
  }
});

type Online = { tor: { reachable: boolean } };

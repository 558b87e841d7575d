// Ways into the network by configuration, with real bridges; and what is told when Tor does not take them.
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, inject, test } from 'vitest';
import { Stage, type User } from '../e2e/stage.ts';
import { startBridge } from './bridge.ts';
import { ask } from './control.ts';

const stages: Stage[] = [];
const stageWith = (tor: Record<string, unknown>): Stage => {
  const stage = new Stage();
  stages.push(stage);
  configure(stage, tor);
  return stage;
};
// JSON values are TOML values as long as they hold no object.
const configure = (stage: Stage, tor: Record<string, unknown>): void => {
  const lines = Object.entries({ network: inject('torNetworkFile'), ...tor });
  stage.configure(`[tor]\n${lines.map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`).join('')}`);
};

const torCheck = async (user: User): Promise<Check | undefined> =>
  (await user.run<Check>('doctor')).items.find((one) => one.check === 'tor');

afterAll(async () => {
  for (const stage of stages) await stage[Symbol.asyncDispose]();
});

describe('Tor', () => {
  test('goes through the bridge, or the transport to it, that is configured, and through nothing else', async () => {
    await using bridge = await startBridge();
    const { port, fingerprint } = bridge;
    const plain = `plain exec ${process.execPath} ${resolve('test/tor/plain-transport.mjs')}`;
    const direct = { bridges: [`127.0.0.1:${port} ${fingerprint}`] };
    const through = { bridges: [`plain 127.0.0.1:${port} ${fingerprint}`], transports: [plain] };
    await Promise.all(
      [direct, through].map(async (lines) => {
        const user = await stageWith(lines).user('olga');
        const guards = (await ask(user, 'entry-guards')).split('\n').filter((line) => line.includes(' up'));
        expect(guards.map((line) => line.slice(1, 41))).toEqual([fingerprint]);
      }),
    );
  });

  test('that does not take a line is told with its own words', async () => {
    const user = await stageWith({ bridges: ['not an address'] }).user('olga', { reachable: false });
    const detail = await user.until('the refusal', async () => {
      const check = await torCheck(user);
      return check?.ok === false ? check.detail : undefined;
    });
    expect(detail).toMatch(/Bridge line did not parse/);
  });

  test('that ends at once is tried again ever more rarely', async () => {
    const stage = stageWith({});
    const [count, binary] = [join(stage.dir, 'runs'), join(stage.dir, 'fake-tor')];
    const runs = (): number => readFileSync(count, { encoding: 'utf8', flag: 'a+' }).split('\n').length - 1;
    writeFileSync(binary, `#!/bin/sh\necho run >> ${count}\necho "no such luck" >&2\nexit 1\n`, { mode: 0o700 });
    configure(stage, { binary });
    const user = await stage.user('olga', { reachable: false });
    await user.until('three runs', async () => runs() >= 3);
    expect(await torCheck(user)).toMatchObject({ ok: false, detail: expect.stringContaining('no such luck') });
    // After 0 and 2 s comes one at 4 s, not sooner.
    const before = runs();
    await new Promise((done) => setTimeout(done, 1_500));
    expect(runs()).toBe(before);
  });
});

type Check = { check: string; ok: boolean; detail: string };

// What disk-full.test.ts runs on a disk of its own, which TMPDIR names: a daemon there, driven through the command line.
import assert from 'node:assert/strict';
import { readdirSync, statfsSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeAccount } from '../../src/lab/bench/fixture.ts';
import { rememberMessages } from '../account/past.ts';
import { type Ran, Stage } from '../e2e/stage.ts';
import { ballast, fill, free, PIECE } from './ballast.ts';

const MESSAGES = 200;
const LONG = 'x'.repeat(8_000);
const SENDS_MAX = 200;
const SPOOL_BYTES = 8 * 1024 * 1024;
const LINES = 100;
const DOCTOR_FREE_BYTES_MIN = 64 * 1024 * 1024;

await using stage = new Stage({ offline: true });
const alice = stage.stranger('alice');
await makeAccount(stage.dir, 'alice', {
  contacts: 1,
  fill: (db, [one = 0]) => rememberMessages(db, one, { count: MESSAGES, text: LONG }),
});
const secret = join(stage.dir, 'secret');
writeFileSync(secret, 'open sesame\n', { mode: 0o600 });
const env = { SOTTO_PASSPHRASE_FILE: secret };
const file = join(stage.dir, 'kept.backup');
const history = join(stage.dir, 'kept.history');
const sent: string[] = [];

/** What `doctor` finds wrong. */
const wrong = async () =>
  (await alice.run<{ check: string; ok: boolean; detail: string; fix?: string }>('doctor')).items.filter(
    ({ ok }) => !ok,
  );

const isFull = ({ error }: Ran<unknown>): void => assert.deepEqual([error?.code, error?.exit], ['disk.full', 1]);

const send = async (text: string) => {
  const ran = await alice.run('send', 'c1', text, '--wait', 'queued');
  if (ran.code === 0) sent.push(text);
  return ran;
};

const sendUntilFull = async (): Promise<void> => {
  fill();
  for (let i = 0; i < SENDS_MAX; i++) {
    const ran = await send(`${sent.length} ${LONG}`);
    if (ran.code !== 0) return isFull(ran);
  }
  assert.fail('there is always room');
};

const keptIn = async (user: typeof alice): Promise<string[]> =>
  (await user.items<{ body: string }>('export', 'c1')).map(({ body }) => body).slice(MESSAGES);

// A line of the log each, until its last page is full.
const logMuch = async (pid: number): Promise<void> => {
  for (let i = 0; i < LINES; i++) {
    process.kill(pid, 'SIGHUP');
    await new Promise((done) => setTimeout(done, 5));
  }
};

const isLow = async (): Promise<void> => {
  assert.deepEqual(await wrong(), []);
  const { bavail, bsize } = statfsSync(tmpdir());
  writeFileSync(ballast, Buffer.alloc(bavail * bsize - DOCTOR_FREE_BYTES_MIN + PIECE.length));
  assert.deepEqual(await wrong(), [{ check: 'disk', ok: false, detail: 'only 63 MiB free', fix: 'free some space' }]);
  truncateSync(ballast);
  assert.deepEqual(await wrong(), []);
};

const goesOn = async (): Promise<void> => {
  await send('there is room');
  const pid = await alice.pid();
  await sendUntilFull();
  isFull(await alice.run('backup', file, { env }));
  isFull(await alice.run('export', '--output', history));
  assert.deepEqual(
    readdirSync(stage.dir).filter((name) => name.startsWith('kept')),
    [],
  );
  assert.deepEqual(await keptIn(alice), sent);
  const low = { check: 'disk', ok: false, detail: 'only 0 MiB free', fix: 'free some space' };
  assert.deepEqual(await wrong(), [low]);
  await logMuch(pid);
  // There is room for a part of a file.
  truncateSync(ballast, statSync(ballast).size - SPOOL_BYTES / 2);
  isFull(await alice.run('file', 'send', 'c1', '-', { input: Buffer.alloc(SPOOL_BYTES) }));
  assert.deepEqual(
    (await alice.items<{ name: string; state: string }>('file', 'list')).map(({ name, state }) => [name, state]),
    [['stdin', 'failed']],
  );
  free();
  assert.equal((await send('there is room again')).code, 0);
  await alice.ok('backup', file, { env });
  await alice.ok('export', '--output', history);
  assert.deepEqual(await keptIn(alice), sent);
  assert.equal(await alice.pid(), pid);
};

const ends = async (): Promise<void> => {
  await sendUntilFull();
  await alice.ok('daemon', 'stop');
  const started = await alice.run('daemon', 'start');
  if (started.code !== 0) isFull(started);
  await alice.run('daemon', 'stop');
  fill();
  isFull(await alice.run('daemon', 'start'));
  free();
  assert.deepEqual(await keptIn(alice), sent);
  assert.equal((await send('and more')).code, 0);
};

const isNotMade = async (): Promise<void> => {
  const copy = stage.stranger('copy');
  fill();
  isFull(await copy.run('restore', file, '--no-passphrase', { env }));
  free();
  await copy.ok('restore', file, '--no-passphrase', { env });
  assert.equal((await keptIn(copy)).at(-1), 'there is room again');
};

for (const step of [isLow, goesOn, ends, isNotMade]) {
  await step();
  process.stdout.write(`${step.name}\n`);
}

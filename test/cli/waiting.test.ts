// Waits that a person ends: what was begun goes on, and they are told so.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { furnish } from '../daemon/furnished.ts';
import { Stage, type User } from '../e2e/stage.ts';
import { onTerminal } from './terminal.ts';

let stage: Stage;
let alice: User;

beforeAll(async () => {
  stage = new Stage({ offline: true });
  // Nobody is reached, and nothing tells that nobody ever will be.
  stage.useFalseTor('silent');
  const path = join(stage.dir, 'photo');
  writeFileSync(path, Buffer.alloc(300_000));
  alice = await furnish(stage, async (_alice, bob) => {
    await bob.call('file.send', { conversation: 'alice', path });
  });
});
afterAll(() => stage[Symbol.asyncDispose]());

type Waiting = { readonly child: ChildProcess; readonly shown: Promise<string>; readonly said: Promise<string> };

/** A command that waits; what it shows and says is kept. */
const begin = (command: string): Waiting => {
  const child = spawn('sh', ['-c', `exec ${alice.words(command)}`], { stdio: ['ignore', 'pipe', 'pipe'] });
  return { child, shown: text(child.stdout), said: text(child.stderr) };
};

const endedBy = async (child: ChildProcess, signal: NodeJS.Signals): Promise<unknown> => {
  child.kill(signal);
  return (await once(child, 'exit'))[0];
};

test('a text whose wait is ended stays in the outbox, and the id that takes it back is told', async () => {
  const { child, said } = begin('send bob "are you there?" --wait delivered');
  const mine = async () => (await alice.items<{ id: string; mine: boolean }>('read', 'bob')).find((one) => one.mine);
  const { id } = await alice.until('the text', mine);
  expect(await endedBy(child, 'SIGINT')).toBe(130);
  const [, told = ''] = /^It stays in the outbox; sotto .*cancel (\w+) takes it back\.\n$/.exec(await said) ?? [];
  expect(id.startsWith(told)).toBe(true);
  await alice.ok('cancel', told);
});

test('a text whose wait ends with the daemon is shown, and told as what may not be sent again', async () => {
  for (const end of [() => alice.ok('daemon', 'stop'), async () => process.kill((await alice.pid()) ?? 0, 'SIGKILL')]) {
    const sending = alice.run('send', 'bob', 'once', '--wait', 'delivered');
    const mine = async () =>
      (await alice.items<{ id: string; mine: boolean; state: string }>('read', 'bob')).find(
        (one) => one.mine && one.state === 'queued',
      );
    const { id } = await alice.until('the text', mine);
    await end();
    const { code, out, error } = await sending;
    expect(JSON.parse(out)).toMatchObject({ id, body: 'once', state: 'queued' });
    expect([code, error]).toEqual([
      4,
      expect.objectContaining({ code: 'message.unsure', retry: 'after-change', details: { message: id } }),
    ]);
    await alice.ok('cancel', id);
  }
});

test('what reads or writes the whole database says so on a terminal while it does', async () => {
  const backup = join(stage.dir, 'whole');
  const typed = { on: /[Pp]assphrase/, type: 'long horse\r' };
  for (const [words, steps, told] of [
    [alice.words('doctor'), [], 'reading the whole database'],
    [alice.words(`backup ${backup}`), [typed, { ...typed, on: /again/ }], 'writing the backup'],
    [alice.words('passwd --rekey --no-passphrase'), [], 'encrypting the whole database anew'],
    [stage.stranger('again').words(`restore ${backup} --no-passphrase`), [typed], 'reading the backup'],
  ] as const)
    expect((await onTerminal(words, steps)).shown).toContain(told);
});

test('a file that is offered is told on a terminal as one that they have to fetch', async () => {
  const photo = join(stage.dir, 'photo');
  const { code, shown } = await onTerminal(alice.words(`file send bob ${photo}`), []);
  expect([code, shown]).toEqual([0, expect.stringMatching(/They have to fetch it, with sotto .*file save\./)]);
  for (const json of [true, false]) expect((await alice.ok('file', 'send', 'bob', photo, { json })).err).toBe('');
  for (const { id } of (await alice.files()).filter(({ direction }) => direction === 'out'))
    await alice.ok('file', 'cancel', id);
});

test('a file that is offered stays when its wait is ended: it is shown, with what ends it', async () => {
  const offer = `file send bob ${join(stage.dir, 'photo')} --wait done`;
  const mine = async () =>
    (await alice.files()).find(({ direction, state }) => direction === 'out' && state === 'offered');
  for (const [flags, told, tells] of [
    [
      '',
      /^[0-9a-f]{8} {2}to bob {2}photo .* offered\n$/,
      /^It goes on in the background; sotto .*file cancel (\w+) ends it\.\n$/,
    ],
    ['--json', /^{"id":"[0-9a-f]{32}",.*"state":"offered".*}\n$/, /^$/],
  ] as const) {
    const { child, shown, said } = begin(`${flags} ${offer}`);
    const { id } = await alice.until('the offer', mine);
    await alice.until('the wait', async () => (await alice.ok('file', 'show', id)).code === 0);
    expect(await endedBy(child, 'SIGINT')).toBe(130);
    expect(await shown).toMatch(told);
    expect(await said).toMatch(tells);
    await alice.ok('file', 'cancel', id);
  }
});

test('a file whose wait is ended goes on in the background, and the id that ends it is told', async () => {
  const [{ id } = { id: '' }] = await alice.files();
  for (const path of [join(stage.dir, 'saved'), '- >/dev/null']) {
    const { child, said } = begin(`file save ${id} ${path}`);
    await alice.until('the wait', async () => (await alice.files())[0]?.state === 'active');
    expect(await endedBy(child, 'SIGINT')).toBe(130);
    expect(await said).toMatch(/^It goes on in the background; sotto .*file cancel \w+ ends it\.\n$/);
    expect((await alice.files())[0]?.state).toBe('active');
    await alice.ok('file', 'pause', id);
  }
});

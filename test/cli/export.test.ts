// What export writes of each kind of message, and that nothing has the name of a file that is not whole.
import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { timeText } from '../../src/cli/show.ts';
import { writeWhole } from '../../src/client/new-file.ts';
import type { Message } from '../../src/protocol/rpc-objects.ts';
import { removeMessage } from '../../src/store/messages.ts';
import { rememberMessages } from '../account/past.ts';
import { databaseOf, furnish } from '../daemon/furnished.ts';
import { Stage, type User } from '../e2e/stage.ts';
import { between } from './between.ts';
import { interrupt } from './interrupt.ts';

const EVIL = '\u001b[2J\u009b31m\u202etxet\n# not a heading\n\n![](http://tracker.example/x) *bold* <b>1</b>\n2. two';
const MANY = 1_200;
const LONG = 'x'.repeat(3_000);
const CONTROL = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/;

let stage: Stage;
let alice: User;
const ids: Record<string, string> = {};

beforeAll(async () => {
  stage = new Stage({ offline: true });
  alice = await furnish(stage, async (one, bob, world) => {
    const settled = async <T>(step: Promise<T>): Promise<T> => {
      await world.settle();
      return step;
    };
    const said = async (name: string, step: Promise<{ readonly id: string }>): Promise<string> => {
      ids[name] = (await settled(step)).id;
      return ids[name];
    };
    const first = await said('first', bob.send('alice', EVIL));
    await said('reply', one.send('bob', 'an answer', { replyTo: first }));
    const edited = await said('edited', bob.send('alice', 'frist\n# draft'));
    for (const text of ['second', 'third']) await settled(bob.call('message.edit', { id: edited, text }));
    const deleted = await said('deleted', bob.send('alice', 'regretted'));
    await settled(bob.call('message.delete', { id: deleted }));
    await settled(one.call('message.react', { id: first, emoji: '👍' }));
    await settled(bob.call('message.react', { id: first, emoji: '🎉' }));
    await settled(one.call('message.pin', { id: first }));
    const path = join(world.dir, 'source');
    writeFileSync(path, 'content');
    const { file } = await settled(bob.call('file.send', { conversation: 'alice', path, name: '../a_b.txt' }));
    ids.file = file.id;
    await said('expired', one.send('bob', 'gone by now', { expiresMs: 1_000 }));
    await world.settle(5_000);
  });
});
afterAll(() => stage[Symbol.asyncDispose]());

const shortOf = (name: string) => ids[name]?.slice(0, 8);

test('JSON lines hold every message whole, oldest first, and nothing that ended', async () => {
  const { out, items } = await alice.ok<Message>('export', 'bob');
  expect(out).not.toMatch(CONTROL);
  expect(items.map(({ id }) => id)).toEqual(['first', 'reply', 'edited', 'deleted', 'file'].map((name) => ids[name]));
  expect(out).not.toMatch(/gone by now|regretted/);
  const [first, reply, edited, deleted, file] = items;
  expect(first).toMatchObject({ from: 'bob', body: EVIL, mine: false, state: 'received' });
  expect(first?.pinnedAt).toBeGreaterThan(0);
  expect(first?.reactions.map(({ emoji, from }) => `${emoji} ${from}`)).toEqual(['👍 alice', '🎉 bob']);
  expect(reply).toMatchObject({ mine: true, state: 'delivered', replyTo: first?.id });
  expect(edited?.body).toBe('third');
  expect(edited?.versions?.map(({ body }) => body)).toEqual(['frist\n# draft', 'second']);
  expect(deleted).toMatchObject({ body: '', deletedAt: expect.any(Number) });
  expect(file).toMatchObject({ file: ids.file, body: expect.stringContaining('a_b.txt') });
  expect((await alice.ok('export', { json: false })).out).toBe(out);
});

test('Markdown says the same to people, and what others wrote is only text in it', async () => {
  const messages = await alice.items<Message>('export', 'bob');
  const at = (name: string) => `${timeText(messages.find(({ id }) => id === ids[name])?.sentAt ?? 0)} ${shortOf(name)}`;
  const changedAt = (index: number) =>
    timeText(messages.find(({ id }) => id === ids.edited)?.versions?.[index]?.editedAt ?? 0);
  const { out } = await alice.ok('export', '--format', 'markdown', { json: false });
  expect(out).not.toMatch(CONTROL);
  expect(out).toBe(`# bob

**bob** ${at('first')} (pinned)

> \u241b\\[2J\ufffd31mtxet¬  
> \\# not a heading  
>   
> !\\[\\](http://tracker.example/x) \\*bold\\* \\<b>1\\</b>  
> 2\\. two

Reactions: 👍 alice, 🎉 bob

**alice** ${at('reply')} (reply to ${shortOf('first')}, delivered)

> an answer

**bob** ${at('edited')} (edited)

> third

Before, ${changedAt(0)}:

> frist  
> \\# draft

Before, ${changedAt(1)}:

> second

**bob** ${at('deleted')}

> *deleted*

**bob** ${at('file')}

> File: a\\_b.txt, 7 B, offered

`);
});

test('a file gets its name when all of it is written: not when the command is interrupted or killed, nor over another one', async () => {
  {
    using db = databaseOf(alice);
    rememberMessages(db, 1, { count: MANY, text: LONG });
  }
  const file = join(stage.dir, 'history');
  const daemon = await alice.pid();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGKILL'] as const) {
    // While the daemon does not answer, it cannot come to its end.
    const when = (): boolean => {
      if (!existsSync(`${file}.sotto-part`)) return false;
      process.kill(daemon, 'SIGSTOP');
      return true;
    };
    const ended = await interrupt(alice, ['export', '--output', file], { signal, when });
    process.kill(daemon, 'SIGCONT');
    expect(ended).toBe(signal === 'SIGKILL' ? signal : 130);
    expect([existsSync(file), existsSync(`${file}.sotto-part`)]).toEqual([false, signal === 'SIGKILL']);
  }

  const written = await alice.one('export', '--output', file);
  expect(written).toEqual({ file, sizeBytes: statSync(file).size, messages: MANY + 5 });
  expect([statSync(file).mode & 0o777, existsSync(`${file}.sotto-part`)]).toEqual([0o600, false]);
  const whole = readFileSync(file, 'utf8');
  expect(whole).toBe((await alice.ok('export')).out);

  const again = ['export', 'bob', '--format', 'markdown', '--output', file];
  expect((await alice.run(...again)).error).toMatchObject({ code: 'file.exists', exit: 7 });
  expect(readFileSync(file, 'utf8')).toBe(whole);
  await alice.ok(...again, '--overwrite');
  expect(readFileSync(file, 'utf8')).toBe(
    (await alice.ok('export', 'bob', '--format', 'markdown', { json: false })).out,
  );
  const nowhere = await alice.run('export', '--output', join(stage.dir, 'no', 'such'));
  expect(nowhere.error).toMatchObject({ exit: 3, message: `There is no folder ${join(stage.dir, 'no')}` });

  const pipe = `${file}.pipe`;
  execFileSync('mkfifo', [pipe]);
  expect((await alice.run('export', '--output', pipe, '--overwrite')).error).toMatchObject({ code: 'file.exists' });
  expect(lstatSync(pipe).isFIFO()).toBe(true);
});

test('what ends while it is written is left out, and the rest is there', async () => {
  const whole = await alice.items<Message>('export', 'bob');
  const { edited } = ids;
  const last = whole[499]?.id;
  using db = databaseOf(alice);
  const ends = (id = '') => {
    const row = db.get<{ id: number }>('SELECT id FROM messages WHERE lower(hex(message_id)) = ?', id);
    if (row !== undefined) removeMessage(db, row.id);
  };
  using _ = await between(alice, ({ method, params }) => {
    if (method === 'message.show' && params?.id === edited) ends(edited);
    if (method === 'message.list' && params?.after === last) ends(last);
  });
  const left = await alice.items<Message>('export', 'bob');
  expect(left.map(({ id }) => id)).toEqual(whole.map(({ id }) => id).filter((id) => id !== edited));
  expect(left.map(({ id }) => id)).toContain(last);
  expect((await alice.items<Message>('export', 'bob')).map(({ id }) => id)).not.toContain(last);
});

test('of two commands that write one file at once one keeps it, whole, and the other says so', async () => {
  const file = join(stage.dir, 'twice');
  const other = Promise.withResolvers<void>();
  const slow = async function* () {
    yield 'begun first';
    await other.promise;
    yield ', ended last';
  };
  const first = writeWhole(file, slow(), { overwrite: true });
  await expect.poll(() => existsSync(`${file}.sotto-part`)).toBe(true);
  const quick = async function* () {
    yield 'whole';
  };
  expect(await writeWhole(file, quick(), { overwrite: true })).toBe(5);
  other.resolve();
  await expect(first).rejects.toMatchObject({ code: 'file.exists' });
  expect([readFileSync(file, 'utf8'), existsSync(`${file}.sotto-part`)]).toEqual(['whole', false]);
});

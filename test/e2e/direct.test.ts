import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { modulesOf, pngOf } from '../cli/drawings.ts';
import { onTerminal } from '../cli/terminal.ts';
import { Stage, type User } from './stage.ts';

let stage: Stage;
let alice: User;
let bob: User;

beforeAll(async () => {
  stage = new Stage();
  ({ alice, bob } = await stage.friends());
});

afterAll(async () => {
  await stage[Symbol.asyncDispose]();
});

type Message = {
  id: string;
  body: string;
  state: string;
  reactions: { emoji: string; from: string; mine: boolean }[];
  pinnedAt?: number;
  replyTo?: string;
  editedAt?: number;
};

describe('two people over real Tor', () => {
  test('a text is delivered once, from arguments and from stdin', async () => {
    const { items } = await alice.ok<Message>('send', 'bob', 'hello', 'over', 'tor', '--wait', 'delivered');
    expect(items[0]?.state).toBe('delivered');
    const body = 'zeile 1\n\tzwei 👩‍👩‍👧‍👦 שלום 漢字\nend';
    await alice.ok('send', 'bob', '-', '--wait', 'delivered', { input: body });
    expect(await bob.bodies('alice')).toEqual(['hello over tor', body]);
  });

  test('reply, edit, reaction, pin and deletion reach the other side', async () => {
    const [sent] = (await alice.ok<Message>('send', 'bob', 'frist', '--wait', 'delivered')).items;
    const id = sent?.id ?? '';
    await alice.ok('edit', id, 'first');
    await bob.until('the edit', async () => (await bob.bodies('alice')).includes('first'));
    await bob.ok('react', id, '👍');
    await bob.ok('pin', id);
    await bob.ok('send', 'alice', 'yes', '--reply', id.slice(0, 8), '--wait', 'delivered');
    const mine = await alice.items<Message>('read', 'bob');
    const marked = mine.find((message) => message.id === id);
    expect(marked?.reactions).toEqual([{ emoji: '👍', from: 'bob', mine: false }]);
    expect(marked?.pinnedAt).toBeGreaterThan(1e12);
    expect(mine.find((message) => message.body === 'yes')?.replyTo).toBe(id);
    await bob.ok('unreact', id, '👍');
    await alice.ok('unpin', id);
    for (const user of [alice, bob])
      await user.until('neither reaction nor pin', async () => {
        const { reactions, pinnedAt } = await user.one<Message>('show', id);
        return reactions.length === 0 && pinnedAt === undefined;
      });
    await alice.ok('delete', id);
    await bob.until('the deletion', async () => !(await bob.bodies('alice')).includes('first'));
    expect(await bob.items('search', 'first')).toEqual([]);
  });

  test('a message that was read says so, where its reader lets it; one up to which was read leaves the later ones', async () => {
    await bob.ok('config', 'set', 'privacy.readReceipts', 'on');
    await bob.ok('mark-read', 'alice');
    const [first, second] = [
      await alice.one<Message>('send', 'bob', 'one', '--wait', 'delivered'),
      await alice.one<Message>('send', 'bob', 'two', '--wait', 'delivered'),
    ];
    const read = alice.one<Message>('send', 'bob', 'three', '--wait', 'read');
    await bob.until('three', async () => (await bob.bodies('alice')).includes('three'));
    await bob.ok('mark-read', 'alice', '--to', first.id);
    await alice.until('one to be read', async () => (await alice.one<Message>('show', first.id)).state === 'read');
    expect((await alice.one<Message>('show', second.id)).state).toBe('delivered');
    expect((await bob.items<Message>('unread', '--mark-read')).map(({ body }) => body)).toEqual(['two', 'three']);
    expect((await read).state).toBe('read');
  });

  test('what is written while the other is offline waits, then comes once and in order', async () => {
    await bob.ok('daemon', 'stop');
    const texts = Array.from({ length: 10 }, (_, i) => `wait ${i}`);
    const sent: Message[] = [];
    for (const text of texts) sent.push(await alice.one<Message>('send', 'bob', text));
    expect(sent.every(({ state }) => state === 'queued')).toBe(true);
    const late = await alice.run('send', 'bob', 'late', '--wait', 'delivered', '--timeout', '1s');
    expect([late.code, late.error?.code]).toEqual([5, 'wait.timeout']);
    expect((await alice.one<{ outbox: { depth: number } }>('why', 'bob')).outbox.depth).toBe(11);
    const wait = `bin/sotto --data-dir ${stage.dir} --account alice -v send bob impatient --wait delivered`;
    expect((await onTerminal(wait, [{ on: /calling message.send/, type: '\u0003' }])).code).toBe(130);
    const [impatient] = await alice.items<Message>('search', 'impatient');
    expect((await alice.one<Message>('cancel', impatient?.id ?? '')).state).toBe('failed');
    const [taken = '', again = ''] = [texts[0], texts[1]].map((body) => sent.find((one) => one.body === body)?.id);
    for (const id of [taken, again]) await alice.ok('cancel', id);
    expect((await alice.one<Message>('resend', again)).state).toBe('queued');
    await bob.ok('daemon', 'start');
    const [tor] = await bob.hears(['--kinds', 'tor.changed'], (events) => events.length > 0);
    expect(tor).toEqual({ kind: 'tor.changed', at: expect.any(Number), tor: expect.any(Object) });
    await bob.until('all of it', async () => (await bob.bodies('alice')).includes('wait 1'), 90_000);
    expect((await bob.bodies('alice')).slice(-10)).toEqual([...texts.slice(2), 'late', 'wait 1']);
  });

  test('a file goes through stdin and stdout', async () => {
    const content = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7) & 255));
    writeFileSync(join(stage.dir, 'source'), content);
    const [file] = (await alice.ok<{ id: string }>('file', 'send', 'bob', join(stage.dir, 'source'))).items;
    await bob.until('the offer', async () =>
      (await bob.items<{ id: string }>('file', 'list')).some((one) => one.id === file?.id),
    );
    await bob.ok('file', 'save', file?.id ?? '', join(stage.dir, 'target'), '--timeout', '60s');
    expect(readFileSync(join(stage.dir, 'target')).equals(content)).toBe(true);
  });

  test('a third person is refused, sees the request pending, and is nowhere', async () => {
    const carol = await stage.user('carol');
    const drawn = pngOf(modulesOf((await bob.ok('id', '--qr', { json: false })).out));
    writeFileSync(join(stage.dir, 'bob.png'), drawn);
    await carol.ok('contact', 'add', '--qr', join(stage.dir, 'bob.png'), '--name', 'bob');
    const request = await bob.until(
      'a request',
      async () => (await bob.items<{ id: string }>('contact', 'requests'))[0],
    );
    await bob.ok('contact', 'reject', request.id);
    expect((await carol.run('send', 'bob', 'intruder')).code).toBe(6);
    expect(await bob.items('search', 'intruder')).toEqual([]);
    expect((await bob.items<{ name: string }>('conversations')).map((one) => one.name)).toEqual(['alice']);
  });

  test('a backup made while running comes back in another folder, and the sessions heal', async () => {
    const secret = join(stage.dir, 'secret');
    writeFileSync(secret, 'correct horse battery staple\n', { mode: 0o600 });
    const env = { SOTTO_PASSPHRASE_FILE: secret };
    await alice.ok('backup', join(stage.dir, 'alice.backup'), { env });
    await alice.ok('daemon', 'stop');
    const other = new Stage();
    const again = other.stranger('alice');
    await again.ok('restore', join(stage.dir, 'alice.backup'), { env });
    expect(await again.bodies('bob')).toContain('hello over tor');
    await again.ok('send', 'bob', 'restored', '--wait', 'delivered', '--timeout', '90s');
    expect(await bob.bodies('alice')).toContain('restored');
    await other[Symbol.asyncDispose]();
  });
});

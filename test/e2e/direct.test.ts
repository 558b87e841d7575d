import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RpcClient } from '../../src/client/rpc-client.ts';
import { modulesOf, pngOf } from '../cli/drawings.ts';
import { onTerminal } from '../cli/terminal.ts';
import { pathsOf } from '../daemon/furnished.ts';
import { run, Stage, type User } from './stage.ts';

let stage: Stage;
let alice: User;
let bob: User;

beforeAll(async () => {
  stage = new Stage();
  const config = join(stage.dir, 'config.toml');
  writeFileSync(config, `${readFileSync(config, 'utf8')}[log]\nlevel = "debug"\n`);
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
    const { code, error } = await alice.run('send', 'bob', 'zero', '--wait', 'read', '--timeout', '1s');
    expect([code, error?.message]).toEqual([5, expect.stringContaining('without read receipts they never do')]);
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

  test('what is written while the other is locked, then offline, waits; then it comes once and in order', async () => {
    await bob.ok('account', 'lock');
    // She is told, and need not find out by pings that nobody answers.
    const ended = await alice.until('the end of the link', async () => {
      const { link } = await alice.one<{ link: { state: string; lastError?: string } }>('why', 'bob');
      return link.state !== 'up' && link.lastError;
    });
    expect(ended).toBe('the link ended: peer closed');
    const texts = Array.from({ length: 10 }, (_, i) => `wait ${i}`);
    const sent: Message[] = [];
    for (const text of texts) sent.push(await alice.one<Message>('send', 'bob', text));
    expect(sent.every(({ state }) => state === 'queued')).toBe(true);
    const late = await alice.run('send', 'bob', 'late', '--wait', 'delivered', '--timeout', '1s');
    expect([late.code, late.error?.code]).toEqual([5, 'wait.timeout']);
    expect(await bob.one('daemon', 'status')).toMatchObject({ running: true, locked: true });
    await bob.ok('daemon', 'stop');
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
    await bob.until('all of it', async () => (await bob.bodies('alice')).includes('wait 1'));
    expect((await bob.bodies('alice')).slice(-10)).toEqual([...texts.slice(2), 'late', 'wait 1']);
  });

  test('a folder goes from tar to tar, byte for byte, and nothing of it stays at its author', async () => {
    const folder = join(stage.dir, 'folder');
    mkdirSync(folder);
    for (const size of [0, 1, 100_000, 300_000])
      writeFileSync(
        join(folder, `f${size}`),
        Uint8Array.from({ length: size }, (_, i) => (i * 7) & 255),
      );
    const tar = `tar c -C ${folder} --sort=name .`;
    const sh = (command: string) => run(['-o', 'pipefail', '-c', command], { program: 'bash' });
    const sent = await sh(`${tar} | ${alice.words('--json file send bob - --name all.tar')}`);
    expect([sent.code, sent.err]).toEqual([0, '']);
    const { id, name } = JSON.parse(sent.out.toString()) as { id: string; name: string };
    expect(name).toBe('all.tar');
    await bob.until('the offer', async () => (await bob.files()).some((one) => one.id === id));
    const copy = join(stage.dir, 'copy.tar');
    const { code, shown } = await onTerminal(`${bob.words(`file save ${id} -`)} > ${copy}`, []);
    expect([code, shown]).toEqual([0, expect.stringMatching(/all\.tar █{30} 100 %/)]);
    const listed = await sh(`${bob.words(`file save ${id} -`)} | tar t`);
    expect([listed.code, listed.err]).toEqual([0, '']);
    expect(listed.out.toString()).toBe('./\n./f0\n./f1\n./f100000\n./f300000\n');
    expect(readFileSync(copy).equals((await sh(tar)).out)).toBe(true);
    await alice.until('that it is there', async () => (await alice.files()).some((one) => one.state === 'done'));
    expect(readdirSync(join(stage.dir, 'accounts', 'alice', 'files'))).toEqual([]);
  });

  test('a file goes on after pause, and after both daemons were killed; a cancelled one is gone at both ends', async () => {
    const content = Buffer.alloc(16 * 1024 * 1024, 'a part of it');
    const [source, target] = [join(stage.dir, 'large'), join(stage.dir, 'saved')];
    writeFileSync(source, content);
    const offer = async (): Promise<string> => {
      const { id } = await alice.one<{ id: string }>('file', 'send', 'bob', source);
      await bob.until('the offer', async () => (await bob.files()).some((one) => one.id === id));
      return id;
    };
    const fileOf = async (user: User, id: string) => (await user.files()).find((one) => one.id === id);
    const begun = async (id: string): Promise<number> => {
      await bob.ok('file', 'save', id, target, '--wait', 'active');
      return bob.until('a part', async () => (await fileOf(bob, id))?.transferredBytes);
    };
    const id = await offer();
    await begun(id);
    await bob.ok('file', 'pause', id);
    const paused = await fileOf(bob, id);
    expect(paused?.state).toBe('paused');
    expect(paused?.transferredBytes).toBeLessThan(content.length);
    const pids = [await alice.pid(), await bob.pid()];
    expect(await begun(id)).toBeGreaterThanOrEqual(paused?.transferredBytes ?? 0);
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    await Promise.all([alice, bob].map((user) => user.ok('daemon', 'start', '--wait', 'reachable')));
    const saved = await bob.ok('file', 'save', id, target, '--overwrite', '--timeout', '90s');
    expect(saved.items).toMatchObject([{ state: 'done', savedTo: target, transferredBytes: content.length }]);
    expect(readFileSync(target).equals(content)).toBe(true);
    rmSync(target);
    for (const [one, other] of [
      [alice, bob],
      [bob, alice],
    ] as const) {
      const next = await offer();
      await begun(next);
      await one.ok('file', 'cancel', next);
      await other.until('the end', async () => (await fileOf(other, next))?.state === 'cancelled');
      expect(existsSync(target)).toBe(false);
    }
  });

  test('what ends by itself, or by what the conversation says, ends on both sides while no front end is there', async () => {
    const send = (text: string, ...flags: string[]) =>
      alice.one<Message & { expiresMs: number }>('send', 'bob', text, ...flags, '--wait', 'delivered');
    await alice.ok('expire', 'bob', '2s');
    const sent = [await send('by default')];
    await alice.ok('expire', 'bob', 'never');
    sent.push(await send('brief', '--expires', '2s'), await send('for a reader', '--expires', 'read+2s'));
    expect(sent.map(({ expiresMs }) => expiresMs)).toEqual([2_000, 2_000, 2_000]);
    expect(await bob.bodies('alice')).toContain('for a reader');
    await bob.ok('mark-read', 'alice');
    // Only time brings it about.
    await new Promise((done) => setTimeout(done, 4_000));
    const looksAt = Date.now();
    const ids = sent.map(({ id }) => id);
    type Ended = { at: number; message: { id: string } };
    for (const user of [alice, bob]) {
      const told = (events: readonly Ended[]) => events.filter(({ message }) => ids.includes(message.id));
      const events = await user.hears<Ended>(
        ['--since', '0', '--kinds', 'message.expired'],
        (all) => told(all).length === ids.length,
      );
      expect(told(events).every(({ at }) => at < looksAt)).toBe(true);
      expect(await user.items('search', '"by default"')).toEqual([]);
      const [one, other] = user === alice ? ['bob', 'by default'] : ['alice', 'for a reader'];
      expect(await user.bodies(one)).not.toContain(other);
    }
  });

  test('that somebody writes, or is away, is heard by who listens at the other end, where they let it', async () => {
    await alice.ok('send', 'bob', 'linked', '--wait', 'delivered');
    const frontEnd = await RpcClient.open(pathsOf(alice).socket);
    const begun = Promise.withResolvers<void>();
    type Told = { kind: string; state?: string; contact?: { name: string } };
    const heard = bob.hears<Told>(
      ['--since', '0', '--kinds', 'message.received,typing.changed,presence.changed'],
      (events) => {
        // What is replayed says that what passes is heard from now on.
        begun.resolve();
        return events.at(-1)?.state === 'away';
      },
    );
    await begun.promise;
    const write = () => frontEnd.call('conversation.typing', { conversation: 'bob', on: true });
    await write();
    await frontEnd.call('presence.set', { state: 'online' });
    for (const key of ['privacy.typing', 'privacy.presence'])
      await frontEnd.call('config.set', { key, value: true, conversation: 'bob' });
    await write();
    await frontEnd.call('presence.set', { state: 'away' });
    frontEnd.close();
    const passed = (await heard).filter(({ kind }) => kind !== 'message.received');
    expect(passed.map(({ kind, state, contact }) => [kind, state, contact?.name])).toEqual([
      ['typing.changed', 'on', 'alice'],
      ['presence.changed', 'away', 'alice'],
    ]);
  });

  test('what a blocked contact sends waits with them, and comes when they are let in again', async () => {
    await bob.ok('contact', 'block', 'alice');
    const blocked = await alice.run('send', 'bob', 'let me in', '--wait', 'delivered', '--timeout', '2s');
    expect([blocked.code, blocked.error?.code]).toEqual([5, 'wait.timeout']);
    expect(await bob.bodies('alice')).not.toContain('let me in');
    expect((await bob.run('send', 'alice', 'no')).code).toBe(6);
    await bob.ok('contact', 'unblock', 'alice');
    await bob.until('what waited', async () => (await bob.bodies('alice')).includes('let me in'));
    const [waited] = await alice.items<Message>('search', '"let me in"');
    await alice.until('that it is there', async () =>
      ['delivered', 'read'].includes((await alice.one<Message>('show', waited?.id ?? '')).state),
    );
  });

  test('no notification comes while a front end has the focus, the conversation is muted, or the hours are quiet', async () => {
    const shown = join(stage.dir, 'shown');
    await bob.ok('config', 'set', 'notify.command', `cat > ${shown}`);
    const level = (value: string) => bob.ok('config', 'set', 'notify.level', value);
    const focused = async () => {
      const frontEnd = await RpcClient.open(pathsOf(bob).socket);
      await frontEnd.call('session.focus', { focused: true });
      return frontEnd;
    };
    (await focused()).close();
    const frontEnd = await focused();
    await level('name');
    await alice.ok('send', 'bob', 'seen', '--wait', 'delivered');
    await frontEnd.call('session.focus', { focused: false });
    await bob.ok('conversation', 'mute', 'alice');
    await alice.ok('send', 'bob', 'muted', '--wait', 'delivered');
    const hour = (from: number) => `${String((new Date().getHours() + from) % 24).padStart(2, '0')}:00`;
    await bob.ok('config', 'set', 'notify.quietHours', `${hour(23)}-${hour(2)}`);
    await bob.ok('conversation', 'unmute', 'alice');
    await alice.ok('send', 'bob', 'at night', '--wait', 'delivered');
    await level('count');
    await bob.ok('config', 'set', 'notify.quietHours', '');
    await alice.ok('send', 'bob', 'not seen', '--wait', 'delivered');
    const told = await bob.until('a notification', async () => existsSync(shown) && readFileSync(shown, 'utf8'));
    expect(JSON.parse(told)).toEqual({ title: 'sotto', body: '1 new message' });
    frontEnd.close();
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
    const { words } = await alice.one<{ words: string }>('id');
    const asked = carol.one<{ state: string }>(
      'contact',
      'add',
      ...words.split(' '),
      '--name',
      'alice',
      '--wait',
      'accepted',
    );
    const { id } = await alice.until(
      'a request',
      async () => (await alice.items<{ id: string }>('contact', 'requests'))[0],
    );
    await alice.ok('contact', 'accept', id, '--name', 'carol');
    expect((await asked).state).toBe('accepted');
    expect(['sent', 'delivered']).toContain((await carol.one<Message>('send', 'alice', 'hi', '--wait', 'sent')).state);
    await alice.ok('contact', 'remove', 'carol');
    const useless = await carol.run('send', 'alice', 'still there?', '--wait', 'delivered', '--timeout', '60s');
    expect([useless.code, useless.error?.code]).toEqual([4, 'contact.paused']);
    expect((await carol.one<{ paused?: string }>('contact', 'show', 'alice')).paused).toBe('notContact');
    const { summary, link } = await carol.one<{ summary: string; link: { state: string } }>('why', 'alice');
    expect([summary, link.state]).toEqual(['sending to alice is paused: they do not have you as a contact', 'paused']);
    expect(await alice.items('search', 'still')).toEqual([]);
  });

  test('a backup made while running comes back in another folder, and the sessions heal', async () => {
    const secret = join(stage.dir, 'secret');
    writeFileSync(secret, 'correct horse battery staple\n', { mode: 0o600 });
    const env = { SOTTO_PASSPHRASE_FILE: secret };
    const { id } = await bob.one<{ id: string }>('file', 'send', 'alice', secret);
    await alice.until('the offer', async () => (await alice.files()).some((one) => one.id === id));
    await alice.ok('backup', join(stage.dir, 'alice.backup'), { env });
    await alice.ok('daemon', 'stop');
    const other = new Stage();
    const again = other.stranger('alice');
    await again.ok('restore', join(stage.dir, 'alice.backup'), { env });
    expect(await again.bodies('bob')).toContain('hello over tor');
    await again.ok('send', 'bob', 'restored', '--wait', 'delivered', '--timeout', '90s');
    expect(await bob.bodies('alice')).toContain('restored');
    await again.ok('file', 'save', id, join(other.dir, 'saved'), '--timeout', '60s');
    expect(readFileSync(join(other.dir, 'saved'))).toEqual(readFileSync(secret));
    expect((await again.files()).map(({ state }) => state)).toEqual(['done', 'done', 'cancelled', 'cancelled', 'done']);
    await other[Symbol.asyncDispose]();
  });

  test('PRODUCT 6: of what was said nothing stands in clear in any file of the accounts, their logs and Tors', () => {
    const said = ['hello over tor', 'zeile 1', 'impatient', 'not seen', 'wait 1', 'horse battery'];
    const files = ['accounts', 'run'].flatMap((part) =>
      readdirSync(join(stage.dir, part), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()),
    );
    for (const name of ['daemon.log', 'sotto.db', 'sotto.db-wal', 'torrc'])
      expect(files.map((file) => file.name)).toContain(name);
    const found = files.flatMap(({ parentPath, name }) => {
      const bytes = readFileSync(join(parentPath, name));
      const forms = (text: string) => [Buffer.from(text), Buffer.from(text, 'utf16le')];
      return said.filter((text) => forms(text).some((form) => bytes.includes(form))).map((text) => `${name}: ${text}`);
    });
    expect(found).toEqual([]);
  });
});

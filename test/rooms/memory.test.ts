// What the server of encrypted conversations knows: its memory, files, log and metrics are searched for what was said in them.
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Guest, House } from './house.ts';

/** Begins everything that is said in a conversation, of each kind; nobody knows it but the test and the accounts. */
const MARKS = { members: mark(), passphrase: mark(), direct: mark(), open: mark() };
/** What is put to a message there: nothing else is likely to hold these. */
const REACTIONS: Record<string, string> = {
  [MARKS.members]: '👩🏻‍❤️‍💋‍👨🏼',
  [MARKS.passphrase]: '👩🏻‍❤️‍💋‍👨🏽',
  [MARKS.direct]: '👩🏻‍❤️‍💋‍👨🏾',
  [MARKS.open]: '👩🏻‍❤️‍💋‍👨🏿',
};
const CHUNK = 4 * 1024 * 1024;
const FORMS = ['utf8', 'utf16le'] as const;

function mark(): string {
  return `q${randomBytes(7).toString('hex')}`;
}

/** Which marks stand in some bytes, in any form that a program keeps text in, and the word behind each. */
const wordsIn = (bytes: Buffer): string[] =>
  Object.entries(MARKS).flatMap(([name, text]) =>
    FORMS.flatMap((form) => {
      const needle = Buffer.from(text, form);
      const found: string[] = [];
      for (let at = bytes.indexOf(needle); at >= 0; at = bytes.indexOf(needle, at + 1)) {
        const rest = bytes.toString(form, at + needle.length, at + needle.length + 2 * 16);
        found.push(`${name} ${/^-[a-z]{1,8}/.exec(rest)?.[0] ?? ''}`);
      }
      if (bytes.includes(Buffer.from(REACTIONS[text] ?? '', form))) found.push(`${name} -react`);
      return found;
    }),
  );

/** The same in all that a process may read of its own memory, while it stands still. */
const wordsInMemory = (pid: number): { words: Set<string>; bytes: number } => {
  const words = new Set<string>();
  let bytes = 0;
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  process.kill(pid, 'SIGSTOP');
  try {
    for (const line of readFileSync(`/proc/${pid}/maps`, 'latin1').split('\n')) {
      const [, from = '', to = ''] = /^([0-9a-f]+)-([0-9a-f]+) r/.exec(line) ?? [];
      // Pages of the kernel's own, which nobody writes to and some of which nobody reads.
      if (from === '' || /\[(vvar|vvar_vclock|vsyscall)\]$/.test(line)) continue;
      const [start, end] = [Number.parseInt(from, 16), Number.parseInt(to, 16)];
      let tail = Buffer.alloc(0);
      for (let at = start; at < end; ) {
        const chunk = Buffer.alloc(Math.min(CHUNK, end - at));
        const size = readPart(memory, chunk, at);
        if (size === 0) break;
        bytes += size;
        at += size;
        const part = Buffer.concat([tail, chunk.subarray(0, size)]);
        for (const word of wordsIn(part)) words.add(word);
        tail = Buffer.from(part.subarray(-8 * MARKS.open.length));
      }
    }
  } finally {
    process.kill(pid, 'SIGCONT');
    closeSync(memory);
  }
  return { words, bytes };
};

// A file that is mapped beyond its end cannot be read there.
const readPart = (memory: number, chunk: Buffer, at: number): number => {
  try {
    return readSync(memory, chunk, 0, chunk.length, at);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EIO') return 0;
    throw error;
  }
};

const wordsInFiles = (dir: string): Set<string> =>
  new Set(
    (readdirSync(dir, { recursive: true }) as string[])
      .map((name) => join(dir, name))
      .filter((path) => statSync(path).isFile())
      .flatMap((path) => wordsIn(Buffer.concat([Buffer.from(path), readFileSync(path)]))),
  );

/** Says something of every kind in a conversation, as both call it. */
const talk = async (from: Guest, to: Guest, [mine, theirs]: readonly [string, string], begin: string) => {
  const word = (what: string) => `${begin}-${what} lies here`;
  const first = await from.say(mine, word('body'));
  const { id } = await to.reads(theirs, word('body'));
  await to.say(theirs, word('reply'), { replyTo: id });
  await to.call('message.react', { id, emoji: REACTIONS[begin] ?? '' });
  await from.call('message.edit', { id: first.id, text: word('edit') });
  await to.reads(theirs, word('edit'));
  await from.sees('a reaction', async () => (await from.call('message.show', { id: first.id })).reactions.length > 0);
  if (mine.startsWith('#')) {
    await from.call('channel.topic', { channel: mine, topic: word('topic') });
    await to.sees('a topic', async () => (await to.call('channel.show', { channel: theirs })).topic === word('topic'));
  }
  const path = join(from.user.dir, '..', `${begin}-file.txt`);
  writeFileSync(path, word('content'));
  await from.user.ok('file', 'send', mine, path, '--wait', 'done');
  await to.reads(theirs, `${begin}-file.txt`);
};

test('of what is said in encrypted channels and directly nothing is in the memory, files, log or metrics of the server', async () => {
  const { house, alice, bob } = await House.open('alice', 'bob');
  await using _house = house;
  const passphrase = `${MARKS.passphrase}-key`;
  await alice.call('channel.create', { name: '#sealed', encryption: 'members' });
  await alice.call('channel.invite', { channel: '#sealed', member: 'bob' });
  await bob.call('channel.join', { channel: '#sealed' });
  await alice.call('channel.create', { name: '#secret', encryption: 'passphrase', passphrase });
  await bob.call('channel.join', { channel: '#secret', passphrase });
  await alice.call('channel.create', { name: '#open', encryption: 'open' });
  await bob.call('channel.join', { channel: '#open' });
  await talk(alice, bob, ['#sealed', '#sealed'], MARKS.members);
  await talk(alice, bob, ['#secret', '#secret'], MARKS.passphrase);
  await talk(bob, alice, ['alice@home', 'bob@home'], MARKS.direct);
  await talk(alice, bob, ['#open', '#open'], MARKS.open);
  const { pid, data, ready } = house.server;
  const memory = wordsInMemory(pid);
  const files = wordsInFiles(data);
  const metrics = await (await fetch(`${ready?.metrics}/metrics`)).text();
  const sealed = (words: Set<string>) => [...words].filter((word) => !word.startsWith('open '));
  expect([sealed(memory.words), sealed(files)]).toEqual([[], []]);
  // The search finds what is there: of an open channel everything but the content of files.
  const open = ['body', 'reply', 'react', 'edit', 'topic', 'file'].map((what) => `open -${what}`);
  expect([...files]).toEqual(expect.arrayContaining(open));
  expect(files).not.toContain('open -content');
  expect([...memory.words]).toEqual(expect.arrayContaining(open));
  expect(memory.bytes).toBeGreaterThan(50e6);
  expect(wordsIn(Buffer.from(metrics + readFileSync(join(data, 'server.log'), 'utf8')))).toEqual([]);
});

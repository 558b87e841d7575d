// Where a command writes: one answer for each kind of place, whichever command it is.
import { lstatSync, mkdtempSync, readdirSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { furnish } from '../daemon/furnished.ts';
import { type Ran, Stage, type User } from '../e2e/stage.ts';
import { Program, sotto } from '../rooms/program.ts';

let stage: Stage;
let alice: User;
let file: string;
let server: Program;
let out: string;
beforeAll(async () => {
  stage = new Stage({ offline: true });
  alice = await furnish(stage, async (one, bob, world) => {
    const path = join(world.dir, 'source');
    writeFileSync(path, 'content');
    const sent = await bob.call('file.send', { conversation: 'alice', path, name: 'source' });
    file = sent.file.id;
    await world.settle();
    await one.call('file.fetch', { id: file });
    await world.settle(1_000);
  });
  server = new Program();
  await server.start();
});
afterAll(() => Promise.all([stage[Symbol.asyncDispose](), server[Symbol.asyncDispose]()]));
beforeEach(() => {
  out = mkdtempSync(join(stage.dir, 'out-'));
  for (const [name, to] of Object.entries(LINKS)) symlinkSync(to, join(out, name));
  writeFileSync(join(out, 'regular'), '');
});

const LINKS = { nowhere: 'nothing', loop: 'loop' };

const serverBackup = async (path: string): Promise<Pick<Ran<unknown>, 'code' | 'err'>> =>
  sotto(['serve', 'admin', 'backup', path, '--json', '--data-dir', server.data]);

/** How each command answers that is to write to a path. */
const WRITERS: Readonly<
  Record<string, (path: string, ...flags: readonly string[]) => Promise<Pick<Ran<unknown>, 'code' | 'err'>>>
> = {
  'file save': (path, ...flags) => alice.run('file', 'save', file, path, ...flags),
  export: (path, ...flags) => alice.run('export', 'bob', '--output', path, ...flags),
  backup: (path) => alice.run('backup', path),
  'serve admin backup': serverBackup,
};

const answer = async (writer: string, path: string): Promise<unknown[]> => {
  const { code, err } = (await WRITERS[writer]?.(path)) ?? { code: -1, err: '' };
  const lines = err.split('\n').filter((line) => line.startsWith('{'));
  return [code, lines.length === 0 ? err : (JSON.parse(lines.at(-1) ?? '') as { code: string }).code];
};

const LONG = '1'.repeat(300);

test.each(Object.keys(WRITERS))('%s says of a path that cannot be one that it is not allowed', async (writer) => {
  for (const path of [join(out, LONG), join(out, LONG, 'x'), `/${LONG.repeat(15)}`, join(out, 'loop', 'x')])
    expect(await answer(writer, path), path).toEqual([6, 'path.notAllowed']);
});

test.each(Object.keys(WRITERS))(
  '%s takes a link that leads nowhere for what it is: something that is there',
  async (writer) => {
    for (const [name, to] of Object.entries(LINKS)) {
      expect(await answer(writer, join(out, name)), name).toEqual([7, 'file.exists']);
      expect(readlinkSync(join(out, name))).toBe(to);
    }
  },
);

test.each(['file save', 'export', 'backup'])('%s makes no folder, and takes no file for one', async (writer) => {
  for (const path of [join(out, 'none', 'x'), join(out, 'regular', 'x')])
    expect(await answer(writer, path), path).toEqual([3, 'file.unknown']);
});

test.each(['file save', 'export'])('%s replaces such a link where it is told to', async (writer) => {
  for (const name of Object.keys(LINKS)) {
    const path = join(out, name);
    expect((await WRITERS[writer]?.(path, '--overwrite'))?.code, name).toBe(0);
    expect(lstatSync(path).isFile(), name).toBe(true);
  }
  expect(readdirSync(out).sort()).toEqual([...Object.keys(LINKS), 'regular'].sort());
});

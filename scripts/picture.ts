// Draws docs/session.svg and docs/rooms.svg: what two real sessions printed, command by command. The first is on a private Tor
// network, with the people of the demo; the second on a server on this machine.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { ServerProcess } from '../src/lab/server-process.ts';

type Line = { readonly text: string; readonly typed: boolean };

const COLUMNS = 112;
const [CHAR, LINE, MARGIN] = [8.4, 19, 20];

const dir = join(mkdtempSync(join(tmpdir(), 'sotto-p-')), 'd');
const sotto = (...args: string[]): string => {
  const { status, stdout, stderr } = spawnSync('bin/sotto', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`sotto ${args.join(' ')}: exit ${status} ${stderr}`);
  return stdout;
};
const as = (account: string, ...words: string[]): string => sotto('--data-dir', dir, '--account', account, ...words);

const wrapped = (line: string): string[] => {
  const parts: string[] = [];
  for (let rest = line; ; rest = rest.slice(COLUMNS)) {
    parts.push(rest.slice(0, COLUMNS));
    if (rest.length <= COLUMNS) return parts;
  }
};

/** What somebody types and what it prints, `shown` before it as the prompt. */
const step = (shown: string, account: string, ...words: string[]): Line[] => {
  const typed = words.map((word) => (/^[\w-]+$/.test(word) ? word : `"${word}"`)).join(' ');
  const printed = as(account, ...words)
    .trimEnd()
    .split('\n')
    .flatMap(wrapped);
  const text = (line: string): Line => ({ text: line, typed: false });
  return [{ text: `${shown} sotto ${typed}`, typed: true }, ...printed.map(text), text('')];
};

const direct = (): Line[] => {
  sotto('demo', '--keep', '--dir', dir);
  try {
    const steps = [
      ['contact', 'list'],
      ['send', 'bob', 'The tide turns at nine.', '--wait', 'delivered'],
      ['read', 'bob', '--limit', '4'],
      ['search', 'tide'],
      ['status'],
      ['why', 'bob'],
    ];
    return steps.flatMap((words) => step('$', 'alice', ...words));
  } finally {
    sotto('demo', '--stop', '--dir', dir);
    rmSync(dir, { recursive: true, force: true });
  }
};

/** The id of the first message in `#ops`, as it is shown, once this one has it. */
const heardBy = async (account: string): Promise<string> => {
  for (let tries = 0; tries < 50; tries += 1) {
    const first = as(account, 'read', '#ops', '--json').split('\n')[0];
    if (first) return JSON.parse(first).id.slice(0, 14);
    await setTimeout(100);
  }
  throw new Error(`${account} hears nothing`);
};

const rooms = async (): Promise<Line[]> => {
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'config.toml'), '[tor]\noffline = true\n');
  const server = new ServerProcess(join(dir, 'server'));
  await server.start();
  try {
    for (const name of ['alice', 'bob']) as(name, 'init', '--nickname', name, '--no-passphrase');
    as('alice', 'server', 'join', server.invite, '--label', 'home');
    as('bob', 'server', 'join', JSON.parse(as('alice', 'server', 'invite', '--json')).link, '--label', 'home');
    const [alice, bob] = ['alice $', 'bob $'];
    const lines = [
      ...step(alice, 'alice', 'channel', 'create', '#ops', '--private'),
      ...step(alice, 'alice', 'channel', 'invite', '#ops', 'bob'),
      ...step(bob, 'bob', 'channel', 'join', '#ops'),
      ...step(alice, 'alice', 'send', '#ops', 'The tide turns at nine.', '--wait', 'sent'),
    ];
    const id = await heardBy('bob');
    lines.push(
      ...step(bob, 'bob', 'react', id, '👍'),
      ...step(bob, 'bob', 'send', '#ops', 'I bring the lamp.', '--wait', 'sent'),
    );
    const before = new Date().toISOString();
    lines.push(
      ...step(alice, 'alice', 'edit', id, 'The tide turns at ten.'),
      ...step(alice, 'alice', 'read', '#ops'),
      ...step(alice, 'alice', 'read', '#ops', '--at', before),
    );
    return lines;
  } finally {
    for (const name of ['alice', 'bob']) as(name, 'daemon', 'stop');
    await server.stop();
    rmSync(dir, { recursive: true, force: true });
  }
};

const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

const draw = (title: string, lines: readonly Line[]): string => {
  const [width, height] = [COLUMNS * CHAR + 2 * MARGIN, lines.length * LINE + 2 * MARGIN].map(Math.round);
  const rows = lines.map(
    ({ text, typed }, i) =>
      `<text x="${MARGIN}" y="${Math.round(MARGIN + (i + 0.8) * LINE)}" fill="${typed ? '#f2c14e' : '#d8dee9'}">${escaped(text)}</text>`,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="14" xml:space="preserve">`,
    `<title>${title}, as recorded by scripts/picture.ts</title>`,
    `<rect width="${width}" height="${height}" rx="8" fill="#1f2430"/>`,
    ...rows.filter((row) => !row.endsWith('></text>')),
    '</svg>',
    '',
  ].join('\n');
};

writeFileSync('docs/session.svg', draw('A session of sotto on a private Tor network', direct().slice(0, -1)));
writeFileSync('docs/rooms.svg', draw('A session of sotto in a room', (await rooms()).slice(0, -1)));
rmSync(join(dir, '..'), { recursive: true, force: true });

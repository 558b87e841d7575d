// Draws docs/session.svg and docs/rooms.svg: what two real sessions printed, command by command. The first is on a private Tor
// network, with the people of the demo; the second on a server on this machine.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { ServerProcess } from '../src/lab/server-process.ts';

/** A part of a line, in one colour. */
type Span = { readonly text: string; readonly fill: string; readonly weight?: 'bold' };
type Line = readonly Span[];

const COLUMNS = 112;
const [PLAIN, TYPED] = ['#d8dee9', '#f2c14e'];
// What a terminal makes of the colours of the program.
const FILLS: Readonly<Record<string, string>> = {
  2: '#7d8799',
  31: '#e06c75',
  32: '#98c379',
  33: '#e5c07b',
  36: '#56b6c2',
};
const [CHAR, LINE, MARGIN] = [8.4, 19, 20];

const dir = join(mkdtempSync(join(tmpdir(), 'sotto-p-')), 'd');
const sotto = (...args: string[]): string => {
  const { status, stdout, stderr } = spawnSync('bin/sotto', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`sotto ${args.join(' ')}: exit ${status} ${stderr}`);
  return stdout;
};
const as = (account: string, ...words: string[]): string => sotto('--data-dir', dir, '--account', account, ...words);

/** What a terminal of that width shows of it, without what is said on stderr. */
const shownBy = (account: string, ...words: string[]): string => {
  const quoted = ['bin/sotto', '--data-dir', dir, '--account', account, ...words].map((word) => `'${word}'`);
  const { status, stdout } = spawnSync(
    'script',
    ['-qefc', `stty cols ${COLUMNS}; ${quoted.join(' ')} 2>/dev/null`, '/dev/null'],
    { encoding: 'utf8', env: { ...process.env, TERM: 'xterm', SHELL: '/bin/sh' } },
  );
  if (status !== 0) throw new Error(`sotto ${words.join(' ')}: exit ${status} ${stdout}`);
  return stdout.replaceAll('\r\n', '\n').trimEnd();
};

/** The lines of what a terminal shows, cut where it would go on in the next row. */
const linesOf = (shown: string): Line[] =>
  shown.split('\n').flatMap((line) => {
    const rows: Span[][] = [[]];
    let style = '0';
    for (const [, sgr, char = ''] of line.matchAll(/\u001b\[(\d+)m|(.)/gu)) {
      if (sgr !== undefined) style = sgr;
      else {
        if (rows.at(-1)?.length === COLUMNS) rows.push([]);
        rows.at(-1)?.push({ text: char, fill: FILLS[style] ?? PLAIN, ...(style === '1' ? { weight: 'bold' } : {}) });
      }
    }
    return rows.map(joined);
  });

// Neighbours that look the same are one.
const joined = (spans: readonly Span[]): Line => {
  const line: Span[] = [];
  for (const span of spans) {
    const last = line.at(-1);
    if (last?.fill === span.fill && last.weight === span.weight)
      line[line.length - 1] = { ...last, text: last.text + span.text };
    else line.push(span);
  }
  return line;
};

/** What somebody types and what it prints, `shown` before it as the prompt. */
const step = (shown: string, account: string, ...words: string[]): Line[] => {
  const typed = words.map((word) => (/^[\w-]+$/.test(word) ? word : `"${word}"`)).join(' ');
  return [[{ text: `${shown} sotto ${typed}`, fill: TYPED }], ...linesOf(shownBy(account, ...words)), []];
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
  const spanOf = ({ text, fill, weight }: Span): string =>
    `<tspan fill="${fill}"${weight === undefined ? '' : ` font-weight="${weight}"`}>${escaped(text)}</tspan>`;
  const rows = lines.map(
    (line, i) => `<text x="${MARGIN}" y="${Math.round(MARGIN + (i + 0.8) * LINE)}">${line.map(spanOf).join('')}</text>`,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="14" xml:space="preserve">`,
    `<title>${title}, as recorded by scripts/picture.ts</title>`,
    `<rect width="${width}" height="${height}" rx="8" fill="#1f2430"/>`,
    ...rows.filter((row) => row.includes('<tspan')),
    '</svg>',
    '',
  ].join('\n');
};

writeFileSync('docs/session.svg', draw('A session of sotto on a private Tor network', direct().slice(0, -1)));
writeFileSync('docs/rooms.svg', draw('A session of sotto in a room', (await rooms()).slice(0, -1)));
rmSync(join(dir, '..'), { recursive: true, force: true });

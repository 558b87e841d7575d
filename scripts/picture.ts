// Draws docs/session.svg: what a real session on a private Tor network printed, command by command.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const COLUMNS = 112;
const [CHAR, LINE, MARGIN] = [8.4, 19, 20];
const SESSION: readonly (readonly string[])[] = [
  ['contact', 'list'],
  ['send', 'bob', 'The tide turns at nine.', '--wait', 'delivered'],
  ['read', 'bob', '--limit', '4'],
  ['search', 'tide'],
  ['status'],
  ['why', 'bob'],
];

const dir = join(mkdtempSync(join(tmpdir(), 'sotto-p-')), 'd');
const sotto = (...args: string[]): string => {
  const { status, stdout, stderr } = spawnSync('bin/sotto', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`sotto ${args.join(' ')}: exit ${status} ${stderr}`);
  return stdout;
};

const wrapped = (line: string): string[] => {
  const parts: string[] = [];
  for (let rest = line; ; rest = rest.slice(COLUMNS)) {
    parts.push(rest.slice(0, COLUMNS));
    if (rest.length <= COLUMNS) return parts;
  }
};

const record = (): { readonly text: string; readonly typed: boolean }[] => {
  sotto('demo', '--keep', '--dir', dir);
  try {
    return SESSION.flatMap((words) => {
      const shown = words.map((word) => (/^[\w-]+$/.test(word) ? word : `"${word}"`)).join(' ');
      const printed = sotto('--data-dir', dir, '--account', 'alice', ...words).trimEnd();
      return [
        { text: `$ sotto ${shown}`, typed: true },
        ...printed
          .split('\n')
          .flatMap(wrapped)
          .map((text) => ({ text, typed: false })),
        { text: '', typed: false },
      ];
    });
  } finally {
    sotto('demo', '--stop', '--dir', dir);
    rmSync(join(dir, '..'), { recursive: true, force: true });
  }
};

const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

const draw = (lines: readonly { readonly text: string; readonly typed: boolean }[]): string => {
  const [width, height] = [COLUMNS * CHAR + 2 * MARGIN, lines.length * LINE + 2 * MARGIN];
  const rows = lines.map(
    ({ text, typed }, i) =>
      `<text x="${MARGIN}" y="${MARGIN + (i + 0.8) * LINE}" fill="${typed ? '#f2c14e' : '#d8dee9'}">${escaped(text)}</text>`,
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="14" xml:space="preserve">`,
    '<title>A session of sotto on a private Tor network, as recorded by scripts/picture.ts</title>',
    `<rect width="${width}" height="${height}" rx="8" fill="#1f2430"/>`,
    ...rows.filter((row) => !row.endsWith('></text>')),
    '</svg>',
    '',
  ].join('\n');
};

writeFileSync('docs/session.svg', draw(record().slice(0, -1)));

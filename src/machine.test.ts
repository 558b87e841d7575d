import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { fileLog } from './machine.ts';

test('a log that has grown is kept once and begins anew, while the program runs and over a start', () => {
  const dir = mkdtempSync(join(tmpdir(), 'sotto-log-'));
  const path = join(dir, 'daemon.log');
  // As long as a hook's output may be, and its JSON six times as long.
  const output = '\u0001'.repeat(64 * 1024);
  const write = (lines: number) => {
    const log = fileLog(path, 'info');
    for (let n = 0; n < lines; n++) log.info('hook.ran', { output });
    log.info('last');
  };
  write(17);
  write(17);
  expect(readFileSync(path, 'utf8')).toMatch(/"msg":"last"\}\n$/);
  for (const file of [path, `${path}.1`]) {
    expect(statSync(file).size).toBeLessThan(9 * 1024 * 1024);
    expect(statSync(file).mode & 0o777).toBe(0o600);
  }
  expect(statSync(path).size + statSync(`${path}.1`).size).toBeGreaterThan(34 * 6 * output.length);
  rmSync(dir, { recursive: true });
});

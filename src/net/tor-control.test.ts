import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ManualClock } from '../testing/clock.ts';
import { seededRandom } from '../testing/random.ts';
import { TorControl } from './tor-control.ts';

test('a Tor that does not answer a command, or is not wanted any more, is waited for no longer', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'sotto-control-'));
  const path = join(dir, 'control');
  const silent = createServer().listen(path);
  await once(silent, 'listening');
  const ports = { clock: new ManualClock(), random: seededRandom(1) };
  const asked = async (): Promise<void> => void (await once((await once(silent, 'connection'))[0], 'data'));

  const [late] = [expect(TorControl.open(path, ports)).rejects.toThrow('does not answer'), await asked()];
  ports.clock.step();
  await late;

  const calledOff = new AbortController();
  const opened = TorControl.open(path, { ...ports, signal: calledOff.signal });
  const [ended] = [expect(opened).rejects.toMatchObject({ code: 'tor.failed' }), await asked()];
  calledOff.abort();
  await ended;
  silent.close();
  rmSync(dir, { recursive: true });
});

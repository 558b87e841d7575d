// The built program as a server: started in a folder of its own, asked over its socket, told by signals.
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { ServerProcess } from '../../src/lab/server-process.ts';
import { systemClock, systemRandom } from '../../src/machine.ts';
import type { ServerTarget } from '../../src/ports.ts';
import { fromHex } from '../../src/protocol/bytes.ts';
import { administer } from '../../src/server/admin-command.ts';
import { turn } from '../server/server.ts';
import { type Host, Member } from './scene.ts';

const PROGRAM = resolve('bin/sotto');

export type Ran = { readonly code: number; readonly out: string; readonly err: string };

/** Runs the program to its end. */
export const sotto = (args: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<Ran> =>
  new Promise((done) => {
    const env = { ...process.env, ...environment };
    const child = execFile(PROGRAM, [...args], { env }, (_, out, err) =>
      done({ code: child.exitCode ?? -1, out, err }),
    );
  });

/** A server that may be stopped and started again. */
export class Program extends ServerProcess implements Host, AsyncDisposable {
  /** Without a folder, it lives in one that goes with it. `under`: see ServerProcess. */
  constructor(data = join(mkdtempSync(join(tmpdir(), 'sotto-serve-')), 'data'), under: readonly string[] = []) {
    super(data, { under });
  }

  /** The folder around that of the data. */
  get dir(): string {
    return dirname(this.data);
  }

  get target(): ServerTarget {
    const { url = '', fingerprint = '' } = this.ready ?? {};
    const serverKey = fromHex(fingerprint);
    return { origin: url, serverKey, trust: 'pinned' };
  }

  member(name: string, serversKey?: Uint8Array<ArrayBuffer>): Member {
    return new Member(this, name, serversKey);
  }

  /** The answer of `serve admin` as objects, without a process for each question. */
  async admin(...words: string[]): Promise<Record<string, unknown>[]> {
    const flags: Record<string, string | boolean> = { json: true };
    const plain: string[] = [];
    for (let i = 0; i < words.length; i++) {
      const word = words[i] ?? '';
      if (!word.startsWith('--')) plain.push(word);
      else flags[word.slice(2)] = word === '--deep' || word === '--owner' ? true : (words[++i] ?? '');
    }
    const out = await administer(plain, flags, {
      dir: this.data,
      socket: this.ready?.admin ?? '',
      ports: { clock: systemClock, random: systemRandom, turn },
    });
    return out
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('SIGKILL');
    rmSync(this.dir, { recursive: true, force: true });
  }
}

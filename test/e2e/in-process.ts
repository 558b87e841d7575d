// Runs a command of the built command line in the test's own process: of what bin/sotto does only the start of Node is left out,
// which takes longer than most commands. Its daemon is a process of its own as ever.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, resolve } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { Script } from 'node:vm';
import { VERSION, WIRE_VERSIONS } from '../../src/protocol/version.ts';

const BUNDLE = resolve('dist/cli.cjs');
const STDOUT = 1;

type Cli = typeof import('../../src/cli/run.ts');
type Load = (module: { exports: object }, require: unknown, dir: string, process: object) => void;

const load = (): Load => {
  const source = fs.readFileSync(BUNDLE, 'latin1');
  return new Script(`(function (module, require, __dirname, process) {${source}\n})`, {
    filename: BUNDLE,
  }).runInThisContext();
};
let loaded: Load | undefined;

const sink = (): { readonly stream: Writable; readonly bytes: () => Buffer } => {
  const chunks: Buffer[] = [];
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      chunks.push(chunk);
      done();
    },
  });
  return { stream, bytes: () => Buffer.concat(chunks) };
};

// Stdout is a pipe there, whatever the test's own is.
const own = createRequire(BUNDLE);
const fstatSync = (fd: number): object => (fd === STDOUT ? { isFIFO: () => true } : fs.fstatSync(fd));
const files = { ...fs, fstatSync };
const requireIn = (id: string): unknown => (id === 'node:fs' ? files : own(id));

/** As `bin/sotto ARGV` with these bytes on stdin, without a terminal, in this process's environment. */
export const runInProcess = async (
  argv: readonly string[],
  input: string | Buffer,
): Promise<{ code: number; out: Buffer; err: string }> => {
  loaded ??= load();
  const [out, err] = [sink(), sink()];
  const seen = Object.create(process, {
    stdin: { value: Readable.from(input.length === 0 ? [] : [Buffer.from(input)]) },
    stdout: { value: out.stream },
    stderr: { value: err.stream },
    // A signal is for the test.
    once: { value: () => seen },
  });
  // Run anew for each command: what its modules keep they keep for one.
  const module = { exports: {} };
  loaded(module, requireIn, dirname(BUNDLE), seen);
  const code = await (module.exports as Cli).runCli({
    argv,
    environment: process.env,
    version: VERSION,
    versions: WIRE_VERSIONS,
    self: [resolve('bin/sotto')],
  });
  return { code, out: out.bytes(), err: err.bytes().toString() };
};

// Entry of `sotto`: argv → one lazily imported program; the only place that sets the exit code.
import { join, resolve } from 'node:path';
import { loadCompiled } from './cli/compiled.ts';
import { VERSION, WIRE_VERSIONS } from './protocol/version.ts';

const VALUED: readonly string[] = ['--data-dir', '--account', '--timeout', '--passphrase-fd'];

/** The words before any flag, as far as they choose a program: global flags with a value are skipped with it. */
const wordsOf = (argv: readonly string[]): string[] => {
  const words: string[] = [];
  for (let i = 0; i < argv.length && words.length < 2; i++) {
    const word = argv[i] ?? '';
    if (VALUED.includes(word)) i++;
    else if (!word.startsWith('-')) words.push(word);
  }
  return words;
};

const flagValue = (argv: readonly string[], flag: string): string | undefined => {
  const at = argv.indexOf(flag);
  const inline = argv.find((word) => word.startsWith(`${flag}=`));
  return at >= 0 ? argv[at + 1] : inline?.slice(flag.length + 1);
};

// A flag that is not known may be a slip of one that chooses the account.
const unknownIn = (argv: readonly string[]): string | undefined => {
  const words = ['daemon', 'run'];
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] ?? '';
    if (VALUED.includes(word)) i++;
    else if (word === words[0]) words.shift();
    else if (!/^--(data-dir|account|timeout|passphrase-fd)=|^--(json|quiet|verbose|no-start)$|^-[qv]$/.test(word))
      return word;
  }
  return undefined;
};

// `help serve` is `serve --help`: the programs beside the commands read their own flags.
const helped = (typed: readonly string[]): readonly string[] => {
  const [first, second = ''] = wordsOf(typed);
  if (first !== 'help' || !['demo', 'serve', 'bench', 'daemon'].includes(second)) return typed;
  const at = typed.indexOf('help');
  return [...typed.slice(0, at), ...typed.slice(at + 1), '--help'];
};

const run = async (typed: readonly string[]): Promise<number> => {
  const argv = helped(typed);
  const [first = '', second] = wordsOf(argv);
  const isDaemon = first === 'daemon' && second === 'run';
  if (!isDaemon && !['demo', 'serve', 'bench'].includes(first)) return command(argv);
  if (isDaemon) return daemon(argv);
  const rest = [...argv.slice(0, argv.indexOf(first)), ...argv.slice(argv.indexOf(first) + 1)];
  if (first === 'demo') {
    const { runDemo } = await import('./lab/demo.ts');
    return runDemo(rest);
  }
  if (first === 'serve') {
    const { runServe } = bundle('server') as typeof import('./server/main.ts');
    return runServe(rest, resolve(program()));
  }
  const { runBench } = await import('./lab/bench/bench.ts');
  return runBench(rest);
};

const program = (): string => process.env.SOTTO_PROGRAM ?? process.argv[1] ?? 'sotto';

// What starts often has its code cache.
const bundle = (name: string): unknown => loadCompiled(join(import.meta.dirname, `${name}.cjs`), require);

const command = async (argv: readonly string[]): Promise<never> => {
  const { runCli } = bundle('cli') as typeof import('./cli/run.ts');
  const code = await runCli({
    argv,
    environment: process.env,
    version: VERSION,
    versions: WIRE_VERSIONS,
    self: [program()],
  });
  // A command that is over waits for nothing that it began: a daemon that starts, or one that does not answer.
  process.exit(code);
};

const daemon = async (argv: readonly string[]): Promise<number> => {
  if (argv.includes('--help') || argv.includes('-h')) {
    process.stdout.write('sotto daemon run: run the daemon of an account in the foreground\n');
    return 0;
  }
  const { runDaemon } = bundle('daemon') as typeof import('./daemon/main.ts');
  const dataDir = flagValue(argv, '--data-dir') ?? (process.env.SOTTO_DATA_DIR || undefined);
  const account = flagValue(argv, '--account') ?? (process.env.SOTTO_ACCOUNT || undefined);
  // What it could not put away keeps it no longer.
  process.exit(
    await runDaemon({
      account,
      dataDir: dataDir === undefined ? undefined : resolve(dataDir),
      version: VERSION,
      json: argv.includes('--json'),
      unknown: unknownIn(argv),
    }),
  );
};

const UNSUPPORTED = {
  code: 'platform.unsupported',
  message: `There is no ready-made Signal or SQLCipher library for ${process.platform} on ${process.arch} here: use Linux with glibc 2.34 or newer, or macOS`,
  exit: 1,
  retry: 'never',
  details: {},
};

// What the loader says of a native library that is not there, or is for another system.
const isMissingLibrary = (error: unknown): boolean =>
  error instanceof Error &&
  ((error as NodeJS.ErrnoException).code === 'ERR_DLOPEN_FAILED' || /no native build was found/i.test(error.message));

const unsupported = (argv: readonly string[]): string =>
  argv.includes('--json') ? JSON.stringify(UNSUPPORTED) : `sotto: ${UNSUPPORTED.message}`;

const stackOf = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : String(error));

run(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    process.stderr.write(`${isMissingLibrary(error) ? unsupported(process.argv) : stackOf(error)}\n`);
    process.exitCode = 1;
  },
);

// Builds dist/: one CommonJS bundle per program, so that a command loads one file and no schema.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { basename } from 'node:path';
import { build, type Plugin } from 'esbuild';

const PROGRAMS = ['main', 'daemon', 'check', 'server', 'demo', 'bench', 'cli'] as const;
const ENTRIES: Record<(typeof PROGRAMS)[number], string> = {
  main: 'src/main.ts',
  daemon: 'src/daemon/main.ts',
  check: 'src/daemon/check.ts',
  server: 'src/server/main.ts',
  demo: 'src/lab/demo.ts',
  bench: 'src/lab/bench/bench.ts',
  cli: 'src/cli/run.ts',
};

// A lazy import of another program's entry becomes an import of its bundle; those with a code cache are loaded with it.
const otherPrograms: Plugin = {
  name: 'other-programs',
  setup(setup) {
    setup.onResolve({ filter: /^\.\/lab\/(demo|bench\/bench)\.ts$/ }, ({ path, kind }) => {
      const name = PROGRAMS.find((program) => ENTRIES[program] === `src/${path.slice(2)}`);
      return kind === 'dynamic-import' && name !== undefined ? { path: `./${name}.cjs`, external: true } : undefined;
    });
  },
};

// The JavaScript of the packages with a native library is bundled too, which Node's loader of modules takes 50 ms for. The
// libraries stay where the packages are installed.
const nativeLibraries: Plugin = {
  name: 'native-libraries',
  setup(setup) {
    setup.onLoad({ filter: /@signalapp\/[\w-]+\/dist\/(Native\.js|index\.mjs)$/ }, ({ path }) => {
      const installed = `require.resolve('${/@signalapp\/[\w-]+/.exec(path)?.[0]}')`;
      return {
        contents: readFileSync(path, 'utf8')
          .replaceAll('import.meta.dirname', `require('node:path').dirname(${installed})`)
          .replaceAll('import.meta.url', `require('node:url').pathToFileURL(${installed})`),
      };
    });
    setup.onResolve({ filter: /^@signalapp\// }, ({ path, kind }) =>
      kind === 'require-resolve' ? { path, external: true } : undefined,
    );
  },
};

rmSync('dist', { recursive: true, force: true });
mkdirSync('dist');
for (const name of PROGRAMS) {
  const result = await build({
    entryPoints: [ENTRIES[name]],
    outfile: `dist/${name}.cjs`,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'cjs',
    define: { 'import.meta.dirname': '__dirname' },
    // A command that needs the words of a phrase loads them; no other reads past them.
    external: ['qr', 'pngjs', 'jpeg-js', ...(name === 'cli' ? ['@scure/bip39'] : [])],
    plugins: name === 'main' ? [otherPrograms] : [nativeLibraries],
    // A bundle is CommonJS: loaded by `require` it does not start Node's loader of modules, which takes 2 ms of each command.
    supported: { 'dynamic-import': false },
    metafile: true,
    logLevel: 'warning',
    legalComments: 'none',
  });
  const bytes = Object.values(result.metafile.outputs)[0]?.bytes ?? 0;
  process.stderr.write(`${basename(name)}.cjs ${Math.round(bytes / 1024)} KiB\n`);
}

// A child: what commands tell in it is of no interest.
const { status, stderr, error } = spawnSync(process.execPath, ['scripts/code-cache.ts'], {
  encoding: 'utf8',
  timeout: 60_000,
});
if (status !== 0) throw new Error(`scripts/code-cache.ts: ${error?.message ?? stderr}`);

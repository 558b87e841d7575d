// A Tor that says it is older than it is: the real one behind a control socket that changes its version.
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';

const [version = '', ...args] = process.argv.slice(2);
const torrc = args[args.indexOf('-f') + 1] ?? '';
const text = readFileSync(torrc, 'utf8');
const path = /ControlPort unix:"([^"]+)"/.exec(text)?.[1] ?? '';
writeFileSync(torrc, text.replace(path, `${path}.real`));
const tor = spawn('tor', args, { stdio: 'inherit' });
tor.on('exit', (code) => process.exit(code ?? 1));
process.on('SIGTERM', () => tor.kill('SIGTERM'));
createServer((near) => {
  const far = connect(`${path}.real`);
  near.pipe(far);
  far.on('data', (chunk: Buffer) =>
    near.write(chunk.toString('latin1').replace(/version=[\d.]+/g, `version=${version}`), 'latin1'),
  );
  for (const [one, other] of [
    [near, far],
    [far, near],
  ] as const)
    one.on('error', () => {}).on('close', () => other.destroy());
}).listen(path);

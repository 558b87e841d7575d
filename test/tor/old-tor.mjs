// The real tor, with another version on its control socket: `old-tor.mjs VERSION ARGUMENTS-OF-TOR`.
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';

const [version, ...args] = process.argv.slice(2);
const torrc = args[args.indexOf('-f') + 1];
const text = readFileSync(torrc, 'utf8');
const [, control] = /^ControlPort unix:"(.+)"$/m.exec(text);
writeFileSync(torrc, text.replace(control, `${control}-real`));

const tor = spawn('tor', args, { stdio: 'inherit' });
tor.on('exit', (code) => process.exit(code ?? 1));
process.on('SIGTERM', () => tor.kill('SIGTERM'));

createServer((client) => {
  const real = connect(`${control}-real`);
  client.on('error', () => {}).on('close', () => real.destroy());
  real.on('error', () => {}).on('close', () => client.destroy());
  client.pipe(real);
  real.on('data', (chunk) =>
    client.write(chunk.toString('latin1').replace(/(250-version=)[\d.]+/, `$1${version}`), 'latin1'),
  );
}).listen(control);

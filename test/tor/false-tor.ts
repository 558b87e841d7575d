// A Tor that is none. `silent`: it takes every control connection, says nothing there, and leaves a file `asked` beside its
// torrc. `skewed`: it is on the network at once, knows no proof of work, publishes nothing, and finds the clock 2 hours behind.
import { createHmac } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';

const [manner, ...args] = process.argv.slice(2);
const torrc = args[args.indexOf('-f') + 1] ?? '';
const path = /ControlPort unix:"([^"]+)"/.exec(readFileSync(torrc, 'utf8'))?.[1] ?? '';
const cookie = Buffer.alloc(32, 7);
writeFileSync(`${torrc}.cookie`, cookie);

const EVENTS = [
  '650 STATUS_CLIENT NOTICE BOOTSTRAP PROGRESS=100 TAG=done SUMMARY="Done"',
  '650 STATUS_GENERAL WARN CLOCK_SKEW SKEW=-7200 SOURCE=CONSENSUS',
];
const answer = (line: string): string[] => {
  const [verb, , nonce = ''] = line.split(' ');
  if (verb === 'PROTOCOLINFO')
    return [`250-AUTH METHODS=SAFECOOKIE COOKIEFILE="${torrc}.cookie"`, '250-VERSION Tor="0.4.9.11"', '250 OK'];
  if (verb === 'AUTHCHALLENGE') {
    const seed = Buffer.concat([cookie, Buffer.from(nonce, 'hex'), cookie]);
    const hash = createHmac('sha256', 'Tor safe cookie authentication server-to-controller hash').update(seed);
    return [`250 AUTHCHALLENGE SERVERHASH=${hash.digest('hex')} SERVERNONCE=${cookie.toString('hex')}`];
  }
  if (verb === 'GETINFO') return ['250-version=0.4.9.11', '250 OK'];
  if (line.includes('PoWDefensesEnabled')) return ['512 Unrecognized argument "PoWDefensesEnabled"'];
  return ['250 OK', ...(line === 'SETCONF DisableNetwork=0' ? EVENTS : [])];
};

// As a real one ends once the process that owns it is gone, which may be before it has begun.
const owner = Number(/^__OwningControllerProcess (\d+)$/m.exec(readFileSync(torrc, 'utf8'))?.[1]);
const isOwned = (): boolean => {
  try {
    return process.kill(owner, 0);
  } catch {
    return false;
  }
};
setInterval(() => {
  if (!isOwned()) process.exit();
}, 1_000).unref();

createServer((socket) => {
  socket.on('error', () => {});
  if (manner === 'silent') socket.on('data', () => writeFileSync(`${torrc}.asked`, ''));
  else createInterface(socket).on('line', (line) => socket.write(`${answer(line).join('\r\n')}\r\n`));
}).listen(path);

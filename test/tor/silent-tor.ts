// A Tor that takes every control connection, says nothing there, and leaves a file `asked` beside its torrc.
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';

const torrc = process.argv[process.argv.indexOf('-f') + 1] ?? '';
const path = /ControlPort unix:"([^"]+)"/.exec(readFileSync(torrc, 'utf8'))?.[1] ?? '';
createServer((socket) => socket.on('data', () => writeFileSync(`${torrc}.asked`, ''))).listen(path);

// The real ports: the machine's clock and randomness, and a log file.
import { randomBytes } from 'node:crypto';
import { chmodSync, closeSync, existsSync, openSync, renameSync, statSync } from 'node:fs';
import { pino } from 'pino';
import type { Clock, Log, LogFields, Random } from '../ports.ts';

const LOG_BYTES_MAX = 8 * 1024 * 1024;
const LOG_WAITING_BYTES_MAX = 64 * 1024;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after: (ms, fire) => {
    const timer = setTimeout(fire, Math.min(ms, 2 ** 31 - 1));
    timer.unref();
    return () => clearTimeout(timer);
  },
};

export const systemRandom: Random = {
  bytes: (size) => new Uint8Array(randomBytes(size)),
  fraction: () => randomBytes(4).readUInt32BE() / 2 ** 32,
};

/** A log to `path` (mode 0600), one JSON object per line; the file before is kept once when it has grown too large. */
export const fileLog = (path: string, level: 'debug' | 'info' | 'warn' | 'error'): Log => {
  if (existsSync(path) && statSync(path).size > LOG_BYTES_MAX) renameSync(path, `${path}.1`);
  closeSync(openSync(path, 'a', 0o600));
  chmodSync(path, 0o600);
  const destination = pino.destination({ dest: path, sync: true, maxLength: LOG_WAITING_BYTES_MAX });
  // A disk that takes no more lines must not end the program: some wait for room, the rest are dropped.
  destination.on('error', () => {});
  const redact = ['passphrase', 'text', 'body', 'key'];
  const logger = pino({ level, base: null, redact, timestamp: () => `,"at":${Date.now()}` }, destination);
  const write = (to: 'debug' | 'info' | 'warn' | 'error') => (event: string, fields?: LogFields) =>
    logger[to](fields ?? {}, event);
  return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
};

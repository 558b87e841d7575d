// The real ports: the machine's clock and randomness, and a log file.
import { randomBytes } from 'node:crypto';
import { chmodSync, closeSync, existsSync, openSync, readFileSync, renameSync, statSync } from 'node:fs';
import { pino } from 'pino';
import type { Clock, Log, LogFields, Random } from './ports.ts';
import { LOG_FILE_BYTES_MAX, LOG_FILE_WAITING_BYTES_MAX } from './protocol/limits.ts';

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

/**
 * How many files and sockets this process may have open: Node has raised its soft limit to the hard one. Infinity where the
 * system does not say. Source: proc_pid_limits(5).
 */
export const openFilesMax = (): number => {
  const limits = existsSync('/proc/self/limits') ? readFileSync('/proc/self/limits', 'utf8') : '';
  return Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
};

type Level = 'debug' | 'info' | 'warn' | 'error';

/** A log that can be told to say more, or less, from now on. */
export type FileLog = Log & { readonly setLevel: (level: Level) => void };

/** A log to `path` (mode 0600), one JSON object per line; what has grown too large is kept once, as `path.1`. */
export const fileLog = (path: string, level: Level): FileLog => {
  closeSync(openSync(path, 'a', 0o600));
  chmodSync(path, 0o600);
  let size = statSync(path).size;
  const file = pino.destination({ dest: path, sync: true, maxLength: LOG_FILE_WAITING_BYTES_MAX, mode: 0o600 });
  // A disk that takes no more lines must not end the program: some wait for room, the rest are dropped.
  file.on('error', () => {});
  const destination = {
    write: (line: string): void => {
      file.write(line);
      size += line.length;
      if (size < LOG_FILE_BYTES_MAX) return;
      size = 0;
      try {
        renameSync(path, `${path}.1`);
      } catch {
        // Where nothing can be renamed the log goes on as it is, and one that is gone is made again.
      }
      file.reopen();
    },
  };
  const redact = ['passphrase', 'text', 'body', 'key'];
  const logger = pino({ level, base: null, redact, timestamp: () => `,"at":${Date.now()}` }, destination);
  const write = (to: Level) => (event: string, fields?: LogFields) => logger[to](fields ?? {}, event);
  const setLevel = (next: Level): void => {
    logger.level = next;
  };
  return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error'), setLevel };
};

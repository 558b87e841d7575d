// Entry of the daemon's own process: umask, signals, exit code.
import { accountPaths, chooseAccount, placesOf } from '../client/paths.ts';
import { errorObject, exitOf, SottoError } from '../protocol/errors.ts';
import { safeLine } from '../protocol/safe-text.ts';
import { Daemon } from './daemon.ts';

/** Runs a daemon in the foreground until it is told to end; gives the exit code. An error goes to stderr, with `json` as one object. */
export const runDaemon = async (options: {
  readonly account: string | undefined;
  readonly dataDir: string | undefined;
  readonly version: string;
  readonly json: boolean;
  /** A word that was given, and that it does not know. */
  readonly unknown: string | undefined;
}): Promise<number> => {
  process.umask(0o077);
  // Who started it reads what it says until it answers, and not longer.
  process.stderr.on('error', () => {});
  try {
    if (options.unknown !== undefined)
      throw new SottoError('usage.invalid', {
        message: `sotto daemon run does not know ${options.unknown}: it takes --account, --data-dir and --json`,
      });
    const places = placesOf(options.dataDir, process.env);
    const paths = accountPaths(places, chooseAccount(places, options.account), process.env);
    const daemon = await Daemon.start({ places, paths, version: options.version, pid: process.pid });
    const stop = (): void => void daemon.stop().catch((error: unknown) => daemon.bug(error));
    process.on('SIGTERM', stop);
    process.on('SIGINT', stop);
    process.on('SIGHUP', () => {
      daemon
        .reload()
        .catch((error: unknown) => daemon.log.warn('config.refused', { message: errorObject(error).message }));
    });
    process.on('uncaughtException', (error) => daemon.bug(error));
    process.on('unhandledRejection', (error) => daemon.bug(error));
    // Everything else waits on sockets and unreferenced timers: this keeps the process for as long as it is not told to end.
    const keep = setInterval(() => {}, 2 ** 30);
    const code = await daemon.ended;
    clearInterval(keep);
    return code;
  } catch (error) {
    const told = errorObject(error);
    process.stderr.write(`${options.json ? JSON.stringify(told) : `sotto: ${safeLine(told.message)}`}\n`);
    if (told.code === 'internal.bug') process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
    return exitOf(told.code);
  }
};

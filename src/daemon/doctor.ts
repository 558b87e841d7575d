// Looks at everything that can be wrong on this machine, one line each, with what mends it.
import { accessSync, constants, existsSync, readdirSync, statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../machine.ts';
import { errorObject } from '../protocol/errors.ts';
import type { Check } from '../protocol/rpc-objects.ts';
import { asWord } from '../protocol/safe-text.ts';
import { latestEventAt } from '../store/events.ts';
import { readConfig } from './config.ts';
import type { Daemon } from './daemon.ts';
import { HOOK_FOLDER, hookMend } from './hooks.ts';

const FREE_BYTES_MIN = 64 * 1024 * 1024;
const YEAR_2025_MS = 1_735_689_600_000;
const CLOCK_OFF_MS = 10 * 60_000;
const PUBLISHED_MS_MAX = 5 * 60_000;

/**
 * Every check, in a fixed order; of a locked account only those that need no key. What takes long ends with `signal`. Throws
 * `account.locked` when the account is locked meanwhile.
 */
export const checkDoctor = async (daemon: Daemon, signal: AbortSignal): Promise<Check[]> => {
  const wrong = daemon.isOpen ? await daemon.open.checker.check(signal) : [];
  return [
    account(daemon),
    config(daemon),
    ...(daemon.isOpen ? [tor(daemon), reachable(daemon)] : []),
    socket(daemon),
    permissions(daemon),
    clock(daemon),
    ...(daemon.isOpen ? [database(wrong)] : []),
    disk(daemon),
    ...(daemon.isOpen ? [hooks(daemon), notifications(daemon), ...servers(daemon)] : []),
  ];
};

const good = (check: string, detail: string): Check => ({ check, ok: true, detail });
const bad = (check: string, detail: string, fix: string): Check => ({ check, ok: false, detail, fix });

const account = (daemon: Daemon): Check => {
  const { name, vault } = daemon.options.paths;
  if (daemon.isOpen) return good('account', name);
  return existsSync(vault)
    ? bad('account', `${name} is locked: it is offline`, 'sotto account unlock')
    : bad('account', `there is no account ${name}`, 'sotto init, or sotto restore');
};

// The daemon goes on with what it read at its start, and the next one would not begin.
const config = ({ options: { places } }: Daemon): Check => {
  try {
    readConfig(places.configFile);
    return good('config', existsSync(places.configFile) ? places.configFile : 'as without a file');
  } catch (error) {
    return bad('config', errorObject(error).message, `mend ${places.configFile}, then sotto daemon reload`);
  }
};

const TOR_FIXES: Readonly<Record<string, string>> = {
  'tor.missing': 'install tor, or set [tor] binary in config.toml',
  'tor.tooOld': 'install a newer tor, or set [tor] binary in config.toml',
  'tor.stuck': 'check the network and the clock; where Tor is blocked, set [tor] bridges in config.toml',
  'account.elsewhere': 'stop it there, or sotto daemon start --takeover',
};

const tor = (daemon: Daemon): Check => {
  const { state, lastError, version, warning, bootstrapPercent } = daemon.open.account.network;
  if (state === 'off') return good('tor', 'off by choice');
  if (state === 'failed')
    return bad(
      'tor',
      lastError?.message ?? 'Tor does not run',
      TOR_FIXES[lastError?.code ?? ''] ?? 'see `sotto daemon logs`',
    );
  const how = `${version ?? 'starting'}, ${state} ${bootstrapPercent} %`;
  return good('tor', warning === undefined ? how : `${how}; ${warning}`);
};

const reachable = (daemon: Daemon): Check => {
  const { state, reachable: published, descriptorUploads, hiddenSince } = daemon.open.account.network;
  if (state !== 'online' || published)
    return good(
      'address',
      published ? `published to ${descriptorUploads} places` : 'not needed while Tor is not online',
    );
  const minutes = Math.floor((systemClock.now() - (hiddenSince ?? systemClock.now())) / 60_000);
  const how = `being published, ${descriptorUploads} uploads done`;
  return minutes * 60_000 < PUBLISHED_MS_MAX
    ? good('address', how)
    : bad('address', `for ${minutes} minutes nobody could dial you: ${how}`, 'check the network and the clock');
};

const servers = (daemon: Daemon): Check[] => {
  const { network } = daemon.open.account;
  return daemon.open.account.status().servers.map(({ label, state, through, lastError = 'not yet', lastErrorCode }) => {
    if (state === 'online') return good('server', `${label}: connected`);
    // What keeps Tor from it is a line of its own; the first try after that takes its time.
    if (through === 'tor' && !['online', 'off'].includes(network.state))
      return good('server', `${label}: waits for Tor`);
    if (state === 'dialling' && (lastErrorCode ?? 'tor.failed') === 'tor.failed')
      return good('server', `${label}: being dialled`);
    const fix = `see that it runs; sotto why ${asWord(label)} --retry tries now`;
    return bad('server', `${label}: ${state}, ${lastError}`, fix);
  });
};

// What is gone since, leads nowhere or cannot be looked at is open to nobody.
const isOpen = (path: string, mask: number): boolean => {
  try {
    return ((statSync(path, { throwIfNoEntry: false })?.mode ?? 0) & mask) !== 0;
  } catch {
    return false;
  }
};

const isWide = (path: string): boolean => isOpen(path, 0o077);

const socket = (daemon: Daemon): Check => {
  const { socket: path, socketDir } = daemon.options.paths;
  if (!existsSync(path)) return bad('socket', `${path} is gone`, 'sotto daemon stop, then any command');
  const wide = [path, socketDir].filter(isWide);
  return wide.length === 0
    ? good('socket', path)
    : bad('socket', `${wide[0]} is open to others`, `chmod go-rwx ${wide[0]}`);
};

const permissions = (daemon: Daemon): Check => {
  const { dir } = daemon.options.paths;
  const entries = [dir, ...readdirSync(dir).map((name) => join(dir, name))];
  const wide = entries.filter(isWide);
  if (wide.length > 0) return bad('permissions', `${wide[0]} is open to others`, `chmod go-rwx ${wide[0]}`);
  // It names the program that is run as tor.
  const { configFile } = daemon.options.places;
  return isOpen(configFile, 0o002)
    ? bad('permissions', `${configFile} can be changed by others`, `chmod go-w ${configFile}`)
    : good('permissions', dir);
};

// What was committed in the future shows a clock that went back; of one that is ahead, others can tell.
const clock = (daemon: Daemon): Check => {
  const now = systemClock.now();
  const told = `the clock says ${new Date(now).toISOString()}`;
  const fix = 'set the clock: Tor does not work with a wrong one';
  const latest = daemon.isOpen ? latestEventAt(daemon.open.db) : 0;
  if (now <= YEAR_2025_MS || latest - now >= CLOCK_OFF_MS) return bad('clock', `${told}, which has been already`, fix);
  const others = daemon.isOpen ? daemon.open.account.network.timeOfOthers : undefined;
  const aheadMs = others === undefined ? 0 : now - systemClock.monotonic() - others;
  if (Math.abs(aheadMs) < CLOCK_OFF_MS) return good('clock', new Date(now).toISOString());
  const minutes = Math.round(Math.abs(aheadMs) / 60_000);
  return bad('clock', `${told}: by Tor’s relays it is ${minutes} minutes ${aheadMs > 0 ? 'ahead' : 'behind'}`, fix);
};

const database = (wrong: readonly string[]): Check =>
  wrong.length === 0
    ? good('database', 'whole')
    : bad('database', wrong.join('; '), 'sotto backup, then sotto restore into a new account');

const disk = (daemon: Daemon): Check => {
  const { dir } = daemon.options.paths;
  const { bavail, bsize } = statfsSync(dir);
  const free = bavail * bsize;
  try {
    accessSync(dir, constants.W_OK);
  } catch {
    return bad('disk', `${dir} cannot be written`, 'make it writable');
  }
  const megabytes = Math.floor(free / 1024 / 1024);
  return free >= FREE_BYTES_MIN
    ? good('disk', `${megabytes} MiB free`)
    : bad('disk', `only ${megabytes} MiB free`, 'free some space');
};

const notifications = ({ open: { account, notifier } }: Daemon): Check => {
  const trouble = notifier.trouble();
  if (trouble === undefined) return good('notifications', account.setting('notify.level'));
  return bad(
    'notifications',
    trouble,
    "sotto config set notify.command 'PROGRAM', or sotto config set notify.level none",
  );
};

const hooks = (daemon: Daemon): Check => {
  const all = daemon.open.hooks.list();
  const failed = all.filter((hook) => !hook.ok);
  const folder = join(daemon.options.paths.hooksDir, HOOK_FOLDER);
  const mends = failed.flatMap(({ name, detail }) => hookMend(join(folder, name), detail) ?? []);
  if (failed.length === 0) return good('hooks', all.length === 0 ? 'none' : `${all.length}, all well`);
  return bad(
    'hooks',
    failed.map(({ name, detail }) => `${name} ${detail}`).join('; '),
    mends.length > 0 ? mends.join('; ') : `see ${folder} and sotto daemon logs`,
  );
};

// Commands about the daemon, how it gets on, and the settings.
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { hasVault } from '../client/paths.ts';
import { errorObject, SottoError } from '../protocol/errors.ts';
import type { Result } from '../protocol/rpc.ts';
import { parseDuration } from '../protocol/time-words.ts';
import type { Command, CommandContext } from './command.ts';
import { endDaemon } from './give.ts';
import { checkText, settingText } from './show.ts';
import { statusText } from './show-state.ts';
import { launchdAgent, systemdUnit } from './units.ts';

const NETWORK_WORDS = ['online', 'reachable'] as const;

const daemonStart = (): Command => ({
  path: 'daemon start',
  doc: 'start the daemon',
  args: [],
  flags: {
    wait: { doc: 'online: Tor is ready; reachable: others can dial you', value: 'STATE', words: NETWORK_WORDS },
    takeover: { doc: 'run the account here although a copy of it answers elsewhere' },
  },
  methods: ['status.wait', 'status.show', 'account.takeover'],
  waits: true,
  run: async ({ connect, flags, out }) => {
    const until = flags.choice('wait', NETWORK_WORDS);
    const client = await connect();
    if (flags.has('takeover')) await client.call('account.takeover', {});
    if (until === undefined) return out.item(await client.call('status.show', {}), statusText);
    client.onEvent = (event) => {
      if (event.kind === 'tor.changed')
        out.progress(`tor ${event.tor?.bootstrapPercent ?? 0} %, ${event.tor?.descriptorUploads ?? 0} uploads`);
    };
    await client.call('event.listen', { kinds: ['tor.changed'] });
    out.progress(`waiting until it is ${until}`);
    const timeoutMs = flags.duration('timeout');
    out.item(
      await client.call('status.wait', { until, ...(timeoutMs === undefined ? {} : { timeoutMs }) }),
      statusText,
    );
  },
});

// Of an account whose key file is gone no daemon runs, whatever else there is to say of it.
const connectIfRuns = (connect: CommandContext['connect']) =>
  connect({ start: false, unlock: false }).catch((error: unknown) => {
    if (error instanceof SottoError && ['daemon.absent', 'vault.damaged'].includes(error.code)) return undefined;
    throw error;
  });

const daemonStop = (): Command => ({
  path: 'daemon stop',
  doc: 'drain and end the daemon',
  args: [],
  methods: ['daemon.stop'],
  run: async ({ connect, interrupted, waitFromHere, out }) => {
    const client = await connectIfRuns(connect);
    waitFromHere();
    if (client === undefined) return out.item({ stopped: false }, () => 'The daemon does not run.');
    // Whose time is over has an error to say, and does not know more.
    const isGone = await Promise.race([endDaemon(client).then(() => true), interrupted.then(() => false)]);
    if (isGone) out.item({ stopped: true }, () => 'stopped');
  },
});

const daemonStatus = (): Command => ({
  path: 'daemon status',
  doc: 'whether the daemon runs, and where its socket is; never starts it',
  args: [],
  run: async ({ connect, account, out }) => {
    const client = await connectIfRuns(connect);
    const value =
      client === undefined
        ? { running: false, socket: account.socket }
        : { running: true, socket: account.socket, ...client.greeting };
    client?.close();
    out.item(value, (one) => `${'pid' in one ? `running as ${one.pid}` : 'not running'}, ${one.socket}`);
  },
});

const daemonReload = (): Command => ({
  path: 'daemon reload',
  doc: 'read config.toml again',
  args: [],
  methods: ['daemon.reload'],
  run: async ({ call, out }) => out.item(await call('daemon.reload', {}), () => 'read'),
});

const daemonLogs = (): Command => ({
  path: 'daemon logs',
  doc: 'the last lines of the daemon’s log',
  args: [],
  flags: { follow: { doc: 'and those that come' }, limit: { doc: 'how many lines (50)', value: 'N' } },
  run: async ({ account, flags, out, interrupted, waitFromHere }) => {
    const lines = flags.number('limit', { min: 1, max: 100_000 }) ?? 50;
    if (!existsSync(account.log))
      throw new SottoError('file.unknown', { message: `There is no log yet: ${account.log}` });
    let at = statSync(account.log).size;
    const tell = (text: readonly string[]): void => {
      for (const line of text) if (line !== '') out.line(logLine(line));
    };
    tell(readFileSync(account.log, 'utf8').trimEnd().split('\n').slice(-lines));
    if (!flags.has('follow')) return;
    waitFromHere();
    const timer = setInterval(() => {
      const { size } = statSync(account.log, { throwIfNoEntry: false }) ?? { size: 0 };
      if (size < at) at = 0;
      if (size > at) tell(readFileSync(account.log).subarray(at).toString('utf8').split('\n'));
      at = size;
    }, 250);
    await interrupted;
    clearInterval(timer);
  },
});

// What a hook said is in the log as well: it reaches a terminal escaped.
const logLine = (line: string): object => {
  try {
    return JSON.parse(line) as object;
  } catch {
    return { text: line };
  }
};

const daemonInstall = (): Command => ({
  path: 'daemon install',
  doc: 'start the daemon at log-in: writes a systemd user unit or a launchd agent',
  args: [],
  flags: { print: { doc: 'only show it' } },
  run: async ({ account, places, flags, out, daemonCommand }) => {
    const unit = { program: daemonCommand[0], account: account.name, dataDir: places.dataDir };
    const mac = process.platform === 'darwin';
    const text = mac ? launchdAgent(unit) : systemdUnit(unit);
    if (flags.has('print')) return out.raw(text);
    const { XDG_CONFIG_HOME } = process.env;
    const configDir = XDG_CONFIG_HOME?.startsWith('/') === true ? XDG_CONFIG_HOME : join(homedir(), '.config');
    const path = mac
      ? join(homedir(), `Library/LaunchAgents/sotto.${account.name}.plist`)
      : join(configDir, `systemd/user/sotto-${account.name}.service`);
    makeFolder(dirname(path));
    writeFileSync(path, text, { mode: 0o600 });
    const next = mac
      ? `launchctl load ${path}`
      : `systemctl --user daemon-reload && systemctl --user enable --now sotto-${account.name}`;
    if (!hasVault(account)) out.say(`There is no account ${account.name} yet: sotto init makes it`);
    out.item({ file: path, next }, (made) => `Written: ${made.file}\nNow run: ${made.next}`);
  },
});

// One after the other: below /proc a recursive mkdir of Node tries for ever.
const makeFolder = (dir: string): void => {
  if (existsSync(dir)) return;
  makeFolder(dirname(dir));
  try {
    mkdirSync(dir);
  } catch (error) {
    throw new SottoError('path.notAllowed', { message: `There can be no folder ${dir}`, cause: error });
  }
};

const status = (): Command => ({
  path: 'status',
  doc: 'network, queue, unread and links on one screen',
  args: [],
  run: async ({ call, out }) => out.item(await call('status.show', {}), statusText),
});

const doctor = (): Command => ({
  path: 'doctor',
  doc: 'look for everything that can be wrong, and say what mends it',
  args: [],
  flags: { check: { doc: 'taken for the sake of scripts, and changes nothing: doctor does no more than check' } },
  methods: ['doctor.check'],
  run: async ({ connect, flags, out }) => {
    const client = connect({ unlock: false });
    out.progress('reading the whole database');
    const checks = await client.then((one) => one.call('doctor.check', {}), flags.has('no-start') ? left : unstarted);
    for (const check of checks)
      out.item({ ...check, ...(check.fix === undefined ? {} : { fix: out.hint(check.fix) }) }, () =>
        out.hint(checkText(check)),
      );
    const bad = checks.filter((check) => !check.ok);
    if (bad.length > 0)
      throw new SottoError('check.failed', { message: `${bad.length} of ${checks.length} checks do not hold` });
  },
});

// What kept the daemon from starting is what is wrong.
const unstarted = (error: unknown): Result<'doctor.check'> => {
  const { message, code } = errorObject(error);
  return [{ check: 'daemon', ok: false, detail: `does not start: ${message}`, fix: fixOf(code) }];
};

// Nobody tried to start it.
const left = (error: unknown): Result<'doctor.check'> => {
  const { message, code } = errorObject(error);
  if (code === 'daemon.absent')
    return [{ check: 'daemon', ok: false, detail: 'does not run', fix: 'sotto daemon start' }];
  return [{ check: 'daemon', ok: false, detail: `does not answer: ${message}`, fix: fixOf(code) }];
};

const fixOf = (code: string): string =>
  code === 'account.unknown'
    ? 'sotto init'
    : code === 'config.invalid'
      ? 'correct config.toml'
      : code === 'account.running'
        ? 'end the other program that runs this account'
        : code === 'path.notAllowed' || code === 'disk.failed'
          ? 'look at what is there, its owner and mode'
          : 'sotto daemon run, to see what it says';

const inFlag = {
  in: { doc: 'only for this conversation', value: 'CONVERSATION', complete: 'conversation' },
  account: {
    doc: 'the account to use; alone, without a name, it says that the whole account is meant and no conversation',
    value: 'NAME',
  },
} as const;
const scope = (context: CommandContext) => {
  const conversation = context.flags.text('in');
  return conversation === undefined ? {} : { conversation };
};

// What a person types: on or yes, off or no, a number, a duration where milliseconds are wanted, or text.
const settingValue = (key: string, text: string): string | number | boolean => {
  // A program may have any name.
  if (key === 'notify.command') return text;
  if (['on', 'yes', 'true'].includes(text)) return true;
  if (['off', 'no', 'false'].includes(text)) return false;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  return key.endsWith('Ms') ? parseDuration(text) : text;
};

const config = (): readonly Command[] => [
  {
    path: 'config list',
    doc: 'every setting with its value',
    args: [],
    flags: inFlag,
    methods: ['config.list'],
    run: async (context) => {
      for (const row of await context.call('config.list', scope(context))) context.out.item(row, settingText);
    },
  },
  {
    path: 'config get',
    doc: 'one setting',
    args: [{ name: 'key', doc: 'a setting', required: true, complete: 'setting' }],
    flags: inFlag,
    methods: ['config.get'],
    run: async (context) =>
      context.out.item(
        await context.call('config.get', { key: context.args[0] ?? '', ...scope(context) }),
        settingText,
      ),
  },
  {
    path: 'config set',
    doc: 'change a setting',
    args: [
      { name: 'key', doc: 'a setting', required: true, complete: 'setting' },
      { name: 'value', doc: 'on or yes, off or no, a number, a duration, or text', required: true, complete: 'value' },
    ],
    flags: inFlag,
    methods: ['config.set'],
    run: async (context) =>
      context.out.item(
        await context.call('config.set', {
          key: context.args[0] ?? '',
          value: settingValue(context.args[0] ?? '', context.args[1] ?? ''),
          ...scope(context),
        }),
        settingText,
      ),
  },
  {
    path: 'config unset',
    doc: 'back to the wider scope or the default',
    args: [{ name: 'key', doc: 'a setting', required: true, complete: 'setting' }],
    flags: inFlag,
    methods: ['config.unset'],
    run: async (context) =>
      context.out.item(
        await context.call('config.unset', { key: context.args[0] ?? '', ...scope(context) }),
        settingText,
      ),
  },
];

/** Commands of this file, in the order of the help. */
export const daemonCommands = (): readonly Command[] => [
  daemonStart(),
  daemonStop(),
  daemonStatus(),
  daemonReload(),
  daemonLogs(),
  daemonInstall(),
  status(),
  doctor(),
  ...config(),
];

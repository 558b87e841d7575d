// The methods the daemon answers itself; all others go to the open account.
import { accountPaths } from '../client/paths.ts';
import type { Account } from '../core/account.ts';
import { checkName } from '../core/names.ts';
import type { BackupSecret } from '../crypto/backup.ts';
import { deriveSecrets, rootOfPhrase } from '../crypto/identity.ts';
import { systemClock } from '../machine.ts';
import { type ErrorCode, SottoError } from '../protocol/errors.ts';
import { LISTEN_PAGE_MAX, WAIT_MS_DEFAULT } from '../protocol/limits.ts';
import {
  type AccountMethod,
  type DaemonMethod,
  METHODS,
  type Method,
  type Params,
  type Result,
} from '../protocol/rpc.ts';
import { ACCOUNT_METHODS } from '../protocol/rpc-account.ts';
import type { Event } from '../protocol/rpc-events.ts';
import type { Status } from '../protocol/rpc-objects.ts';
import type { Daemon } from './daemon.ts';
import { checkDoctor } from './doctor.ts';
import type { Connection } from './socket.ts';

type Handlers = {
  readonly [M in DaemonMethod]: (
    daemon: Daemon,
    params: Params<M>,
    connection: Connection,
  ) => Promise<Result<M>> | Result<M>;
};

const isAccountMethod = (method: Method): method is AccountMethod => Object.hasOwn(ACCOUNT_METHODS, method);

/** Answers a validated call. Throws SottoError. */
export const callDaemon = async <M extends Method>(
  daemon: Daemon,
  connection: Connection,
  method: M,
  params: Params<M>,
): Promise<Result<M>> => {
  if (isAccountMethod(method))
    return daemon.open.account.call(method, params as never, connection.signal) as Promise<Result<M>>;
  const handler = HANDLERS[method as DaemonMethod] as unknown as (
    daemon: Daemon,
    params: Params<M>,
    connection: Connection,
  ) => Promise<Result<M>>;
  return handler(daemon, params, connection);
};

const secretOf = (params: {
  passphrase?: string | undefined;
  noPassphrase?: boolean | undefined;
}): string | undefined => {
  if (params.noPassphrase === true) return undefined;
  if (params.passphrase === '') throw new SottoError('passphrase.empty');
  if (params.passphrase === undefined)
    throw new SottoError('passphrase.needed', { message: 'Give a passphrase, or say --no-passphrase' });
  return params.passphrase;
};

const backupSecret = (params: { phrase?: string | undefined; backupPassphrase?: string | undefined }): BackupSecret => {
  if (params.backupPassphrase !== undefined) return { kind: 'passphrase', passphrase: params.backupPassphrase };
  if (params.phrase === undefined)
    throw new SottoError('passphrase.needed', { message: 'Give the backup’s passphrase, or the recovery phrase' });
  return { kind: 'account', key: deriveSecrets(rootOfPhrase(params.phrase)).backupKey };
};

const NO_PASSPHRASE = 'Without a passphrase anyone who can read your files can read your messages and be you';
const warn = (passphrase: string | undefined) => (passphrase === undefined ? { warning: NO_PASSPHRASE } : {});

// The account is there by now, whatever it may be called.
const rename = (daemon: Daemon, nickname: string) =>
  daemon.open.account.call('account.nickname', { nickname }).catch((error: unknown) => {
    if (!(error instanceof SottoError)) throw error;
    throw new SottoError(error.code, { message: `The account is restored, under its own nickname. ${error.message}` });
  });

const HANDLERS: Handlers = {
  'account.init': async (daemon, params, { signal }) => {
    checkName(params.nickname);
    const passphrase = secretOf(params);
    const made = await daemon.create({ nickname: params.nickname, passphrase, noTor: params.noTor }, signal);
    return { ...made.account, recoveryPhrase: made.recoveryPhrase, ...warn(passphrase) };
  },
  'account.restore': async (daemon, params) => {
    const passphrase = secretOf(params);
    const { nickname } = params;
    if (nickname !== undefined) checkName(nickname);
    if (params.file !== undefined) {
      await daemon.restore(params.file, backupSecret(params), { passphrase, noTor: params.noTor });
      if (nickname !== undefined) await rename(daemon, nickname);
    } else if (params.phrase === undefined)
      throw new SottoError('params.invalid', { message: 'Give a recovery phrase or a backup file' });
    else
      await daemon.create({
        nickname: nickname ?? daemon.options.paths.name,
        passphrase,
        noTor: params.noTor,
        phrase: params.phrase,
      });
    return { ...(await daemon.open.account.call('account.show', {})), ...warn(passphrase) };
  },
  'account.unlock': async (daemon, { passphrase }) => {
    await daemon.unlock(passphrase);
    return { locked: false };
  },
  'account.lock': async (daemon) => {
    daemon.assertExists();
    await daemon.lock();
    return { locked: true };
  },
  'account.passwd': async (daemon, params) => {
    const next = secretOf({ passphrase: params.newPassphrase, noPassphrase: params.noPassphrase });
    await daemon.changePassphrase({ present: params.passphrase, next, rekey: params.rekey === true });
    return { changed: true, ...warn(next) };
  },
  'account.remove': async (daemon, { confirm }) => {
    if (confirm !== daemon.options.paths.name)
      throw new SottoError('params.invalid', {
        message: `To erase this account, confirm with its name: ${daemon.options.paths.name}`,
      });
    await daemon.remove();
    later(daemon);
    return { removed: true };
  },
  'account.rename': async (daemon, { name }) => {
    const target = accountPaths(daemon.options.places, name, {}).dir;
    await daemon.move(target);
    later(daemon);
    return { account: name };
  },
  'backup.create': (daemon, { file, passphrase }, { signal }) => {
    if (!file.startsWith('/')) throw new SottoError('params.invalid', { message: 'The path must be absolute' });
    return daemon.open.backup(file, passphrase, signal);
  },
  'daemon.stop': (daemon) => {
    later(daemon);
    return { stopping: true };
  },
  'account.takeover': async (daemon) => {
    await daemon.takeOver();
    return { taken: true };
  },
  'daemon.reload': async (daemon) => {
    await daemon.reload();
    return { reloaded: true };
  },
  'doctor.check': (daemon, _params, { signal }) => checkDoctor(daemon, signal),
  'hook.list': (daemon) => daemon.open.hooks.list(),
  'rpc.methods': () => Object.entries(METHODS).map(([method, { doc }]) => ({ method, doc })),
  'status.show': (daemon) => daemon.status(),
  'status.wait': (daemon, { until, timeoutMs }) => waitFor(daemon, until, timeoutMs ?? WAIT_MS_DEFAULT),
  'event.listen': (daemon, params, connection) => listen(daemon.open.account, params, connection),
  'session.focus': (_daemon, { focused }, connection) => {
    connection.focused = focused;
    return {};
  },
};

// Waiting mends none of these.
const HOPELESS: ReadonlySet<string> = new Set(['tor.missing', 'tor.tooOld', 'account.elsewhere']);

// The answer leaves first.
const later = (daemon: Daemon): void => {
  systemClock.after(20, () => daemon.stop().catch((error: unknown) => daemon.bug(error)));
};

const waitFor = (daemon: Daemon, until: 'online' | 'reachable', timeoutMs: number): Promise<Status> => {
  const { account } = daemon.open;
  const there = () => (until === 'online' ? account.network.state === 'online' : account.network.reachable);
  return new Promise((resolve, reject) => {
    const finish = (): void => {
      stop();
      cancel();
    };
    const look = (): void => {
      const { state, lastError } = account.network;
      if (!daemon.isOpen || daemon.open.account !== account) {
        finish();
        reject(new SottoError('account.locked', { message: 'The account was closed meanwhile' }));
      } else if (there()) {
        finish();
        resolve(daemon.status());
      } else if (state === 'off') {
        finish();
        reject(new SottoError('tor.offline'));
      } else if (state === 'failed' && lastError !== undefined && HOPELESS.has(lastError.code)) {
        finish();
        reject(new SottoError(lastError.code as ErrorCode, { message: lastError.message }));
      }
    };
    const stop = account.events.subscribe(look, ['tor.changed']);
    const cancel = systemClock.after(timeoutMs, () => {
      finish();
      const { bootstrapPercent, state, descriptorUploads } = account.network;
      reject(
        new SottoError('wait.timeout', {
          message: `Tor is not ${until} yet: ${state}, ${bootstrapPercent} %, ${descriptorUploads} descriptors uploaded`,
        }),
      );
    });
    look();
  });
};

// Pages from the log first, no faster than they are read; between the last empty page and the subscription nothing can be
// committed. Who listens anew listens to that only.
const listen = async (
  account: Account,
  params: Params<'event.listen'>,
  connection: Connection,
): Promise<Result<'event.listen'>> => {
  const wanted = (event: Event) => params.kinds === undefined || params.kinds.includes(event.kind);
  connection.stopListening?.();
  let isOver = false;
  connection.stopListening = () => {
    isOver = true;
  };
  let cursor = params.since ?? account.events.head();
  for (;;) {
    const { events, gap } = account.events.since(cursor, LISTEN_PAGE_MAX);
    if (gap !== undefined) {
      connection.event(gap);
      cursor = gap.toCursor;
    }
    for (const event of events) if (wanted(event)) connection.event(event);
    const last = events.at(-1)?.cursor;
    if (last === undefined) break;
    cursor = last;
    await connection.drained();
    if (isOver) return { cursor };
  }
  if (!connection.signal.aborted)
    connection.stopListening = account.events.subscribe((event) => void connection.event(event), params.kinds);
  return { cursor };
};

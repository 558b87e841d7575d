// Keys of passphrase channels: made and wrapped, unwrapped by who joins, changed.
import { makeKeyWrap, openKeyWrap, openPreviousKey } from '../crypto/channel-key.ts';
import { ProtocolError, SottoError } from '../protocol/errors.ts';
import { getChannelKey, putChannelKey } from '../store/channels.ts';
import type { ServerRow } from '../store/servers.ts';
import { stateOfJson } from './channel-json.ts';
import { type Core, commit } from './core.ts';
import { publishControl, type Wanted } from './room-control.ts';
import { retryPending } from './room-pending.ts';
import { theChannel, theServer } from './room-rows.ts';

/** The passphrase that was given. Throws `passphrase.needed` with what to say where there is none, and `passphrase.empty`. */
export const mustHavePassphrase = (given: string | undefined, message: string): string => {
  if (given === undefined) throw new SottoError('passphrase.needed', { message });
  if (given === '') throw new SottoError('passphrase.empty');
  return given;
};

/** What opens a key, and the `previous` one with it, for who knows the passphrase. */
export const wrapKey = (
  core: Core,
  place: Parameters<typeof makeKeyWrap>[0],
  passphrase: string,
  keys: { readonly key: Uint8Array; readonly previous?: Uint8Array | undefined },
): ReturnType<typeof makeKeyWrap> => {
  const { key, previous } = keys;
  const salt = core.random.bytes(16);
  return makeKeyWrap(place, passphrase, { key, salt, ...(previous === undefined ? {} : { previous }) });
};

/** Unwraps the keys of a passphrase channel: that of now, and where newcomers may read everything those before. Throws `passphrase.*`. */
export const takePassphrase = async (
  core: Core,
  server: ServerRow,
  channelRow: number,
  given: string | undefined,
): Promise<void> => {
  const state = stateOfJson(theChannel(core.db, channelRow).membership);
  const wrapped = state?.keys.at(-1);
  if (state === undefined || wrapped === undefined) throw new SottoError('event.forged');
  const passphrase = mustHavePassphrase(given, 'This channel has a passphrase: --passphrase-fd');
  const place = { serverId: server.serverKey, event: wrapped.event, epoch: wrapped.epoch };
  let key = await openKeyWrap(place, wrapped.key, passphrase);
  const keys = [{ epoch: wrapped.epoch, key }];
  for (let i = state.keys.length - 1; i > 0; i--) {
    const [now, before] = [state.keys[i], state.keys[i - 1]];
    if (now === undefined || before === undefined) break;
    const previous = previousOf({ ...place, event: now.event, epoch: now.epoch }, now.key, key);
    if (previous === undefined) break;
    key = previous;
    keys.push({ epoch: before.epoch, key });
  }
  await core.queue.call(() =>
    commit(core, () => {
      for (const one of keys) putChannelKey(core.db, channelRow, one.epoch, one.key);
    }),
  );
  await retryPending(core, core.rooms.connect(server.id), channelRow);
};

// Whoever rotates may put anything in the place of the key before: that bars nobody from what this one opens.
const previousOf = (...given: Parameters<typeof openPreviousKey>): Uint8Array<ArrayBuffer> | undefined => {
  try {
    return openPreviousKey(...given);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return undefined;
  }
};

/** Changes the key of a channel now. Throws `passphrase.needed`, and like `publishControl`. */
export const rotateChannel = async (
  core: Core,
  channelRow: number,
  given: string | undefined,
  timeoutMs?: number,
): Promise<void> => {
  const row = theChannel(core.db, channelRow);
  if (row.encryption !== 'passphrase') return publishControl(core, channelRow, { op: 'rotate' }, timeoutMs);
  const passphrase = mustHavePassphrase(given, 'The new passphrase comes by --passphrase-fd');
  const { serverKey } = theServer(core.db, row.serverId);
  const key = core.random.bytes(32);
  const wanted: Wanted = async (header, epoch) => {
    // Where newcomers read everything, each key opens the one before.
    const previous = row.history === 'all' ? getChannelKey(core.db, channelRow, epoch) : undefined;
    const place = { serverId: serverKey, event: header.id, epoch: epoch + 1 };
    return {
      control: { op: 'rotate', key: await wrapKey(core, place, passphrase, { key, previous }) },
      keep: () => putChannelKey(core.db, channelRow, place.epoch, key),
    };
  };
  await publishControl(core, channelRow, wanted, timeoutMs);
  await retryPending(core, core.rooms.connect(row.serverId), channelRow);
};

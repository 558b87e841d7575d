// The replayed state of a channel as text for its row, and back.
import type { ChannelState } from '../crypto/channel-state.ts';
import { fromBase64, toBase64 } from '../protocol/bytes.ts';

const TAG = '$';

// The states that were asked for last, by their text: each event asks for that of its channel, and none is ever changed.
const known = new Map<string, ChannelState>();
const KNOWN_MAX = 32;

const remember = (json: string, state: ChannelState): void => {
  known.delete(json);
  known.set(json, state);
  for (const oldest of known.keys()) if (known.size > KNOWN_MAX) known.delete(oldest);
};

/** Forgets what is remembered: an account is locked. */
export const forgetStates = (): void => known.clear();

/** JSON with maps, sets and bytes marked. */
export const stateToJson = (state: ChannelState): string => {
  const json = JSON.stringify(state, (_key, value: unknown) => {
    if (value instanceof Map) return { [TAG]: 'map', of: [...value] };
    if (value instanceof Set) return { [TAG]: 'set', of: [...value] };
    if (value instanceof Uint8Array) return { [TAG]: 'bytes', of: toBase64(value) };
    return value;
  });
  remember(json, state);
  return json;
};

/** The state that `stateToJson` was given, the same object for the same text while it is remembered; undefined for empty text. */
export const stateOfJson = (json: string): ChannelState | undefined => {
  if (json === '') return undefined;
  const state = known.get(json) ?? (JSON.parse(json, revived) as ChannelState);
  remember(json, state);
  return state;
};

const revived = (_key: string, value: unknown): unknown => {
  if (typeof value !== 'object' || value === null || !(TAG in value) || !('of' in value)) return value;
  if (value[TAG] === 'map') return new Map(value.of as [unknown, unknown][]);
  if (value[TAG] === 'set') return new Set(value.of as unknown[]);
  return fromBase64(value.of as string);
};

/** A control event as it is kept: with those whose role is another now, and what it was (`was`); null for who was not in. */
export const controlToJson = (
  control: object,
  before: ChannelState | undefined,
  after: ChannelState | undefined,
): string => {
  const ids = new Set([...(before?.members.keys() ?? []), ...(after?.members.keys() ?? [])]);
  const was = [...ids]
    .map((id) => [id, before?.members.get(id)?.role ?? null] as const)
    .filter(([id, role]) => role !== (after?.members.get(id)?.role ?? null));
  return JSON.stringify(was.length === 0 ? control : { ...control, was });
};

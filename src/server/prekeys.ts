// Prekeys of devices: published by their owner, handed out once each to who wants to write to them.
import { fromBase64, toBase64 } from '../protocol/bytes.ts';
import { SottoError } from '../protocol/errors.ts';
import type { MemberId } from '../protocol/ids.ts';
import { PREKEYS_KEPT_MAX } from '../protocol/limits.ts';
import { joinBundle, PREKEY_ENTRY_BYTES, prekeyIdOf } from '../protocol/prekeys.ts';
import type { Answer, RequestParams } from '../protocol/server.ts';
import { type Asker, mayNow } from './access.ts';
import type { ServerContext } from './context.ts';
import type { PrekeyRow } from './rows.ts';
import type { StateStore } from './state-store.ts';

type Entry = Omit<PrekeyRow, 'device'>;

/** Keeps what a device publishes; how many one-time keys are left is the answer. Throws `request.invalid`. */
export const putPrekeys = async (
  { store }: ServerContext,
  { session }: Asker,
  params: RequestParams<'prekeys.put'>,
): Promise<Answer<'prekeys.put'>> => {
  const entries: Entry[] = [
    ...(params.signed === undefined ? [] : [entryOf('signed', 'signed', params.signed)]),
    ...(params.lastResort === undefined ? [] : [entryOf('last', 'kyber', params.lastResort)]),
    ...params.ec.map((text) => entryOf('ec', 'ec', text)),
    ...params.kyber.map((text) => entryOf('kyber', 'kyber', text)),
  ];
  const left = await store.countPrekeys(session.device);
  if (left.ec + params.ec.length > PREKEYS_KEPT_MAX || left.kyber + params.kyber.length > PREKEYS_KEPT_MAX)
    throw new SottoError('request.invalid', { details: { why: 'too many' } });
  await store.putPrekeys(session.device, entries);
  return store.countPrekeys(session.device);
};

/** A bundle of each living device of a member that has keys, or of those that are asked for. Throws `member.unknown`, `rate.limited`. */
export const takePrekeys = async (
  context: ServerContext,
  { member }: Asker,
  { member: target, devices }: RequestParams<'prekeys.take'>,
): Promise<Answer<'prekeys.take'>> => {
  const { store, rates } = context;
  const row = await store.getMember(target as MemberId);
  if (row === undefined || row.erasedAt !== null || row.banned) throw new SottoError('member.unknown');
  const pair = `${member.id} ${target}`;
  mayNow(context, 'prekeys', pair);
  let bundles: Answer<'prekeys.take'>['bundles'] = [];
  try {
    bundles = await bundlesOf(store, row.id, devices);
  } finally {
    // A disk that fails a few times, or a device that brings its keys in a moment, must not keep two people apart for hours.
    if (bundles.length === 0) rates.prekeys.giveBack(pair);
  }
  return { bundles };
};

const bundlesOf = async (
  store: StateStore,
  member: MemberId,
  wanted: readonly string[] | undefined,
): Promise<Answer<'prekeys.take'>['bundles']> => {
  const bundles: Answer<'prekeys.take'>['bundles'] = [];
  for (const device of await store.listDevices(member)) {
    if (device.revokedAt !== null || wanted?.includes(device.id) === false) continue;
    const taken = await store.takePrekeys(device.id);
    if (taken === undefined) continue;
    const bundle = joinBundle({ signed: taken.signed.body, kyber: taken.kyber.body, ec: taken.ec?.body });
    bundles.push({ device: device.id, certificate: toBase64(device.certificate), bundle: toBase64(bundle) });
  }
  return bundles;
};

const entryOf = (kind: PrekeyRow['kind'], layout: keyof typeof PREKEY_ENTRY_BYTES, text: string): Entry => {
  const body = fromBase64(text);
  if (body.length !== PREKEY_ENTRY_BYTES[layout])
    throw new SottoError('request.invalid', { details: { why: 'prekey' } });
  return { kind, keyId: prekeyIdOf(body), body };
};

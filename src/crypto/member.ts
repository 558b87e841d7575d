// Who somebody is on a server: member keys, device certificates, and the proofs of a greeting and a log-in.
import type { KeyObject } from 'node:crypto';
import { concat, isEqual } from '../protocol/bytes.ts';
import { ProtocolError } from '../protocol/errors.ts';
import { type DeviceId, ID_BYTES, idOf, type MemberId } from '../protocol/ids.ts';
import { KEY_BYTES, SIGNAL_KEY_BYTES, SIGNATURE_BYTES } from '../protocol/sizes.ts';
import { type Bytes, ed25519Public, ed25519Sign, ed25519Verify, hkdf, sha256 } from './primitives.ts';
import { isSignalKey, signalIdentity } from './session.ts';
import { isPrimeOrderKey } from './subgroup.ts';

const LABEL = {
  member: Buffer.from('sotto member 1'),
  device: Buffer.from('sotto device 1'),
  certificate: Buffer.from('sotto device certificate 1'),
  hello: Buffer.from('sotto hello 1'),
  login: Buffer.from('sotto login 1'),
  link: Buffer.from('sotto member link 1'),
} as const;
const SIZES = {
  key: KEY_BYTES,
  signalKey: SIGNAL_KEY_BYTES,
  serial: 6,
  signature: SIGNATURE_BYTES,
  nonce: 32,
  binding: 32,
} as const;
/** The highest serial of a certificate. */
export const SERIAL_MAX = 2 ** 48 - 1;

/** Label ‖ server id ‖ member key ‖ signing key ‖ Signal key ‖ u48 serial ‖ signature. */
export const DEVICE_CERTIFICATE_BYTES =
  LABEL.certificate.length + 3 * SIZES.key + SIZES.signalKey + SIZES.serial + SIZES.signature;

/** What an account is on one server; every device of the account derives the same. */
export type MemberSecrets = {
  readonly memberSeed: Bytes;
  readonly memberKey: Bytes;
  readonly signalSecret: Bytes;
  readonly signalKey: Bytes;
};

/**
 * The member key (Ed25519) and the Signal identity of an account on the server of `serverId`, 32 bytes: HKDF-SHA-256 of the
 * account's servers key with info `sotto 1 ` ‖ label ‖ server id. Two servers cannot tell that they are of one account.
 */
export const memberSecrets = (serversKey: Uint8Array, serverId: Uint8Array): MemberSecrets => {
  const derive = (label: string) => hkdf(serversKey, Buffer.concat([Buffer.from(`sotto 1 ${label}`), serverId]));
  const [memberSeed, signalSecret] = [derive('member'), derive('member-signal')];
  const signalKey = signalIdentity(signalSecret).publicKey;
  return { memberSeed, memberKey: ed25519Public(memberSeed), signalSecret, signalKey };
};

/** The id of a member key on a server. */
export const memberIdOf = (serverId: Uint8Array, memberKey: Uint8Array): MemberId =>
  idOf(sha256(LABEL.member, serverId, memberKey).subarray(0, ID_BYTES));

/** The id of a device: of its signing key. */
export const deviceIdOf = (signingKey: Uint8Array): DeviceId =>
  idOf(sha256(LABEL.device, signingKey).subarray(0, ID_BYTES));

/** A device's keys: Ed25519 for events and log-ins, and the member's Signal identity. `serial` below 2⁴⁸. */
export type DeviceKeys = { readonly signingKey: Bytes; readonly signalKey: Bytes; readonly serial: number };
export type DeviceCertificate = DeviceKeys & {
  readonly memberKey: Bytes;
  readonly member: MemberId;
  readonly device: DeviceId;
};

/** The serial of a member's next certificate: `now` in ms, but above every one that is known. They only grow. */
export const nextSerial = (known: readonly DeviceCertificate[], now: number): number =>
  known.reduce((serial, certificate) => Math.max(serial, certificate.serial + 1), now);

/** Certifies a device of the member whose seed is given. */
export const makeDeviceCertificate = (serverId: Uint8Array, memberSeed: Uint8Array, keys: DeviceKeys): Bytes => {
  if (keys.serial > SERIAL_MAX) throw new Error('a serial has 48 bits');
  const serial = Buffer.alloc(SIZES.serial);
  serial.writeUIntBE(keys.serial, 0, SIZES.serial);
  const parts = [LABEL.certificate, serverId, ed25519Public(memberSeed), keys.signingKey, keys.signalKey, serial];
  const signed = Buffer.concat(parts);
  return concat([signed, ed25519Sign(memberSeed, signed)]);
};

/** A device of an account on a server: its id and certificate. `seed`, 32 random bytes, is its signing key and never leaves it. */
export const makeDevice = (
  serversKey: Uint8Array,
  serverId: Uint8Array,
  { seed, serial }: { readonly seed: Uint8Array; readonly serial: number },
): { readonly member: MemberId; readonly device: DeviceId; readonly certificate: Bytes } => {
  const { memberSeed, memberKey, signalKey } = memberSecrets(serversKey, serverId);
  const signingKey = ed25519Public(seed);
  return {
    member: memberIdOf(serverId, memberKey),
    device: deviceIdOf(signingKey),
    certificate: makeDeviceCertificate(serverId, memberSeed, { signingKey, signalKey, serial }),
  };
};

/** The device that a certificate is of, nothing of it verified. Throws ProtocolError `certificate.invalid` for another size. */
export const certifiedDevice = (
  bytes: Uint8Array<ArrayBuffer>,
): { readonly device: DeviceId; readonly signingKey: Bytes } => {
  if (bytes.length !== DEVICE_CERTIFICATE_BYTES) throw invalid('size');
  const at = LABEL.certificate.length + 2 * SIZES.key;
  const signingKey = bytes.subarray(at, at + SIZES.key);
  return { device: deviceIdOf(signingKey), signingKey };
};

/**
 * What a certificate for this server says, its signature verified: about 7 ms, so keep the result. Throws ProtocolError
 * `certificate.invalid` (layout, another server, signature) or `key.invalid` (a key outside the prime-order subgroup).
 */
export const readDeviceCertificate = (bytes: Uint8Array, serverId: Uint8Array): DeviceCertificate => {
  if (bytes.length !== DEVICE_CERTIFICATE_BYTES) throw invalid('size');
  let at = 0;
  const take = (size: number): Bytes => {
    at += size;
    return new Uint8Array(bytes.subarray(at - size, at));
  };
  if (!LABEL.certificate.equals(take(LABEL.certificate.length))) throw invalid('label');
  if (!isEqual(serverId, take(SIZES.key))) throw invalid('server');
  const [memberKey, signingKey, signalKey] = [take(SIZES.key), take(SIZES.key), take(SIZES.signalKey)];
  const serial = Buffer.from(take(SIZES.serial)).readUIntBE(0, SIZES.serial);
  const signed = bytes.subarray(0, at);
  if (!isPrimeOrderKey(memberKey) || !isPrimeOrderKey(signingKey) || !isSignalKey(signalKey))
    throw new ProtocolError('key.invalid');
  if (!ed25519Verify(memberKey, signed, take(SIZES.signature))) throw invalid('signature');
  const [member, device] = [memberIdOf(serverId, memberKey), deviceIdOf(signingKey)];
  return { memberKey, signingKey, signalKey, serial, member, device };
};

/**
 * Whether `shown` says something new about its member, of whom `known` is the newest certificate of each device seen so far.
 * `same` is one of them again. Throws ProtocolError `certificate.invalid` for an older one of a known device, a serial that
 * another device has, and a Signal key other than the member's.
 */
export const compareCertificate = (
  known: readonly Pick<DeviceCertificate, 'device' | 'serial' | 'signalKey'>[],
  shown: DeviceCertificate,
): 'same' | 'newDevice' | 'renewed' => {
  const twin = known.find((one) => one.serial === shown.serial);
  if (twin !== undefined && twin.device !== shown.device) throw invalid('serial');
  if (known.some((one) => !isEqual(one.signalKey, shown.signalKey))) throw invalid('signalKey');
  const before = known.find((one) => one.device === shown.device);
  if (before === undefined) return 'newDevice';
  if (before.serial > shown.serial) throw invalid('older');
  return before.serial === shown.serial ? 'same' : 'renewed';
};

/** What both proofs are about: the origin dialled, such as `wss://host:7443`, and 32 bytes from each side. */
export type Greeting = {
  readonly origin: string;
  readonly clientNonce: Uint8Array;
  readonly serverNonce: Uint8Array;
};

/** A greeting as the server answers it: whether TLS ends in it, so that the log-in is bound to it, or in a proxy before it. */
export type Hello = Greeting & { readonly isBound: boolean };

/** The server's signature over its hello; a client shows nothing of itself before it has verified it. */
export const signHello = (serverSeed: Uint8Array | KeyObject, hello: Hello): Bytes =>
  ed25519Sign(serverSeed, helloBytes(hello));

/** Whether the server of this id signed the hello. The id was checked with `isPrimeOrderKey` when it was pinned. */
export const verifyHello = (serverId: Uint8Array, hello: Hello, signature: Uint8Array): boolean =>
  ed25519Verify(serverId, helloBytes(hello), signature);

/** A log-in: the greeting of its connection, and the TLS exporter's 32 bytes where TLS ends in the server. */
export type Login = Greeting & { readonly serverId: Uint8Array; readonly binding?: Uint8Array | undefined };

/** The device's signature that logs it in. */
export const signLogin = (deviceSeed: Uint8Array | KeyObject, login: Login): Bytes =>
  ed25519Sign(deviceSeed, loginBytes(login));

/**
 * Whether the device of this signing key, out of its certificate, signed the log-in. Nonces, origin and binding are those of
 * the verifier's own connection, never what the other side says: so a log-in relayed from another server does not fit.
 */
export const verifyLogin = (signingKey: Uint8Array, login: Login, signature: Uint8Array): boolean =>
  ed25519Verify(signingKey, loginBytes(login), signature);

/** A member's word for a contact: the server, and the identity keys (addresses) of who says it and to whom. 32 bytes each. */
export type MemberLink = {
  readonly serverId: Uint8Array;
  readonly from: Uint8Array;
  readonly to: Uint8Array;
};

/** The member key's signature that its owner is the account of address `from`, for that of `to` and nobody else. */
export const signMemberLink = (memberSeed: Uint8Array, link: MemberLink): Bytes =>
  ed25519Sign(memberSeed, memberLinkBytes(link));

/** Whether the member of this key said it. The key was checked with `isPrimeOrderKey`. */
export const verifyMemberLink = (memberKey: Uint8Array, link: MemberLink, signature: Uint8Array): boolean =>
  ed25519Verify(memberKey, memberLinkBytes(link), signature);

// `sotto member link 1` ‖ server id ‖ from ‖ to
const memberLinkBytes = ({ serverId, from, to }: MemberLink): Bytes => {
  for (const key of [serverId, from, to]) mustBe(key, SIZES.key);
  return concat([LABEL.link, serverId, from, to]);
};

// `sotto hello 1` ‖ client nonce ‖ server nonce ‖ u8 is bound ‖ u16 length ‖ origin
const helloBytes = ({ origin, clientNonce, serverNonce, isBound }: Hello): Bytes => {
  mustBe(clientNonce, SIZES.nonce);
  mustBe(serverNonce, SIZES.nonce);
  return concat([LABEL.hello, clientNonce, serverNonce, Uint8Array.of(isBound ? 1 : 0), ...sized(origin)]);
};

// `sotto login 1` ‖ server id ‖ u16 length ‖ origin ‖ client nonce ‖ server nonce ‖ u8 has binding ‖ binding
const loginBytes = ({ serverId, origin, clientNonce, serverNonce, binding }: Login): Bytes => {
  mustBe(serverId, SIZES.key);
  mustBe(clientNonce, SIZES.nonce);
  mustBe(serverNonce, SIZES.nonce);
  if (binding !== undefined) mustBe(binding, SIZES.binding);
  const bound = binding === undefined ? [Uint8Array.of(0)] : [Uint8Array.of(1), binding];
  return concat([LABEL.login, serverId, ...sized(origin), clientNonce, serverNonce, ...bound]);
};

const sized = (text: string): readonly Uint8Array[] => {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(bytes.length);
  return [length, bytes];
};

// Sizes were checked where the bytes came in: here they are our own mistake.
const mustBe = (bytes: Uint8Array, size: number): void => {
  if (bytes.length !== size) throw new Error(`these bytes are ${bytes.length}, not ${size}`);
};

const invalid = (why: string) => new ProtocolError('certificate.invalid', { details: { why } });

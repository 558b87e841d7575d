// An invite to a server as a link: where it is, which key is its own, and the token that lets somebody in.
import { SottoError } from './errors.ts';
import { KEY_BYTES } from './sizes.ts';

export type InviteLink = {
  /** `wss://host:port`, or `ws://` for an onion service or this machine. */
  readonly origin: string;
  /** The server's Ed25519 key, 32 bytes: pinned for ever. */
  readonly serverKey: Uint8Array<ArrayBuffer>;
  /** Empty where registration is open. */
  readonly token: string;
  /** `pinned`: its certificate carries the key; `authority`: a public one vouches for its name; `none`: there is no TLS. */
  readonly trust: 'pinned' | 'authority' | 'none';
};

/** Whether a host, as it stands in a URL, is this machine. */
export const isLoopback = (host: string): boolean => /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/.test(host);

/** Of a link that is not whole. */
export const ENDS_EARLY = 'This link ends early: put it in quotes';
const LINK_CHARS_MAX = 1024;
const ORIGIN = /^wss?:\/\/[a-z0-9.:[\]-]{1,300}$/;

/** Whether a link may name this as the place of a server: `wss://host[:port]` or `ws://host[:port]` in lower case, and nothing more. */
export const isOrigin = (text: string): boolean => ORIGIN.test(text) && URL.canParse(text);

/** `sotto:room?at=…&key=…&token=…`, and `trust=authority` where that is so. */
export const makeInviteLink = ({ origin, serverKey, token, trust }: InviteLink): string => {
  const params = new URLSearchParams({ at: origin, key: Buffer.from(serverKey).toString('base64url') });
  if (token !== '') params.set('token', token);
  if (trust === 'authority') params.set('trust', trust);
  return `sotto:room?${params}`;
};

/** Throws `link.invalid`. */
export const parseInviteLink = (link: string): InviteLink => {
  const match = link.length > LINK_CHARS_MAX ? null : /^sotto:room\?([!-~]+)$/i.exec(link.trim());
  const params = new URLSearchParams(match?.[1] ?? '');
  const origin = params.get('at') ?? '';
  const key = params.get('key') ?? '';
  const token = params.get('token') ?? '';
  const serverKey = new Uint8Array(Buffer.from(key, 'base64url'));
  const fits =
    isOrigin(origin) && /^[\w-]{43}$/.test(key) && serverKey.length === KEY_BYTES && /^[\w-]{0,64}$/.test(token);
  // A shell ends an unquoted link at its first `&`.
  if (isOrigin(origin) && /^[\w-]{0,42}$/.test(key)) throw new SottoError('link.invalid', { message: ENDS_EARLY });
  if (!fits)
    throw new SottoError('link.invalid', {
      message: 'An invite to a server begins with sotto:room? and tells where it is and its key',
    });
  const trust = origin.startsWith('ws:') ? 'none' : params.get('trust') === 'authority' ? 'authority' : 'pinned';
  return { origin, serverKey, token, trust };
};

// Where connections come from: the source that limits count by, behind proxies and Tor too, and who of them is unproven.
import { BlockList, isIP, isIPv6 } from 'node:net';
import type { Random } from '../ports.ts';
import { ProtocolError, SottoError } from '../protocol/errors.ts';
import { SERVER_UNPROVEN_PER_SOURCE_MAX } from '../protocol/limits.ts';

/** The addresses of proxies that are believed. */
export class Proxies {
  readonly #list = new BlockList();

  /** `texts` are addresses, or networks such as `10.0.0.0/8`. Throws `config.invalid`. */
  constructor(texts: readonly string[]) {
    for (const text of texts) {
      const [address = '', bits] = text.split(/\/(.*)/s);
      const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
      const isNetwork = bits !== undefined && /^\d{1,3}$/.test(bits) && Number(bits) <= (family === 'ipv6' ? 128 : 32);
      if (isIP(address) === 0 || (bits !== undefined && !isNetwork))
        throw new SottoError('config.invalid', { message: `A proxy is an address or a network, not ${text}` });
      if (bits === undefined) this.#list.addAddress(address, family);
      else this.#list.addSubnet(address, Number(bits), family);
    }
  }

  has(address: string): boolean {
    return this.#list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
  }

  /** Who a proxy speaks for: the last of the forwarded addresses that is no proxy of ours; undefined when none is told. */
  clientOf(forwarded: readonly string[]): string | undefined {
    const address = forwarded.findLast((one) => isIP(one) === 0 || !this.has(one));
    return address === undefined || isIP(address) === 0 ? undefined : address;
  }
}

/** The source of an address: itself, or the /64 network of IPv6, which is what one person has. */
export const sourceOf = (address: string): string => {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  if (mapped !== null || !isIPv6(address)) return mapped?.[1] ?? address;
  // The URL parser gives the one shortest form, RFC 5952.
  const [first = '', second] = new URL(`http://[${address.replace(/%.*/, '')}]`).hostname.slice(1, -1).split('::');
  const groups = first === '' ? [] : first.split(':');
  const after = second === undefined || second === '' ? [] : second.split(':');
  if (second !== undefined) while (groups.length + after.length < 8) groups.push('0');
  return `${[...groups, ...after].slice(0, 4).join(':')}::/64`;
};

/**
 * The circuit that Tor names with `HiddenServiceExportCircuitID haproxy` in a line before the request, and the request.
 * Throws ProtocolError `handshake.failed` when the line is missing. Source: PROXY protocol, version 1.
 */
export const parseCircuitLine = (head: string): { readonly circuit: string; readonly head: string } => {
  const [line = '', rest] = head.split(/\r\n(.*)/s);
  const circuit = /^PROXY TCP6 ([0-9a-f:]{2,39}) \S{2,39} \d{1,5} \d{1,5}$/i.exec(line)?.[1];
  if (circuit === undefined || rest === undefined)
    throw new ProtocolError('handshake.failed', { details: { status: 400, why: 'circuit' } });
  return { circuit, head: rest };
};

/** Connections that have not logged in, and how many each source has. */
export class Unproven<C extends object> {
  readonly #random: Random;
  readonly #all: C[] = [];
  readonly #slots = new Map<C, number>();
  readonly #perSource = new Map<string, number>();

  constructor(random: Random) {
    this.#random = random;
  }

  get size(): number {
    return this.#all.length;
  }

  add(one: C): void {
    this.#slots.set(one, this.#all.length);
    this.#all.push(one);
  }

  /** Counts an unproven connection for its source; false when that has too many already. */
  claim(source: string): boolean {
    const count = this.#perSource.get(source) ?? 0;
    if (count >= SERVER_UNPROVEN_PER_SOURCE_MAX) return false;
    this.#perSource.set(source, count + 1);
    return true;
  }

  /** `source` is what was claimed, if it was. Doing it again does nothing. */
  remove(one: C, source: string | undefined): void {
    const slot = this.#slots.get(one);
    if (slot === undefined) return;
    this.#slots.delete(one);
    const last = this.#all.pop() as C;
    if (last !== one) {
      this.#all[slot] = last;
      this.#slots.set(last, slot);
    }
    if (source === undefined) return;
    const count = (this.#perSource.get(source) ?? 0) - 1;
    if (count > 0) this.#perSource.set(source, count);
    else this.#perSource.delete(source);
  }

  /** A random one, to make room; undefined when there is none. */
  victim(): C | undefined {
    return this.#all[Math.floor(this.#random.fraction() * this.#all.length)];
  }
}

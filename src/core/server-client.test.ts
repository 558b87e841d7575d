// A connection to a server as its client waits on it.
import { expect, test } from 'vitest';
import { signHello } from '../crypto/member.ts';
import { ed25519Public } from '../crypto/primitives.ts';
import { systemRandom } from '../machine.ts';
import type { ServerLink, ServerLinkEvents } from '../ports.ts';
import { fromBase64, toBase64 } from '../protocol/bytes.ts';
import { ANSWER_MS_MAX, REQUEST_MS_MAX } from '../protocol/limits.ts';
import { decodeRequest } from '../protocol/server.ts';
import { encodePart } from '../protocol/server-frames.ts';
import { ManualClock } from '../testing/clock.ts';
import { ServerClient } from './server-client.ts';

const origin = 'wss://slow.example:1';
const seed = systemRandom.bytes(32);
const serverKey = ed25519Public(seed);
const PART = new Uint8Array(100);

/** A client of a server that greets, and the parts that it is sent. */
const connected = async () => {
  const clock = new ManualClock();
  let events: ServerLinkEvents | undefined;
  let asked = 0;
  const text = (said: string): boolean => {
    const { id, name, params } = decodeRequest(said);
    asked = id;
    if (name !== 'hello') return true;
    const serverNonce = systemRandom.bytes(32);
    const { nonce } = params as { nonce: string };
    const proof = signHello(seed, { origin, clientNonce: fromBase64(nonce), serverNonce, isBound: false });
    const about = {
      version: 1,
      features: [],
      node: '0'.repeat(32),
      epoch: 1,
      name: 'slow',
      registration: 'open',
      bound: false,
    };
    const keys = { server: toBase64(serverKey), nonce: toBase64(serverNonce), proof: toBase64(proof) };
    queueMicrotask(() => events?.text(JSON.stringify({ id, ok: { ...about, ...keys, at: clock.now() } })));
    return true;
  };
  const link: ServerLink = {
    binding: undefined,
    rttMs: undefined,
    text,
    binary: () => true,
    pause: () => {},
    resume: () => {},
    close: () => {},
  };
  const client = await ServerClient.open({
    network: {
      dialServer: async (_, attach) => {
        events = attach(link);
        return link;
      },
    },
    target: { origin, serverKey, trust: 'pinned' } as never,
    clock,
    random: systemRandom,
    events: { event: () => {}, notice: () => {}, closed: () => {} },
  });
  const pass = (ms: number): void => {
    const until = clock.monotonic() + ms;
    while (clock.step(until));
    clock.after(until - clock.monotonic(), () => {});
    clock.step();
  };
  let offset = 0;
  const sendPart = (): void => {
    events?.binary(encodePart({ request: asked, upload: '0'.repeat(32) as never, offset, body: PART }));
    offset += PART.length;
  };
  const answer = (): void => events?.text(JSON.stringify({ id: asked, ok: { sentBytes: offset } }));
  return { client, pass, sendPart, answer };
};

const wanted = { channel: '0'.repeat(32), hash: '0'.repeat(64), limit: 1e6 };

test('what comes in parts is waited for as long as parts come, and then a while', async () => {
  const { client, pass, sendPart, answer } = await connected();
  let bytes = 0;
  const whole = client.fetch(wanted, ({ body }) => {
    bytes += body.length;
  });
  for (let n = 0; n < 5; n++) {
    pass(REQUEST_MS_MAX - 1);
    sendPart();
  }
  pass(REQUEST_MS_MAX - 1);
  answer();
  expect([await whole, bytes]).toEqual([{ sentBytes: 500 }, 500]);
  const cut = expect(client.fetch(wanted, () => {})).rejects.toMatchObject({ code: 'server.unavailable' });
  pass(REQUEST_MS_MAX + 1);
  await cut;
});

test('what never comes to its end is over all the same', async () => {
  const { client, pass, sendPart } = await connected();
  const endless = expect(client.fetch(wanted, () => {})).rejects.toMatchObject({ code: 'server.unavailable' });
  for (let ms = 0; ms <= ANSWER_MS_MAX; ms += REQUEST_MS_MAX / 2) {
    pass(REQUEST_MS_MAX / 2);
    sendPart();
  }
  await endless;
});

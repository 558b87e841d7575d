import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Duplex } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { addressOf } from '../crypto/address.ts';
import { makeCertificate } from '../crypto/certificate.ts';
import { deriveSecrets, localKeys } from '../crypto/identity.ts';
import { Handshake } from '../crypto/noise.ts';
import type { Admission, Clock, Link, LinkEvents, LocalKeys } from '../ports.ts';
import { FRAME_BYTES_MAX, LINK_UNREAD_BYTES_MAX } from '../protocol/limits.ts';
import { codeOf } from '../testing/code.ts';
import { openLink } from './link.ts';

const person = () => {
  const keys = localKeys(deriveSecrets(randomBytes(16)), new Uint8Array(randomBytes(16)));
  return { keys, address: addressOf(keys.publicKeys.identityKey) };
};

/** A pair of streams, and what was written to each; `cut` makes pieces that come one by one of what was written. */
const wire = (
  edit: (bytes: Buffer, from: 'dial' | 'accept', nth: number) => Buffer = (bytes) => bytes,
  cut: (bytes: Buffer) => Buffer[] = (bytes) => [bytes],
) => {
  const writes: Record<'dial' | 'accept', Buffer[]> = { dial: [], accept: [] };
  const make = (name: 'dial' | 'accept'): Duplex =>
    new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        writes[name].push(chunk);
        const other = name === 'dial' ? ends.accept : ends.dial;
        for (const piece of cut(edit(chunk, name, writes[name].length))) if (!other.destroyed) other.push(piece);
        done();
      },
      final(done) {
        (name === 'dial' ? ends.accept : ends.dial).push(null);
        done();
      },
      destroy(error, done) {
        const other = name === 'dial' ? ends.accept : ends.dial;
        if (!other.readableEnded && !other.destroyed) other.push(null);
        done(error);
      },
    });
  const ends = { dial: make('dial'), accept: make('accept') };
  return { ends, writes };
};

const timers: { at: number; fire: () => void }[] = [];
const clock: Clock = {
  now: () => 1000,
  monotonic: () => 0,
  after: (at, fire) => {
    const timer = { at, fire };
    timers.push(timer);
    return () => timers.splice(timers.indexOf(timer) >>> 0, 1);
  },
};
const random = { bytes: (size: number) => new Uint8Array(randomBytes(size)), fraction: () => 0.5 };

const collector = () => {
  const frames: string[] = [];
  const reasons: string[] = [];
  const waiting: (() => void)[] = [];
  const events: LinkEvents = {
    frame: (frame) => {
      frames.push(Buffer.from(frame).toString());
      for (const wake of waiting.splice(0)) wake();
    },
    drained: () => {},
    closed: (reason) => {
      reasons.push(reason);
      for (const wake of waiting.splice(0)) wake();
    },
  };
  const until = async (ready: () => boolean) => {
    while (!ready()) await new Promise<void>((wake) => waiting.push(wake));
  };
  return { frames, reasons, events, until };
};

type Side = { keys: LocalKeys; admit?: () => Admission };
const connect = (
  streams: { dial: Duplex; accept: Duplex },
  alice: Side,
  bob: Side,
  address: string,
  bobAddress = address,
) => {
  const [a, b] = [collector(), collector()];
  const open = (role: 'dial' | 'accept', side: Side, own: string, attach: (link: Link) => LinkEvents) =>
    openLink({
      stream: streams[role],
      role,
      keys: side.keys,
      address: own,
      admit: side.admit ?? (() => 'accept'),
      clock,
      random,
      attach,
    });
  const dialled = open('dial', alice, address, () => a.events);
  const accepted = open('accept', bob, bobAddress, () => b.events);
  dialled.catch(() => {});
  accepted.catch(() => {});
  return { dialled, accepted, a, b };
};

/** One side of a handshake with whoever is at `address`, and what it writes as it stands on the wire. */
const byHand = (role: 'initiator' | 'responder', { keys }: Side, address: string) =>
  new Handshake({
    role,
    prologue: Buffer.from(`sotto link 1${address}`),
    staticSecret: keys.linkSecret,
    ephemeralSecret: new Uint8Array(randomBytes(32)),
  });
const message = (bytes: Uint8Array) => Buffer.from([bytes.length >>> 8, bytes.length & 255, ...bytes]);

/** What comes of one side of a link. */
const open = (stream: Duplex, role: 'dial' | 'accept', { keys }: Side, address: string) => {
  const nobody = { admit: (): Admission => 'accept', attach: () => collector().events };
  return codeOf(openLink({ stream, role, keys, address, clock, random, ...nobody }));
};

describe('a link', () => {
  test('proves both sides and carries frames in order, both ways', async () => {
    const [alice, bob] = [person(), person()];
    const { ends } = wire();
    const { dialled, accepted, a, b } = connect(ends, alice, bob, bob.address);
    const [linkA, linkB] = await Promise.all([dialled, accepted]);
    expect([linkA.peer.address, linkB.peer.address]).toEqual([bob.address, alice.address]);
    expect(linkB.peer.installId).toEqual(alice.keys.installId);
    for (let i = 0; i < 300; i++) linkA.send(Buffer.from(`frame ${i} ${'x'.repeat(i * 20)}`));
    linkB.send(Buffer.from('back'));
    await b.until(() => b.frames.length === 300);
    await a.until(() => a.frames.length === 1);
    expect(b.frames.map((frame) => frame.split(' ')[1])).toEqual(Array.from({ length: 300 }, (_, i) => String(i)));
    linkA.close('done');
    await b.until(() => b.reasons.length > 0);
    expect(b.reasons).toEqual(['peer closed']);
  });

  test.each([
    ['single bytes', [1]],
    ['little', [1, 3, 100]],
    ['less and more than a cell', [479, 481, 2, 5_000]],
    ['much', [70_000, 1]],
  ])('takes a stream in pieces of any size: %s', async (_what, sizes) => {
    const [alice, bob] = [person(), person()];
    let nth = 0;
    const cut = (bytes: Buffer): Buffer[] => {
      const pieces: Buffer[] = [];
      for (let at = 0; at < bytes.length; at += pieces.at(-1)?.length ?? 1)
        pieces.push(bytes.subarray(at, at + (sizes[nth++ % sizes.length] ?? 1)));
      return pieces;
    };
    const { ends } = wire(undefined, cut);
    const { dialled, accepted, b } = connect(ends, alice, bob, bob.address);
    const [link] = await Promise.all([dialled, accepted]);
    const texts = [40_000, 1, 460, 30_000, 10].map((size, i) => `${i} ${'y'.repeat(size)}`);
    for (const text of texts) {
      link.send(Buffer.from(text));
      await b.until(() => b.frames.at(-1) === text || b.reasons.length > 0);
    }
    for (const text of texts) link.send(Buffer.from(text));
    await b.until(() => b.frames.length === 2 * texts.length || b.reasons.length > 0);
    expect(b.frames).toEqual([...texts, ...texts]);
  });

  test('LINK-7: an ack, a ping and a short text are one write of 480 bytes each', async () => {
    const [alice, bob] = [person(), person()];
    const { ends, writes } = wire();
    const { dialled, accepted, b } = connect(ends, alice, bob, bob.address);
    const [link] = await Promise.all([dialled, accepted]);
    const before = writes.dial.length;
    for (const size of [17, 40, 460]) {
      link.send(new Uint8Array(size).fill(65));
      await b.until(() => b.frames.some((frame) => frame.length === size));
    }
    expect(writes.dial.slice(before).map((write) => write.length)).toEqual([480, 480, 480]);
  });

  test('LINK-4: whoever answers for another address is refused', async () => {
    const [alice, bob, mallory] = [person(), person(), person()];
    const { ends } = wire();
    const { dialled } = connect(ends, alice, mallory, bob.address, bob.address);
    expect(await codeOf(dialled)).toBe('handshake.failed');
  });

  test('LINK-1: a handshake that stops after its first message is over after 10 s', async () => {
    const [alice, bob] = [person(), person()];
    const { ends } = wire();
    timers.length = 0;
    const accepted = open(ends.accept, 'accept', bob, bob.address);
    expect(timers.map(({ at }) => at).sort((a, b) => a - b)).toEqual([5_000, 10_000]);
    const answer = once(ends.dial, 'data');
    ends.dial.write(message(byHand('initiator', alice, bob.address).write(Uint8Array.of(1))));
    await answer;
    const [last, ...more] = timers;
    expect([last?.at, more]).toEqual([10_000, []]);
    last?.fire();
    expect(await accepted).toBe('handshake.timeout');
  });

  test('LINK-4: one of the versions that are offered is chosen; without one that both speak there is no link, nor a word', async () => {
    const [alice, bob] = [person(), person()];
    const offered = async (...versions: number[]) => {
      const { ends, writes } = wire();
      const accepted = open(ends.accept, 'accept', bob, bob.address);
      const handshake = byHand('initiator', alice, bob.address);
      const answer = once(ends.dial, 'data');
      ends.dial.write(message(handshake.write(Uint8Array.from(versions))));
      if (!versions.includes(1)) return [await accepted, writes.accept.length];
      const [bytes] = (await answer) as [Buffer];
      ends.dial.destroy();
      return handshake.read(new Uint8Array(bytes.subarray(2)))[0];
    };
    expect(await offered(9, 1)).toBe(1);
    expect(await offered(9)).toEqual(['handshake.failed', 0]);

    const chosen = async (version: number) => {
      const { ends, writes } = wire();
      const offer = once(ends.accept, 'data');
      const dialled = open(ends.dial, 'dial', alice, bob.address);
      const handshake = byHand('responder', bob, bob.address);
      const [bytes] = (await offer) as [Buffer];
      expect([...handshake.read(new Uint8Array(bytes.subarray(2)))]).toEqual([1]);
      const certificate = makeCertificate(bob.keys.publicKeys, bob.keys.identitySeed);
      ends.accept.write(message(handshake.write(Buffer.concat([Uint8Array.of(version), certificate]))));
      return [await dialled, writes.dial.length];
    };
    expect(await chosen(1)).toEqual(['done', 2]);
    expect(await chosen(9)).toEqual(['handshake.failed', 1]);
  });

  test('LINK-4: the certificate of somebody else, which everybody has who linked with them, proves nothing', async () => {
    const [alice, bob, mallory] = [person(), person(), person()];
    const posesAs = ({ keys }: Side): Side => ({ keys: { ...keys, linkSecret: mallory.keys.linkSecret } });
    const asAlice = connect(wire().ends, posesAs(alice), bob, bob.address);
    expect(await codeOf(asAlice.accepted)).toBe('handshake.failed');
    const asBob = connect(wire().ends, alice, posesAs(bob), bob.address);
    expect(await codeOf(asBob.dialled)).toBe('handshake.failed');
  });

  test('LINK-3: a contact who relays the handshake to another contact proves nothing', async () => {
    const [alice, bob, mallory] = [person(), person(), person()];
    // Alice dials Mallory, who passes every byte to Bob: Bob's prologue is his own address.
    const { ends } = wire();
    const { dialled, accepted } = connect(ends, alice, bob, mallory.address, bob.address);
    expect([await codeOf(dialled), await codeOf(accepted)]).toEqual(['handshake.failed', 'handshake.failed']);
  });

  test('LINK-3: who accepts has its own address in the prologue: a handshake for another one does not open there', async () => {
    const [alice, bob, mallory] = [person(), person(), person()];
    const answerTo = async (dialled: string) => {
      const { ends } = wire();
      open(ends.accept, 'accept', bob, bob.address).catch(() => {});
      const handshake = byHand('initiator', alice, dialled);
      const hello = handshake.write(Uint8Array.of(1));
      ends.dial.write(Buffer.from([0, hello.length, ...hello]));
      const [answer] = (await once(ends.dial, 'data')) as [Buffer];
      ends.dial.destroy();
      return handshake.read(new Uint8Array(answer.subarray(2)));
    };
    expect((await answerTo(bob.address))[0]).toBe(1);
    expect(await codeOf(answerTo(mallory.address))).toBe('handshake.failed');
  });

  test('LINK-5: our own handshake sent back to us is refused', async () => {
    const alice = person();
    const { ends } = wire();
    const { dialled } = connect(ends, alice, alice, alice.address);
    expect(await codeOf(dialled)).toBe('handshake.failed');
  });

  test('LINK-6: an edited version list, a flipped or a cut message ends it on both sides', async () => {
    for (const edit of [
      (bytes: Buffer, from: string, nth: number) =>
        from === 'dial' && nth === 1 ? Buffer.concat([bytes.subarray(0, -1), Buffer.from([9])]) : bytes,
      (bytes: Buffer, from: string, nth: number) => {
        if (from === 'accept' && nth === 1) bytes[60] = (bytes[60] ?? 0) ^ 1;
        return bytes;
      },
      (bytes: Buffer, from: string, nth: number) => {
        if (from === 'dial' && nth === 2) bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1;
        return bytes;
      },
    ]) {
      const [alice, bob] = [person(), person()];
      const { ends } = wire(edit);
      const { dialled, accepted, a, b } = connect(ends, alice, bob, bob.address);
      // The dialler has spoken last: it learns from the closed stream that its third message was not taken.
      await Promise.race([
        codeOf(dialled).then((result) => (result === 'done' ? accepted : result)),
        codeOf(accepted),
      ]).catch(() => {});
      expect(await codeOf(accepted)).toBe('handshake.failed');
      expect([...a.frames, ...b.frames]).toEqual([]);
    }
  });

  test('a changed record closes the link and tells no frame of it', async () => {
    const [alice, bob] = [person(), person()];
    const { ends } = wire((bytes, from, nth) => {
      if (from === 'dial' && nth === 3) bytes[30] = (bytes[30] ?? 0) ^ 1;
      return bytes;
    });
    const { dialled, accepted, b } = connect(ends, alice, bob, bob.address);
    const [link] = await Promise.all([dialled, accepted]);
    link.send(Buffer.from('hello'));
    await b.until(() => b.reasons.length > 0);
    expect([b.frames, b.reasons]).toEqual([[], ['frame.invalid']]);
  });

  test('LINK-8: a peer that is not admitted is closed without a record', async () => {
    const [alice, bob] = [person(), person()];
    const { ends, writes } = wire();
    const refused = connect(ends, alice, { ...bob, admit: () => 'close' }, bob.address);
    expect(await codeOf(refused.accepted)).toBe('contact.keyRefused');
    expect(writes.accept).toHaveLength(1);
  });

  test('a stream that says nothing ends by the clock', async () => {
    const [alice, bob] = [person(), person()];
    const { ends } = wire(() => Buffer.alloc(0));
    const { accepted } = connect(ends, alice, bob, bob.address);
    timers.find((timer) => timer.at === 5000)?.fire();
    for (const timer of [...timers]) timer.fire();
    expect(await codeOf(accepted)).toBe('handshake.timeout');
  });

  test('FRAME-6: a link whose other side reads nothing ends before much waits', async () => {
    const [alice, bob] = [person(), person()];
    const { ends } = wire();
    const { dialled, a } = connect(ends, alice, bob, bob.address);
    const link = await dialled;
    ends.dial._write = () => {};
    for (let bytes = 0; bytes < 2 * LINK_UNREAD_BYTES_MAX; bytes += FRAME_BYTES_MAX)
      link.send(new Uint8Array(FRAME_BYTES_MAX));
    expect(a.reasons).toEqual(['frame.tooMany']);
    expect(ends.dial.writableLength).toBeLessThan(1.1 * LINK_UNREAD_BYTES_MAX);
  });

  test('a closed link whose other side takes nothing is gone when its time is over', async () => {
    const [alice, bob] = [person(), person()];
    const { ends } = wire();
    const link = await connect(ends, alice, bob, bob.address).dialled;
    ends.dial._write = () => {};
    timers.splice(0);
    link.send(Buffer.from('never read'));
    link.close('done');
    await new Promise((done) => setImmediate(done));
    expect(ends.dial.destroyed).toBe(false);
    for (const timer of [...timers]) timer.fire();
    expect(ends.dial.destroyed).toBe(true);
  });
});

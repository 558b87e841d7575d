// Targets for calls: sealed frames and announcements of streams, and whatever comes over a call link at the server.
import {
  announceStream,
  openAnnouncement,
  openFrame,
  sealFrame,
  stepStream,
  streamOf,
} from '../../src/crypto/call-keys.ts';
import { isEqual } from '../../src/protocol/bytes.ts';
import { encodeReport, FRAME_TYPE, readFrameHead } from '../../src/protocol/call-frame.ts';
import type { ChannelId } from '../../src/protocol/ids.ts';
import { CALL_FRAME_BYTES_MAX, CALL_WINDOW_MS } from '../../src/protocol/limits.ts';
import { CallLinks } from '../../src/server/call-links.ts';
import { Calls, type Person } from '../../src/server/calls.ts';
import type { Peer } from '../../src/server/context.ts';
import { Counts } from '../../src/server/counts.ts';
import { ManualClock } from '../../src/testing/clock.ts';
import { seededRandom } from '../../src/testing/random.ts';
import { SERVER_ID, testMember } from '../../src/testing/rooms.ts';
import { deviceId, memberId } from '../server/server.ts';
import { type Dice, mutateBytes } from './dice.ts';
import { holds } from './peers.ts';
import type { Target } from './target.ts';

const ALICE = testMember(1);
const CHANNEL = 'cc'.repeat(16) as ChannelId;
const STREAM = streamOf(new Uint8Array(40).fill(9));
const IN_CALL = {
  serverId: SERVER_ID,
  channel: CHANNEL,
  call: '0c'.repeat(16),
  sender: ALICE.id,
  device: ALICE.device,
};
const sealed: Target = {
  name: 'frames and streams of a call',
  parsers: [
    'src/crypto/call-keys.ts openFrame',
    'src/protocol/call-frame.ts readFrameHead',
    'src/crypto/call-keys.ts openAnnouncement',
  ],
  codes: ['frame.invalid', 'frame.tooLarge', 'frame.undecryptable', 'event.invalid', 'event.forged'],
  play: (dice) => {
    if (dice.chance(0.3)) {
      const said = announceStream(IN_CALL, STREAM, dice.int(256), ALICE.deviceSeed);
      const given = dice.chance(0.8) ? mutateBytes(dice, said) : said;
      const { stream, profile } = openAnnouncement(IN_CALL, given, ALICE.certified.signingKey);
      return holds(isEqual(announceStream(IN_CALL, stream, profile, ALICE.deviceSeed), given), 'it has one form only');
    }
    const [counter, last] = [dice.int(100), dice.int(100) - 1];
    const plaintext = dice.bytes(dice.int(dice.chance(0.1) ? 500 : 100));
    const frame = sealFrame(IN_CALL, STREAM, { type: dice.pick(Object.values(FRAME_TYPE)), counter }, plaintext);
    const given = dice.chance(0.7) ? mutateBytes(dice, frame) : frame;
    holds(isEqual(openFrame(IN_CALL, STREAM, last, given), plaintext), 'a frame opens as it was, or not at all');
    holds(readFrameHead(given).counter === counter && counter > last, 'in its place only');
  },
};

/** Somebody on a call link: what they are sent is kept, without the two or four bytes of the WebSocket's header. */
class Ear {
  readonly got: Buffer[] = [];
  send(frame: Buffer): boolean {
    this.got.push(frame.subarray((frame[1] ?? 0) < 126 ? 2 : 4));
    return true;
  }
  close(): void {}
  prove(): void {}
}

const anyMessage = (dice: Dice, sent: number): Uint8Array => {
  const stream = dice.chance(0.7) ? STREAM : stepStream(STREAM, IN_CALL.call);
  const type = dice.chance(0.9) ? FRAME_TYPE.voice : dice.pick(Object.values(FRAME_TYPE));
  const size = dice.chance(0.05) ? CALL_FRAME_BYTES_MAX : 65;
  const message = dice.chance(0.7)
    ? sealFrame(IN_CALL, stream, { type, counter: dice.int(100) }, dice.bytes(size))
    : encodeReport({ received: dice.int(sent + 2), quietMs: dice.int(100_000) });
  return dice.chance(0.1) ? mutateBytes(dice, message) : message;
};

const link: Target = {
  name: 'messages of a call link',
  parsers: ['src/protocol/call-frame.ts readFrameHead', 'src/protocol/call-frame.ts readReport'],
  codes: ['frame.invalid', 'frame.tooLarge'],
  play: (dice) => {
    const clock = new ManualClock();
    const ports = { clock, random: seededRandom(1), changed: () => {} };
    const calls = new Calls(ports);
    const links = new CallLinks({ calls, clock, counts: new Counts(), busy: () => {} });
    const people = [1, 2, 3].map((n): [Person, Ear] => {
      const switches = { muted: n === 2 && dice.chance(0.5), deafened: false, silencedUntil: 0 };
      const who = { member: memberId(n), device: deviceId(n), ...switches, windowMs: CALL_WINDOW_MS.clear };
      const person = calls.join({ kind: 'channel', channel: CHANNEL }, who);
      const ear = new Ear();
      links.message(ear as unknown as Peer, calls.issue(person));
      return [person, ear];
    });
    const [[speaker, own], ...others] = people as [[Person, Ear], [Person, Ear], [Person, Ear]];
    calls.addStream(speaker, Buffer.from(STREAM.id));
    const said: Uint8Array[] = [];
    for (let i = dice.int(12); i > 0; i--) {
      clock.moveTo(clock.monotonic() + dice.int(300));
      const [person, ear] = dice.chance(0.7) ? (people[0] ?? [speaker, own]) : dice.pick(people);
      const message = anyMessage(dice, ear.got.length);
      if (person === speaker) said.push(message);
      links.message(ear as unknown as Peer, message);
    }
    holds(own.got.length === 0, 'nobody hears himself, and of the others nobody has a stream');
    for (const [, ear] of others)
      for (const frame of ear.got) {
        holds(isEqual(readFrameHead(frame).stream, STREAM.id), 'what is heard is of a stream that was let through');
        holds(
          said.some((one) => isEqual(one, frame)),
          'and is what was said',
        );
      }
  },
};

/** Frames that members make, and what a server is sent on a call link. */
export const CALL_TARGETS: readonly Target[] = [sealed, link];

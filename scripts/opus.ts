// Makes test/rooms/opus.bin, the speech of the tests of calls, with espeak-ng and opusenc (opus-tools); they are needed only here.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';

const SECONDS = 1;
const PACKETS = SECONDS * 50;

const wave = execFileSync('espeak-ng', ['--stdout', 'This is a word to those who are in the call with us.']);
const flags = [
  '--quiet',
  '--hard-cbr',
  '--bitrate',
  '24',
  '--framesize',
  '20',
  '--downmix-mono',
  '--speech',
  '--padding',
  '0',
];
const ogg = execFileSync('opusenc', [...flags, '-', '-'], { input: wave });

/** The packets of an Ogg stream (RFC 3533): segments of 255 bytes go on in the next one. */
const packetsOf = (bytes: Buffer): Buffer[] => {
  const packets: Buffer[] = [];
  let parts: Buffer[] = [];
  for (let page = 0; page < bytes.length; ) {
    const segments = bytes[page + 26] ?? 0;
    let at = page + 27 + segments;
    for (let i = 0; i < segments; i++) {
      const length = bytes[page + 27 + i] ?? 0;
      parts.push(bytes.subarray(at, at + length));
      at += length;
      if (length === 255) continue;
      packets.push(Buffer.concat(parts));
      parts = [];
    }
    page = at;
  }
  return packets;
};

// The first two are headers (RFC 7845).
const packets = packetsOf(ogg).slice(2, 2 + PACKETS);
const sizes = new Set(packets.map(({ length }) => length));
if (packets.length < PACKETS || sizes.size !== 1) throw new Error(`${packets.length} packets of ${[...sizes]} bytes`);
writeFileSync('test/rooms/opus.bin', Buffer.concat(packets));

// Speech as a call carries it: packets of Opus (48 kHz mono, 20 ms, 24 kbit/s CBR), made once by scripts/opus.ts.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const PACKET_BYTES = 60;

/** One second of speech: 50 packets of 60 bytes. */
export const opusPackets = (): Uint8Array[] => {
  const bytes = new Uint8Array(readFileSync(join(import.meta.dirname, 'opus.bin')));
  return Array.from({ length: bytes.length / PACKET_BYTES }, (_, i) =>
    bytes.slice(i * PACKET_BYTES, (i + 1) * PACKET_BYTES),
  );
};

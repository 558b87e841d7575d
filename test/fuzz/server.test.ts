import { TARGETS } from './all.ts';
import { STORE_TARGETS } from './server.ts';
import { fuzz } from './target.ts';
import { WIRE_TARGETS } from './wire.ts';

fuzz([...STORE_TARGETS, ...WIRE_TARGETS], TARGETS.length);

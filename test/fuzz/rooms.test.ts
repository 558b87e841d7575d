import { TARGETS } from './all.ts';
import { CALL_TARGETS } from './calls.ts';
import { ROOM_TARGETS } from './rooms.ts';
import { fuzz } from './target.ts';

fuzz([...ROOM_TARGETS, ...CALL_TARGETS], TARGETS.length);

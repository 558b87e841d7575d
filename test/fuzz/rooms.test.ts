import { TARGETS } from './all.ts';
import { ROOM_TARGETS } from './rooms.ts';
import { fuzz } from './target.ts';

fuzz(ROOM_TARGETS, TARGETS.length);

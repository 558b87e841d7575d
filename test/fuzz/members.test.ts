import { TARGETS } from './all.ts';
import { MEMBER_TARGETS } from './members.ts';
import { fuzz } from './target.ts';

fuzz(MEMBER_TARGETS, TARGETS.length);

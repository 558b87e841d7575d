import { TARGETS } from './all.ts';
import { STORE_TARGETS } from './server.ts';
import { fuzz } from './target.ts';

fuzz(STORE_TARGETS, TARGETS.length);

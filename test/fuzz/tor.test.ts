import { TARGETS } from './all.ts';
import { fuzz } from './target.ts';
import { TOR_TARGETS } from './tor.ts';

fuzz(TOR_TARGETS, TARGETS.length);

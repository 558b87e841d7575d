import { TARGETS } from './all.ts';
import { PEER_TARGETS } from './peers.ts';
import { fuzz } from './target.ts';

fuzz(PEER_TARGETS, TARGETS.length);

// Every fuzz target.
import { PEER_TARGETS } from './peers.ts';
import type { Target } from './target.ts';
import { TOR_TARGETS } from './tor.ts';

export const TARGETS: readonly Target[] = [...PEER_TARGETS, ...TOR_TARGETS];

import { TARGETS } from './all.ts';
import { SERVER_TARGETS } from './servers.ts';
import { fuzz } from './target.ts';

fuzz(SERVER_TARGETS, TARGETS.length);

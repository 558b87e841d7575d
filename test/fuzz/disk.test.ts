import { TARGETS } from './all.ts';
import { DISK_TARGETS } from './disk.ts';
import { fuzz } from './target.ts';

fuzz(DISK_TARGETS, TARGETS.length);

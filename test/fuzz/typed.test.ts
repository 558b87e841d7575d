import { TARGETS } from './all.ts';
import { fuzz } from './target.ts';
import { TYPED_TARGETS } from './typed.ts';

fuzz(TYPED_TARGETS, TARGETS.length);

import { vi } from 'vitest';
import { remembered } from '../sim/stretching.ts';
import { TARGETS } from './all.ts';
import { METHOD_TARGETS } from './methods.ts';
import { fuzz } from './target.ts';

// Time stands still while a key is stretched.
vi.mock('../../src/crypto/vault.ts', async (real) => {
  const vault = await real<typeof import('../../src/crypto/vault.ts')>();
  return { ...vault, stretch: remembered(vault.stretch) };
});

fuzz(METHOD_TARGETS, TARGETS.length);

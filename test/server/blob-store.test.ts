import { join } from 'node:path';
import { directoryBlobStore } from '../../src/server/blob-store.ts';
import { blobStoreContract } from './blob-store-contract.ts';
import { tempDir } from './server.ts';

blobStoreContract('A folder', () => {
  const { dir, remove } = tempDir();
  return { again: () => directoryBlobStore(join(dir, 'server', 'blobs')), remove };
});

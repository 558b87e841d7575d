// What a server itself notes in the log of a channel, for everybody who reads it.
import { jsonBytes } from './bytes.ts';

/** It was put back to an earlier state: what was said between that and this place is in its log no more. */
export const RESTORED_NOTE = jsonBytes({ what: 'server.restored' });

// The versions this program speaks; package.json's is the same, which a test compares.

export const VERSION = '0.1.0';

/** What `sotto --version --json` tells: the program, the RPC, the wire between accounts, and the database. */
export const WIRE_VERSIONS = { version: VERSION, rpc: 1, wire: 1, schema: 4 } as const;

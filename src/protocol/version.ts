// The versions this program speaks; package.json's is the same, which a test compares.

export const VERSION = '0.1.0';

/** What `sotto --version --json` tells: the program, the RPC, the wire between accounts, and the database. */
export const WIRE_VERSIONS = { version: VERSION, rpc: 1, wire: 1, schema: 7 } as const;

/** The first bytes of a backup of an account. */
export const BACKUP_MAGIC = 'sotto backup';

/** What a daemon says on stderr when its account was written by an older version: it answers once that is done. */
export const UPGRADING = 'The account is brought up to this version of sotto: with a long history this takes minutes';

// A further schema, as a later version of the program may bring it: it changes tables and rows.
import { SCHEMAS } from '../../src/store/migrations.ts';

export const WITH_A_LATER_SCHEMA: readonly string[] = [
  ...SCHEMAS,
  `ALTER TABLE contacts ADD COLUMN colour TEXT NOT NULL DEFAULT '';
   UPDATE messages SET body = body || ' again';`,
];

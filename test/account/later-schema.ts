// A further schema, as a later version of the program may bring it: it changes tables and rows.
import { SCHEMA_1 } from '../../src/store/schema-1.ts';
import { SCHEMA_2 } from '../../src/store/schema-2.ts';

export const WITH_A_LATER_SCHEMA: readonly string[] = [
  SCHEMA_1,
  SCHEMA_2,
  `ALTER TABLE contacts ADD COLUMN colour TEXT NOT NULL DEFAULT '';
   UPDATE messages SET body = body || ' again';`,
];

// A second schema, as a later version of the program may bring it: it changes tables and rows.
import { SCHEMA_1 } from '../../src/store/schema-1.ts';

export const TWO_SCHEMAS: readonly string[] = [
  SCHEMA_1,
  `ALTER TABLE contacts ADD COLUMN colour TEXT NOT NULL DEFAULT '';
   UPDATE messages SET body = body || ' again';`,
];

// A further schema, as a later version of the program may bring it: it changes tables and rows.
import { SCHEMA_1 } from '../../src/store/schema-1.ts';
import { SCHEMA_2 } from '../../src/store/schema-2.ts';
import { SCHEMA_3 } from '../../src/store/schema-3.ts';
import { SCHEMA_4 } from '../../src/store/schema-4.ts';

export const WITH_A_LATER_SCHEMA: readonly string[] = [
  SCHEMA_1,
  SCHEMA_2,
  SCHEMA_3,
  SCHEMA_4,
  `ALTER TABLE contacts ADD COLUMN colour TEXT NOT NULL DEFAULT '';
   UPDATE messages SET body = body || ' again';`,
];

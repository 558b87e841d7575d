// Entry of the process that checks a database: an order on stdin, what is wrong on stdout.
import { text } from 'node:stream/consumers';
import { fromBase64 } from '../protocol/bytes.ts';
import { errorObject } from '../protocol/errors.ts';
import { openDatabase } from '../sqlite/open.ts';
import { checkDatabase } from '../store/check.ts';
import type { CheckOrder } from './checker.ts';

const wrongIn = ({ path, key }: CheckOrder): string[] => {
  try {
    using db = openDatabase(path, fromBase64(key));
    return checkDatabase(db);
  } catch (error) {
    return [errorObject(error).message];
  }
};

text(process.stdin).then((order) => process.stdout.write(JSON.stringify(wrongIn(JSON.parse(order)))));

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { SERVER_CODES } from '../../src/protocol/errors.ts';

// What its operator is told, and nobody over the wire.
const OPERATOR =
  /^(admin|admin-client|admin-command|audit|backup|check|key-file|leaving-nothing|listener|main|migrations|onion|search-index|serve-config|serve-flags|server|server-dir|server-store|sources|system-error)\.ts$/;

test('every code that a member may get from a server is one that its account takes from it', () => {
  const unknown: string[] = [];
  let codes = 0;
  for (const name of readdirSync('src/server').filter((file) => !OPERATOR.test(file)))
    for (const [, code = ''] of readFileSync(join('src/server', name), 'utf8').matchAll(
      /(?:SottoError|ProtocolError)\(\s*'([a-z]+\.[a-zA-Z]+)'/g,
    )) {
      codes++;
      if (!SERVER_CODES.some((one) => one === code)) unknown.push(`${name}: ${code}`);
    }
  expect(unknown).toEqual([]);
  expect(codes).toBeGreaterThan(60);
});

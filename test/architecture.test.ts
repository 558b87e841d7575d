// Enforces the layer map of ARCHITECTURE.md, and what keeps the code readable.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';

const ROOT = 'src';
const ALL = [
  'protocol',
  'sqlite',
  'ports',
  'machine',
  'crypto',
  'store',
  'core',
  'net',
  'client',
  'daemon',
  'server',
  'cli',
  'lab',
  'testing',
];

/** The table of ARCHITECTURE.md: folder → what it may import. */
const layers = (): Map<string, ReadonlySet<string>> => {
  const rows = [...readFileSync('ARCHITECTURE.md', 'utf8').matchAll(/^\| (\w+) \| \d \| [^|]+ \| ([^|]+) \|$/gm)];
  const below = ['protocol', 'sqlite', 'ports', 'machine', 'crypto', 'store', 'core', 'net', 'client'];
  return new Map(
    rows.map(([, name = '', list = '']) => {
      const text = list.trim();
      const allowed =
        text === 'nothing of ours' ? [] : text === 'all below' ? below : text === 'all' ? ALL : text.split(', ');
      return [name, new Set([...allowed, name])];
    }),
  );
};

const files = (readdirSync(ROOT, { recursive: true }) as string[])
  .filter((name) => name.endsWith('.ts'))
  .map((name) => join(ROOT, name));
const sources = files.filter((name) => !name.endsWith('.test.ts'));
const parse = (name: string) => ts.createSourceFile(name, readFileSync(name, 'utf8'), ts.ScriptTarget.Latest, true);
const parsed = new Map(sources.map((name) => [name, parse(name)]));
const folderOf = (name: string): string => {
  const [, first = '', second] = name.split('/');
  return second === undefined ? first.replace('.ts', '') : first;
};

const visit = (node: ts.Node, see: (node: ts.Node) => void): void => {
  see(node);
  node.forEachChild((child) => visit(child, see));
};

/** Static, type-only and lazy imports of a file. */
const importsOf = (source: ts.SourceFile): string[] => {
  const found: string[] = [];
  visit(source, (node) => {
    if (
      (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) &&
      node.moduleSpecifier !== undefined &&
      ts.isStringLiteral(node.moduleSpecifier)
    )
      found.push(node.moduleSpecifier.text);
    if (
      ts.isCallExpression(node) &&
      node.expression.kind === ts.SyntaxKind.ImportKeyword &&
      node.arguments[0] !== undefined &&
      ts.isStringLiteral(node.arguments[0])
    )
      found.push(node.arguments[0].text);
    if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument) && ts.isStringLiteral(node.argument.literal))
      found.push(node.argument.literal.text);
  });
  return found;
};

describe('the layers', () => {
  const map = layers();

  test('the map names every folder of src', () => {
    const folders = new Set(sources.map(folderOf).filter((name) => name !== 'main'));
    expect([...folders].sort()).toEqual([...map.keys()].sort());
  });

  test('no file imports what its layer may not', () => {
    const wrong: string[] = [];
    for (const [name, source] of parsed) {
      const folder = folderOf(name);
      if (folder === 'main') continue;
      for (const target of importsOf(source).filter((one) => one.startsWith('.'))) {
        const to = folderOf(normalize(join(dirname(name), target)));
        if (map.get(folder)?.has(to) !== true) wrong.push(`${name} imports ${target}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test('front ends take types of the wire only, never a schema', () => {
    const wrong: string[] = [];
    for (const [name, source] of parsed) {
      if (!['cli', 'client'].includes(folderOf(name))) continue;
      visit(source, (node) => {
        if (
          !ts.isImportDeclaration(node) ||
          !ts.isStringLiteral(node.moduleSpecifier) ||
          !/protocol\/(rpc(-\w+)?|server(-\w+)?|settings|peer)\.ts$|^zod$/.test(node.moduleSpecifier.text)
        )
          return;
        if (node.importClause?.isTypeOnly !== true) wrong.push(`${name}: ${node.moduleSpecifier.text}`);
      });
    }
    expect(wrong).toEqual([]);
  });
});

// Places that may touch the process, the clock and the console: the composition roots and what runs other programs.
const ROOTS = [
  /^src\/main\.ts$/,
  /^src\/machine\.ts$/,
  /^src\/server\/(main|foreground)\.ts$/,
  /^src\/(daemon|lab|cli|client|testing)\//,
];
const FORBIDDEN: readonly [string, RegExp][] = [
  ['clock', /^(Date\.now|performance\.now|new Date\(\))$/],
  ['timer', /^(setTimeout|setInterval|setImmediate)$/],
  ['randomness', /^Math\.random$/],
  ['process', /^process\.(exit|env|stdout|stderr|stdin)$/],
  ['console', /^console\.\w+$/],
];

describe('the code', () => {
  test('only composition roots touch clock, timers, randomness, process and console', () => {
    const wrong: string[] = [];
    for (const [name, source] of parsed) {
      if (ROOTS.some((root) => root.test(name))) continue;
      visit(source, (node) => {
        const text =
          ts.isPropertyAccessExpression(node) || ts.isIdentifier(node)
            ? node.getText()
            : ts.isNewExpression(node)
              ? node.getText()
              : '';
        for (const [what, pattern] of FORBIDDEN)
          if (pattern.test(text) && !ts.isPropertyAssignment(node.parent)) wrong.push(`${name}: ${what}: ${text}`);
      });
    }
    expect(wrong).toEqual([]);
  });

  test('files have at most 500 lines and functions 70', () => {
    const long = sources
      .map((name) => [name, readFileSync(name, 'utf8').split('\n').length] as const)
      .filter(([, lines]) => lines > 500);
    expect(long).toEqual([]);
    const functions: string[] = [];
    for (const [name, source] of parsed)
      visit(source, (node) => {
        if (!ts.isFunctionLike(node) || !('body' in node) || node.body === undefined) return;
        // A table that is made when it is asked for.
        if (ts.isArrowFunction(node) && ts.isArrayLiteralExpression(node.body)) return;
        const from = source.getLineAndCharacterOfPosition(node.getStart()).line;
        const lines = source.getLineAndCharacterOfPosition(node.getEnd()).line - from + 1;
        if (lines > 70) functions.push(`${name}:${from + 1} ${lines} lines`);
      });
    expect(functions).toEqual([]);
  });

  test('no barrels, no utils, and every file opens with a sentence that says what it owns', () => {
    expect(files.filter((name) => /\/(index|utils?|helpers?|common|types)\.ts$/.test(name))).toEqual([]);
    expect(sources.filter((name) => !/^\/\/ [A-Z`].*/.test(readFileSync(name, 'utf8')))).toEqual([]);
  });

  test('exported functions and classes have doc comments', () => {
    const bare: string[] = [];
    for (const [name, source] of parsed) {
      if (folderOf(name) === 'testing') continue;
      source.forEachChild((node) => {
        const exported =
          ts.canHaveModifiers(node) &&
          ts.getModifiers(node)?.some((one) => one.kind === ts.SyntaxKind.ExportKeyword) === true;
        if (!exported) return;
        const isFunction =
          ts.isFunctionDeclaration(node) ||
          ts.isClassDeclaration(node) ||
          (ts.isVariableStatement(node) &&
            node.declarationList.declarations.some(
              (one) => one.initializer !== undefined && ts.isArrowFunction(one.initializer),
            ));
        const isDocumented = ts.getJSDocCommentsAndTags(node).length > 0;
        const isVerb =
          ts.isVariableStatement(node) &&
          /^(get|list|put|remove|count|has)[A-Z]/.test(node.declarationList.declarations[0]?.name.getText() ?? '') &&
          name.includes('/store/');
        if (isFunction && !isDocumented && !isVerb) bare.push(`${name}: ${node.getText().slice(0, 60).split('\n')[0]}`);
      });
    }
    expect(bare).toEqual([]);
  });
});

test('every clause of PROTOCOL is cited by a test, and a test cites none that is not there', () => {
  const tests = [...files, ...(readdirSync('test', { recursive: true }) as string[]).map((name) => join('test', name))];
  const clauses = [...readFileSync('PROTOCOL.md', 'utf8').matchAll(/^- \*\*([A-Z]+-\d+)\*\*/gm)].map(
    ([, id = '']) => id,
  );
  const kinds = [...new Set(clauses.map((id) => id.split('-')[0]))].join('|');
  const cited = tests
    .filter((name) => name.endsWith('.test.ts'))
    .flatMap((name) => readFileSync(name, 'utf8').match(new RegExp(`\\b(?:${kinds})-\\d+\\b`, 'g')) ?? []);
  expect([...new Set(cited)].sort()).toEqual(clauses.sort());
});

test('no document holds the two sides of a merge', () => {
  const inDocs = (readdirSync('docs', { recursive: true }) as string[]).map((name) => join('docs', name));
  const documents = [...readdirSync('.'), ...inDocs].filter((name) => /\.(md|sql)$/.test(name));
  expect(documents.length).toBeGreaterThan(10);
  expect(documents.filter((name) => /^(<{7}|>{7}) /m.test(readFileSync(name, 'utf8')))).toEqual([]);
});

// Gives every await of some files a name, by which a test can stop a program there.
import ts from 'typescript';
import type { Plugin } from 'vitest/config';

/** Functions by their names; one in an object has the name of its key. */
type Functions = 'all' | readonly string[];

/**
 * A plugin for functions of `files`, paths from the root: `await x` calls `globalThis.atAwait(name, () => x)` on its way.
 */
export const nameAwaits = (files: Readonly<Record<string, Functions>>): Plugin => ({
  name: 'name-awaits',
  enforce: 'pre',
  transform: (code, id) => {
    const [file, functions] = Object.entries(files).find(([one]) => id.endsWith(`/${one}`)) ?? [];
    return file === undefined || functions === undefined ? undefined : rewrite(file, code, functions);
  },
});

const rewrite = (file: string, code: string, functions: Functions): string => {
  const names: string[] = [];
  const edits: { readonly at: number; readonly text: string }[] = [];
  const visit = (node: ts.Node, inside: string): void => {
    const within = functionName(node) ?? inside;
    // From the inside out: an await can be part of another one's step.
    ts.forEachChild(node, (child) => visit(child, within));
    if (!ts.isAwaitExpression(node) || (functions !== 'all' && !functions.includes(within))) return;
    const step = node.expression;
    const name = `${file} ${within}: await ${step.getText().split('\n')[0]}`;
    const count = names.filter((one) => one.startsWith(name)).length;
    names.push(count === 0 ? name : `${name} (${count + 1})`);
    edits.push({ at: step.getStart(), text: `globalThis.atAwait(${JSON.stringify(names.at(-1))}, async () => (` });
    edits.push({ at: step.getEnd(), text: '))' });
  };
  visit(ts.createSourceFile(file, code, ts.ScriptTarget.Latest, true), '');
  let text = code;
  for (const edit of edits.toSorted((a, b) => b.at - a.at))
    text = text.slice(0, edit.at) + edit.text + text.slice(edit.at);
  return `${text}\n(globalThis.awaitNames ??= []).push(...${JSON.stringify(names)});\n`;
};

const functionName = (node: ts.Node): string | undefined => {
  if (ts.isMethodDeclaration(node)) return node.name.getText();
  if (!ts.isVariableDeclaration(node) && !ts.isPropertyAssignment(node)) return undefined;
  const { name, initializer } = node;
  if (initializer === undefined || !ts.isArrowFunction(initializer)) return undefined;
  return ts.isStringLiteral(name) ? name.text : name.getText();
};

// Attacks on the screen: what others call themselves, write and send, as the command line prints it.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Output } from '../../src/cli/output.ts';
import { contactText, fileText, messageText, whyText } from '../../src/cli/show.ts';
import { eventText } from '../../src/cli/show-state.ts';
import { SottoError } from '../../src/protocol/errors.ts';
import { type Person, World } from '../../src/testing/people.ts';
import { CONTROL, EVIL, Hostile } from './hostile.ts';

let world: World;
let bob: Person;
let mallory: Hostile;

beforeEach(async () => {
  world = new World();
  bob = await world.person('bob');
  mallory = await Hostile.join(world);
});

afterEach(() => world[Symbol.asyncDispose]());

const printed = <T extends object>(value: T, text: (value: T) => string) => {
  const print = (json: boolean): string => {
    let said = '';
    const out = new Output({
      json,
      quiet: false,
      verbose: false,
      colour: false,
      errIsTerminal: () => false,
      outIsTerminal: false,
      columns: 80,
      hint: (sentence) => sentence,
      write: (_to, words) => {
        said += words;
      },
      writeBytes: () => {},
      taken: async () => {},
    });
    if (value instanceof Error) out.error(value);
    else out.item(value, text);
    return said;
  };
  return { lines: print(false).trimEnd().split('\n'), json: print(true) };
};

/** Printed as text it moves nothing and fakes no line; printed as JSON it is one line that says the same. */
const harmless = <T extends object>(value: T, text: (value: T) => string): void => {
  const { lines, json } = printed(value, text);
  expect(lines.join('\n')).not.toMatch(CONTROL);
  for (const line of lines.slice(1)) expect(line).toMatch(/^(\s{4}|link |retry |outbox |advice )/);
  expect(json.trimEnd()).not.toMatch(CONTROL);
  expect(json.trimEnd()).not.toContain('\n');
  if (!(value instanceof Error)) expect(JSON.parse(json)).toEqual(JSON.parse(JSON.stringify(value)));
};

describe('PRODUCT 11: nothing from outside moves the cursor, hides, reorders or fakes a line', () => {
  test('a nickname and a note of a request', async () => {
    await mallory.dial(bob);
    await mallory.say(mallory.request(bob, { nickname: EVIL.slice(0, 60), note: EVIL }));
    const [request] = await bob.call('contact.requests', {});
    if (request === undefined) throw new Error('no request came');
    harmless(request, contactText);
    expect(printed(request, contactText).lines).toHaveLength(1);
    harmless(await bob.call('contact.why', { contact: request.id }), whyText);
    for (const event of bob.account.events.since('0').events) harmless(event, eventText);
    harmless(new SottoError('name.taken', { message: `Another contact is called ${request.name} already` }), () => '');
  });

  test('a message, a reaction to one, and the name of a file', async () => {
    await mallory.befriend(bob);
    const key = Buffer.alloc(32).toString('base64');
    const [target = ''] = await mallory.tell({ kind: 'text', text: `hello\n${EVIL}`, sentAt: 1 });
    await mallory.tell(
      { kind: 'react', target, emoji: EVIL.slice(0, 32), on: true },
      { kind: 'react', target, emoji: '\n◆ alice', on: true },
      { kind: 'file.offer', name: `../../${EVIL}`, sizeBytes: 1, key, root: key, sentAt: 1 },
    );
    const messages = await bob.messages('mallory');
    expect(messages).toHaveLength(2);
    for (const message of messages) harmless(message, messageText);
    const [file] = await bob.call('file.list', {});
    if (file === undefined) throw new Error('no file came');
    harmless(file, fileText);
    expect(printed(file, fileText).lines.join()).not.toContain('../');
    await mallory.tell({ kind: 'file.offer', name: 'evil\u202egpj.exe', sizeBytes: 1, key, root: key, sentAt: 1 });
    const told = (await bob.messages('mallory')).at(-1);
    expect(told === undefined ? [] : printed(told, messageText).lines).toEqual([
      expect.stringContaining(': evilgpj¬.exe '),
    ]);
    for (const event of bob.account.events.since('0').events) harmless(event, eventText);
  });

  test('a name that is a command does not become one in advice', async () => {
    await mallory.dial(bob);
    await mallory.say(mallory.request(bob, { nickname: `x'; reboot #` }));
    const { advice } = await bob.call('contact.why', { contact: `x'; reboot #` });
    expect(advice).toContain(`sotto contact accept 'x'\\''; reboot #'`);
  });
});

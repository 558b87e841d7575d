// The second act of the demo: a server of one's own, with a channel that it cannot read.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { errorObject } from '../protocol/errors.ts';
import type { Actor } from './actor.ts';
import type { ServerProcess } from './server-process.ts';

/** Who plays. */
export type People = { readonly alice: Actor; readonly bob: Actor; readonly carol: Actor };

/** Who plays, and where. */
export type RoomStage = People & {
  /** One that runs and can be dialled. */
  readonly server: ServerProcess;
  readonly tell: (line: string) => void;
};

const WAIT_MS = 90_000;
const SECRET = 'The second key is under the stone.';
const CHANGED = 'The second key is gone.';

/** Alice owns the server; Bob is in her channel with her, Carol only on the server. */
export const playRoom = async (stage: RoomStage): Promise<void> => {
  await enter(stage);
  const sentId = await write(stage);
  await rewind(stage, sentId);
  await shutOut(stage);
};

const enter = async ({ alice, bob, carol, server, tell }: RoomStage): Promise<void> => {
  await joinServer(alice, 'alice', server.invite);
  tell(`Alice hosts a server with one command, at ${server.ready?.url}, and is its owner`);
  const { link = '' } = await alice.call('server.invite', { uses: 2 });
  await joinServer(bob, 'bob', link);
  await joinServer(carol, 'carol', link);
  tell('Bob and Carol join it by an invite for two');
};

// An onion service that can be dialled is not found at once where somebody has another consensus: that is tried again.
const joinServer = (actor: Actor, name: string, link: string): Promise<boolean> =>
  actor.until('the server', () =>
    actor.call('server.join', { link, name, label: 'home' }).then(
      () => true,
      (error: unknown) => {
        if (errorObject(error).retry !== 'later') throw error;
        return false;
      },
    ),
  );

/** Gives the id of what Alice has written. */
const write = async ({ alice, bob, tell }: RoomStage): Promise<string> => {
  await alice.call('channel.create', { name: '#ops', encryption: 'members' });
  await alice.call('channel.invite', { channel: '#ops', member: 'bob' });
  await bob.call('channel.join', { channel: '#ops' });
  const since = await bob.cursor();
  const [sent, heard] = await Promise.all([
    alice.call('message.send', { conversation: '#ops', text: SECRET, wait: 'sent', timeoutMs: WAIT_MS }),
    bob.hears(SECRET, ['--since', since, '--kinds', 'message.received']),
  ]);
  tell('In #ops, a channel for its members only, Alice writes; `sotto listen` of Bob prints:');
  tell(`  ${heard}`);
  return sent.message.id;
};

const rewind = async ({ alice, bob, tell }: RoomStage, id: string): Promise<void> => {
  const before = Date.now() + 1_100;
  await new Promise((done) => setTimeout(done, 2_200));
  await alice.call('message.edit', { id, text: CHANGED });
  await bob.until('the edit', async () =>
    (await bob.call('message.search', { query: 'gone' })).messages.some(({ mine }) => !mine),
  );
  const { messages } = await bob.call('message.list', { conversation: '#ops', at: before });
  if (messages.at(-1)?.body !== SECRET) throw new Error('the channel was not rewound');
  tell('She edits it; Bob finds the new text by search, and the old one by looking at the channel as it was');
};

const shutOut = async ({ carol, server, tell }: RoomStage): Promise<void> => {
  const shown = (await carol.call('channel.list', { all: true })).map(({ name, state }) => `${name} ${state}`);
  const refused = await carol.call('channel.join', { channel: '#ops' }).then(
    () => 0,
    (error: unknown) => errorObject(error).exit,
  );
  const found = await carol.call('message.search', { query: 'second key' });
  const conversations = await carol.call('conversation.list', {});
  if (shown.join() !== '#ops byInvitation' || refused !== 6) throw new Error(`Carol: ${shown.join()}, exit ${refused}`);
  if (found.messages.length > 0 || conversations.some(({ name }) => name.startsWith('#ops')))
    throw new Error('something of #ops is with Carol');
  tell('Carol sees of #ops its name, and that it is by invitation; she cannot join it (exit 6), and has nothing of it');
  if ([SECRET, CHANGED].some((text) => isBelow(server.data, text))) throw new Error('the server has the message');
  tell('No byte of what was said is in the files of the server');
};

/** Whether a text is in a file below a folder. */
const isBelow = (dir: string, text: string): boolean =>
  readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .map((name) => join(dir, name))
    .some((path) => statSync(path).isFile() && readFileSync(path).includes(text));

// The methods about files: each names a transfer, does one thing with it in the queue, and may wait for its end.
import { toBase64 } from '../protocol/bytes.ts';
import { retryOf, SottoError } from '../protocol/errors.ts';
import { getFile, listFiles } from '../store/files.ts';
import { fileOf } from './files.ts';
import { FINAL } from './files-fetch.ts';
import { standingOf } from './files-rows.ts';
import { sizeOfSource } from './files-spool.ts';
import { heldBack } from './held.ts';
import { isSilentMember, openConversation } from './member-methods.ts';
import type { Context, HandlersOf } from './methods.ts';
import { conversationOf, findConversation, findFile, serverOfRoom } from './names.ts';
import { fileObject } from './objects.ts';
import { reachedFor } from './room-control.ts';
import { otherKeyOf } from './room-faults.ts';
import { uselessWait, type Waited } from './why.ts';

const LAST_ROW = Number.MAX_SAFE_INTEGER;

/** Answers of `file.*`. */
export const FILE_HANDLERS: HandlersOf<'file'> = {
  'file.list': async (context, params) => {
    const { core } = context;
    if (params.conversation !== undefined && (await isSilentMember(context, params.conversation, params.timeoutMs)))
      return [];
    const conversation =
      params.conversation === undefined ? undefined : findConversation(core.db, params.conversation).id;
    const before = params.before === undefined ? LAST_ROW : findFile(core.db, params.before).id;
    return listFiles(core.db, conversation, before, params.limit).map((row) => fileObject(core, row));
  },
  'file.show': ({ core }, { id }) => fileObject(core, findFile(core.db, id)),
  'file.send': async (context, params) => {
    const { core, files } = context;
    if (!params.path.startsWith('/')) throw new SottoError('params.invalid', { message: 'The path must be absolute' });
    const size = await sizeOfSource(params.path);
    await openConversation(context, params.conversation, params.timeoutMs);
    const row = await core.queue.call(() =>
      files.begin(findConversation(core.db, params.conversation), params.name ?? params.path, { size }),
    );
    await files.sendPath(params.path, row);
    await files.offer(row);
    return waitForFile(context, row, params);
  },
  'file.open': async (context, { conversation, name, timeoutMs }, gone) => {
    const { core, files } = context;
    await openConversation(context, conversation, timeoutMs);
    return core.queue.call(() => {
      const row = files.begin(findConversation(core.db, conversation), name, { gone });
      return { id: fileObject(core, fileOf(core, row)).id };
    });
  },
  'file.write': ({ core, files }, { id, data }) =>
    core.queue.call(() => ({
      sizeBytes: files.write(findFile(core.db, id).id, Buffer.from(data, 'base64')),
    })),
  'file.offer': async (context, params) => {
    const { core, files } = context;
    const { id: row } = findFile(core.db, params.id);
    await files.offer(row);
    return waitForFile(context, row, params);
  },
  'file.save': async (context, params) => {
    const { core, files } = context;
    const row = await core.queue.call(() => {
      const file = findFile(core.db, params.id);
      files.fetch(file, params.path, { overwrite: params.overwrite === true });
      return file.id;
    });
    return waitForFile(context, row, params);
  },
  'file.fetch': async (context, params) => {
    const { core, files } = context;
    const row = await core.queue.call(() => {
      const file = findFile(core.db, params.id);
      files.fetch(file);
      return file.id;
    });
    return waitForFile(context, row, params);
  },
  'file.read': ({ core, files }, { id, index }) => {
    const { data, last } = files.read(findFile(core.db, id), index);
    return { data: toBase64(data), last };
  },
  'file.pause': ({ core, files }, { id }) =>
    core.queue.call(() => {
      const file = findFile(core.db, id);
      files.pause(file);
      return fileObject(core, fileOf(core, file.id));
    }),
  'file.cancel': ({ core, files }, { id }) =>
    core.queue.call(() => {
      const file = findFile(core.db, id);
      files.cancel(file);
      return fileObject(core, fileOf(core, file.id));
    }),
};

// Without a time of its own the wait ends after a minute in which nothing came.
const waitForFile = async (
  { core, waits }: Context,
  row: number,
  { wait, timeoutMs }: { readonly wait?: string | undefined; readonly timeoutMs?: number | undefined },
) => {
  // What time alone may mend is waited for, where the transfer goes on.
  const trouble = (): SottoError | undefined => {
    const known = core.fileTroubles.get(row);
    return known !== undefined && (retryOf(known.code) !== 'later' || FINAL.has(known.code)) ? known : undefined;
  };
  const isOver = (): boolean => {
    const file = getFile(core.db, row);
    if (file === undefined || trouble() !== undefined) return true;
    return (
      ['paused', 'cancelled', 'failed'].includes(standingOf(core, file).state) ||
      (file.state === 'done' && file.saveTo === '')
    );
  };
  const conversation = conversationOf(core.db, fileOf(core, row).conversationId);
  const server = serverOfRoom(core.db, conversation);
  // Who does not wait is told what is in the way now.
  const isDown = (): boolean => timeoutMs === 0 && server !== undefined && core.rooms.get(server)?.state !== 'online';
  // What is here already and is only being saved needs nobody.
  const needsThem = (): boolean => wait === 'done' && !isOver() && fileOf(core, row).state !== 'done';
  const useless = (): Waited['useless'] | 'server.unreachable' | ReturnType<typeof otherKeyOf> => {
    if (!needsThem()) return undefined;
    const otherKey = otherKeyOf(core, server);
    if (otherKey !== undefined) return otherKey;
    return isDown() ? 'server.unreachable' : uselessWait(core, conversation.contactId);
  };
  for (let patient = wait === 'done'; patient && !isOver() && useless() === undefined; ) {
    const { chunks } = fileOf(core, row);
    const moved = (): boolean => timeoutMs === undefined && fileOf(core, row).chunks !== chunks;
    const ended = waits.until(() => isOver() || moved() || useless() !== undefined, timeoutMs);
    patient = await reachedFor(core, server, ended);
  }
  const last = trouble();
  if (wait === 'done' && last !== undefined) throw last;
  const file = fileOf(core, row);
  const reason = useless();
  const held = file.mine === 1 && standingOf(core, file).state === 'offered' ? heldBack(core, conversation) : undefined;
  return {
    file: fileObject(core, file),
    reached: wait !== 'done' || (file.state === 'done' && file.saveTo === ''),
    ...(reason === undefined ? {} : { useless: reason }),
    ...(held === undefined ? {} : { held }),
  };
};

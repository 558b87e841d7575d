// Every fuzz target.
import { CALL_TARGETS } from './calls.ts';
import { DISK_TARGETS } from './disk.ts';
import { MEMBER_TARGETS } from './members.ts';
import { METHOD_TARGETS } from './methods.ts';
import { PEER_TARGETS } from './peers.ts';
import { ROOM_TARGETS } from './rooms.ts';
import { STORE_TARGETS } from './server.ts';
import { SERVER_TARGETS } from './servers.ts';
import type { Target } from './target.ts';
import { TOR_TARGETS } from './tor.ts';
import { TYPED_TARGETS } from './typed.ts';
import { WIRE_TARGETS } from './wire.ts';

export const TARGETS: readonly Target[] = [
  ...PEER_TARGETS,
  ...SERVER_TARGETS,
  ...ROOM_TARGETS,
  ...CALL_TARGETS,
  ...MEMBER_TARGETS,
  ...METHOD_TARGETS,
  ...TOR_TARGETS,
  ...TYPED_TARGETS,
  ...DISK_TARGETS,
  ...STORE_TARGETS,
  ...WIRE_TARGETS,
];

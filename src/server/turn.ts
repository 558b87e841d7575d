// Letting the rest of the process have its turn, as a port: the sockets of this tick are read before the promise resolves.

/** Resolves in a later turn of the event loop (`setImmediate`), never in the same one. */
export type Turn = () => Promise<void>;

// The turn of the rest of the process.

/** Resolves in a later turn of the event loop (`setImmediate`), never in the same one: the sockets of this one are read before. */
export type Turn = () => Promise<void>;

/**
 * Who is at the other end of a connection.
 * @module
 */

/** A client, as far as it is known: the system tells pid, uid and gid of a local socket (SO_PEERCRED), and no other. */
export interface Client {
  readonly pid?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** The path of its program. It tells which it is, not that nobody else steers it. */
  readonly program?: string;
  /** The socket that it came by. */
  readonly socket?: string;
}

/** A client in messages: `uid 33, /usr/sbin/nginx (pid 412)`. */
export function clientText({ pid, uid, program, socket }: Client): string {
  const parts = [
    ...(uid === undefined ? [] : [`uid ${uid}`]),
    ...(program === undefined ? [] : [program]),
    ...(socket === undefined ? [] : [`on ${socket}`]),
  ];
  return `${parts.join(", ") || "a client"}${pid === undefined ? "" : ` (pid ${pid})`}`;
}

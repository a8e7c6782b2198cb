/** Where a listener is: the path of a Unix socket, or a host and a port. */
export type Address = string | { readonly host: string; readonly port: number };

/** What the name of a Unix socket may take at most, in bytes, on every system. */
const MAX_SOCKET_PATH_BYTES = 103;

/** Refuses what is no address, at the call. */
export function checkAddress(call: string, address: unknown): Address {
  if (typeof address === "string") {
    if (address === "" || address.includes("\0"))
      throw new TypeError(`${call} takes the path of a Unix socket, not ${JSON.stringify(address)}`);
    const length = new TextEncoder().encode(address).length;
    if (length > MAX_SOCKET_PATH_BYTES)
      throw new RangeError(
        `${call} got a path of ${length} bytes, and the system takes ${MAX_SOCKET_PATH_BYTES} for a socket: choose a folder with a shorter name than "${address}"`,
      );
    return address;
  }
  const { host, port } = (address ?? {}) as { host?: unknown; port?: unknown };
  if (
    typeof host !== "string" ||
    host === "" ||
    !Number.isInteger(port) ||
    (port as number) < 0 ||
    (port as number) > 65535
  )
    throw new TypeError(`${call} takes the path of a Unix socket or { host, port }, not ${JSON.stringify(address)}`);
  return { host, port: port as number };
}

/** An address for people. */
export function formatAddress(address: Address): string {
  if (typeof address === "string") return address;
  return address.host.includes(":") ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

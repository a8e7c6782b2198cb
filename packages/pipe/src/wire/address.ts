/** The address of a listener: the path of a Unix socket, or a host and a port. */
export type Address = string | { readonly host: string; readonly port: number };

/** The longest path of a Unix socket that every operating system accepts. */
const MAX_SOCKET_PATH_BYTES = 103;

/**
 * Checks an address and returns it.
 *
 * @throws {TypeError} if it is not an address
 * @throws {RangeError} if the path is too long
 */
export function checkAddress(call: string, address: unknown): Address {
  if (typeof address === "string") {
    if (address === "" || address.includes("\0"))
      throw new TypeError(`${call} takes the path of a Unix socket, not ${JSON.stringify(address)}`);
    const length = new TextEncoder().encode(address).length;
    if (length > MAX_SOCKET_PATH_BYTES)
      throw new RangeError(
        `${call} got a path of ${length} bytes, and a socket path can have ${MAX_SOCKET_PATH_BYTES}: choose a shorter path than "${address}"`,
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

/** Returns an address as text. */
export function formatAddress(address: Address): string {
  if (typeof address === "string") return address;
  return address.host.includes(":") ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

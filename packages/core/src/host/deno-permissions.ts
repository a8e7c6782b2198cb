/**
 * Permissions of a Deno child: never more than those of its parent, and fewer on request.
 *
 * Deno reports whether a permission is granted as a whole, and whether a given path or host is
 * allowed, but it does not list partial grants. So a child inherits the whole grants. Of the
 * partial grants, it gets only the paths and sockets that it is known to need.
 */
import { CapabilityError } from "../errors.ts";
import type { DenoApi } from "./deno-api.ts";
import type { InterpreterOptions, Permissions } from "./host.ts";

type Query = DenoApi["permissions"];

/**
 * The kinds of permission, each with the field of a query that names one path, host or other item.
 */
const QUERY_FIELDS: Readonly<Record<string, string>> = {
  read: "path",
  write: "path",
  net: "host",
  env: "variable",
  sys: "kind",
  run: "command",
  ffi: "path",
  import: "host",
};

/**
 * Returns the permission flags for a child.
 *
 * @throws {CapabilityError} if `wanted` asks for more than this process has
 */
export function permissionFlags(
  deno: DenoApi,
  wanted: Permissions,
  requiredAccess: InterpreterOptions["requiredAccess"],
): string[] {
  if (!isPermissions(wanted))
    throw new TypeError(
      `permissions must be "inherit", "none" or an object such as { read: true }, not ${JSON.stringify(wanted)}`,
    );
  const query = deno.permissions;
  const fullyGranted = Object.keys(QUERY_FIELDS).filter((kind) => isFullyGranted(query, kind));
  if (wanted === "inherit" && fullyGranted.length === Object.keys(QUERY_FIELDS).length) return ["--allow-all"];

  const granted = new Map<string, true | Set<string>>();
  if (wanted === "inherit") for (const kind of fullyGranted) granted.set(kind, true);
  else if (wanted !== "none")
    for (const [kind, value] of Object.entries(wanted)) addRequested(query, granted, kind, value);

  // The child also reads the imports of a module. With explicit permissions, it may read only the
  // folder of the module.
  const accessRoot = wanted === "inherit" ? (path: string): string => widestReadable(query, path) : folderOf;
  for (const path of requiredAccess.read) addRequired(query, granted, "read", accessRoot(path));
  if (wanted === "inherit")
    for (const path of programPaths(deno)) addRequired(query, granted, "read", accessRoot(path));
  for (const path of requiredAccess.write) addRequired(query, granted, "write", path);
  for (const socket of requiredAccess.sockets) {
    for (const kind of ["read", "write"]) addRequired(query, granted, kind, socket);
    addRequired(query, granted, "net", `unix:${socket}`);
  }
  return [...granted].map(([kind, value]) =>
    value === true ? `--allow-${kind}` : `--allow-${kind}=${[...value].map(escapeCommas).join(",")}`,
  );
}

function isPermissions(value: unknown): value is Permissions {
  return (
    value === "inherit" || value === "none" || (typeof value === "object" && value !== null && !Array.isArray(value))
  );
}

/**
 * Returns the paths of the main module and the working directory. A child later loads targets from
 * there, even if this library is installed elsewhere.
 */
function programPaths({ mainModule, cwd }: DenoApi): string[] {
  const main = new URL(mainModule);
  const paths = main.protocol === "file:" ? [decodeURIComponent(main.pathname)] : [];
  try {
    paths.push(`${cwd()}/`);
  } catch {} // reading the working directory is not permitted
  return paths;
}

/**
 * Returns the widest folder around `path` that this process may read, or `path` if there is none.
 * The modules in that folder can then import each other.
 */
function widestReadable(query: Query, path: string): string {
  let widest = path;
  for (let folder = folderOf(path); folder !== ""; folder = folderOf(folder)) {
    if (!isGranted(query, "read", folder)) break;
    widest = folder;
  }
  return widest;
}

function addRequested(
  query: Query,
  granted: Map<string, true | Set<string>>,
  kind: string,
  value: boolean | readonly string[],
): void {
  if (!(kind in QUERY_FIELDS))
    throw new TypeError(`permissions names "${kind}": use ${Object.keys(QUERY_FIELDS).join(", ")}`);
  if (value === false) return;
  if (value === true) {
    if (!isFullyGranted(query, kind)) throw refusalError(kind, "all of it");
    granted.set(kind, true);
    return;
  }
  if (!Array.isArray(value))
    throw new TypeError(`permissions.${kind} must be true, false or an array, not ${JSON.stringify(value)}`);
  for (const item of value) {
    if (!isGranted(query, kind, item)) throw refusalError(kind, `"${item}"`);
    add(granted, kind, item);
  }
}

function addRequired(query: Query, granted: Map<string, true | Set<string>>, kind: string, item: string): void {
  if (granted.get(kind) !== true && isGranted(query, kind, item)) add(granted, kind, item);
}

function add(granted: Map<string, true | Set<string>>, kind: string, item: string): void {
  const items = granted.get(kind);
  if (items === undefined) granted.set(kind, new Set([item]));
  else if (items !== true) items.add(item);
}

function refusalError(kind: string, what: string): CapabilityError {
  return new CapabilityError(
    `A child cannot be given permission "${kind}" for ${what}, which this process does not have: run it with --allow-${kind}`,
  );
}

function isFullyGranted(query: Query, kind: string): boolean {
  const status = query.querySync({ name: kind as never });
  return status.state === "granted" && !status.partial;
}

function isGranted(query: Query, kind: string, item: string): boolean {
  return query.querySync({ name: kind as never, [QUERY_FIELDS[kind] as string]: item }).state === "granted";
}

const folderOf = (path: string): string => path.slice(0, path.lastIndexOf("/"));

/** Deno reads a comma in a list as a separator, and two as one comma. */
const escapeCommas = (item: string): string => item.replaceAll(",", ",,");

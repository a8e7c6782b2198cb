/**
 * Names for memory, by which any process of the same user finds it.
 *
 * ```text
 *   /tmp/multiproc-names-1000/   one folder for each user, 0700
 *     n.my-data/                 one for each name
 *       4711.23                  one file for each process that has it: its pid, and the number of its file there;
 *       4712.19                  inside, what the memory is called by the system, and its size
 * ```
 *
 * The memory itself is the kernel's to free, see `memory.ts`; only these small files could be left behind. So each process
 * takes its own file away when it releases the memory, and then the folder of the name, which the system removes only if it is
 * empty: whoever is last frees the name, and nobody frees what another uses. For a process that was killed, a guard
 * does that: its parent's, or its own, see `guard.ts`. Where those were killed too it falls to whoever next asks for the name: a
 * file counts only while that process has that very memory open.
 *
 * All is done through libc, since Deno would ask for leave to use the folder.
 */
import { ProcessError } from "../errors.ts";
import { host } from "../host/mod.ts";
import { O_CLOEXEC, O_CREAT, O_EXCL, O_RDONLY, O_WRONLY } from "../native/linux.ts";
import { type Native, native } from "../native/mod.ts";
import { readSystemFile } from "../native/proc-file.ts";
import { afterFork } from "../runtime/at-fork.ts";
import { lifetime } from "../runtime/process-cleanup.ts";
import { isHeld, Memory, type MemoryAddress } from "./shared-memory-segment.ts";

/** Where the folder can be: the same for all processes, whatever their environment. */
const PARENTS = ["/tmp", "/var/tmp", "/dev/shm"];
const PREFIX = "n.";
/** A file's name holds 255 bytes. */
const LONGEST = 200;
const ATTEMPTS = 100;
/** So often the folder of all names may be there when it is made, and gone when it is looked at. */
const MAKINGS = 30;

/** How often this process holds each of its files. */
const held = new Map<string, number>();
let cleansAtExit = false;
afterFork(() => {
  held.clear();
  cleansAtExit = false;
});

/** A process's part in a name; {@link NamedMemory.release} ends it. */
export class NamedMemory {
  readonly memory: Memory;
  readonly name: string;
  readonly #path: string;
  #isReleased = false;

  private constructor(name: string, memory: Memory, path: string) {
    this.name = name;
    this.memory = memory;
    this.#path = path;
    held.set(path, (held.get(path) ?? 0) + 1);
    lifetime.ensureGuard();
    if (cleansAtExit) return;
    cleansAtExit = true;
    // At an orderly end at once, and also where there is no guard.
    host.onExit(() => {
      for (const path of held.keys()) remove(path);
    });
  }

  /**
   * Gives memory a name.
   *
   * @returns undefined if the name is taken
   */
  static publish(name: string, memory: Memory): NamedMemory | undefined {
    for (let i = 0; i < ATTEMPTS; i++) {
      const files = new Files(name);
      if (files.make()) {
        // If the folder is gone again, another found it empty and took it for a dead one's.
        if (files.add(memory)) return new NamedMemory(name, memory, files.pathOf(memory));
      } else if (files.addresses().some(isHeld)) return undefined;
      else files.clear();
      // At once, one that makes and one that removes can fall into step.
      files.pause();
    }
    throw new ProcessError(`Shared memory cannot be named "${name}": others make and free that name all the time`);
  }

  /**
   * Opens the memory of that name.
   *
   * @returns undefined if there is none
   */
  static open(name: string): NamedMemory | undefined {
    const files = new Files(name);
    for (const address of files.addresses()) {
      if (!isHeld(address)) continue;
      const memory = attachIfThere(address);
      if (memory === undefined) continue;
      if (held.has(files.pathOf(memory)) || files.add(memory))
        return new NamedMemory(name, memory, files.pathOf(memory));
      memory.close(); // the last who had it has freed the name meanwhile
    }
    return undefined;
  }

  /** Takes part in a name for memory that came in another way; nothing is wrong if the name was freed. */
  static join(name: string, memory: Memory): NamedMemory {
    const files = new Files(name);
    if (!held.has(files.pathOf(memory))) files.add(memory);
    return new NamedMemory(name, memory, files.pathOf(memory));
  }

  /** Releases the memory here, and the name if nobody else holds it. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    forget(this.#path);
    this.memory.close();
  }

  /** For one that is garbage: the memory is released by itself. */
  get forgotten(): () => void {
    const path = this.#path;
    return () => forget(path);
  }

  /** Frees the name; whoever has the memory keeps it. */
  unlink(): void {
    new Files(this.name).clear();
  }
}

function forget(path: string): void {
  const count = (held.get(path) ?? 0) - 1;
  if (count > 0) {
    held.set(path, count);
    return;
  }
  held.delete(path);
  remove(path);
}

function remove(path: string): void {
  const { libc } = native() as Native;
  libc.unlink(text(path));
  const name = path.slice(0, path.lastIndexOf("/"));
  libc.rmdir(name);
  libc.rmdir(name.slice(0, name.lastIndexOf("/")));
}

/** The memory, unless its last holder has released it in this moment. */
function attachIfThere(address: MemoryAddress): Memory | undefined {
  try {
    return Memory.attach(address);
  } catch (error) {
    if ((error as ProcessError).code === "ERR_MEMORY_GONE") return undefined;
    throw error;
  }
}

/** The files of one name. */
class Files {
  readonly #api: Native;
  readonly #folder: string;

  constructor(name: string) {
    // Whoever has memory has the way to libc.
    this.#api = native() as Native;
    this.#folder = `${usersFolder(this.#api)}/${fileName(name)}`;
  }

  pathOf(memory: Memory): string {
    const [[pid, file]] = memory.address().holders as [readonly [number, number]];
    return `${this.#folder}/${pid}.${file}`;
  }

  /** Makes the name's folder; false if there is one. */
  make(): boolean {
    return this.#api.libc.mkdir(this.#folder, 0o700) === 0;
  }

  /** Writes this process's file; false if the folder is gone. */
  add(memory: Memory): boolean {
    const open = this.#api.declare("open", ["i32", "text", "i32", "u32"]);
    const { name, size } = memory.address();
    const content = new TextEncoder().encode(`${size} ${name}`);
    const path = this.pathOf(memory);
    // What stands there is of an earlier process with that pid.
    this.#api.libc.unlink(text(path));
    const file = open?.(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600) ?? -1;
    if (file < 0) return false;
    this.#api.libc.write(file, content, content.length);
    this.#api.libc.close(file);
    return true;
  }

  /** Where the memory is, by each that says that it has it. */
  addresses(): MemoryAddress[] {
    return list(this.#api, this.#folder).flatMap((entry) => {
      const holder = entry.split(".").map(Number) as unknown as readonly [number, number];
      const [, size, name] = /^(\d+) (.*)$/s.exec(readSystemFile(this.#api, `${this.#folder}/${entry}`) ?? "") ?? [];
      return name === undefined ? [] : [{ name, size: Number(size), holders: [holder] }];
    });
  }

  /** Waits for a millisecond or two. */
  pause(): void {
    this.#api.libc.poll(null, 0, Math.ceil(2 * Math.random()));
  }

  clear(): void {
    for (const entry of list(this.#api, this.#folder)) this.#api.libc.unlink(text(`${this.#folder}/${entry}`));
    this.#api.libc.rmdir(this.#folder);
  }
}

let folder: string | undefined;

/** The folder of this user; made if it is not there. One that another could write to is not used. */
function usersFolder(api: Native): string {
  const user = api.libc.getuid();
  if (folder !== undefined && isOwn(api, folder, user)) return folder;
  folder = PARENTS.map((parent) => `${parent}/multiproc-names-${user}`).find((path) => makeOwn(api, path, user));
  if (folder !== undefined) return folder;
  throw new ProcessError(
    `Shared memory cannot have a name here: none of ${PARENTS.join(", ")} takes a folder "multiproc-names-${user}" that is this user's alone`,
    { code: "ERR_NO_NAME" },
  );
}

/**
 * Makes the folder, or finds it. Whoever sees it empty removes it, also right after it was made: to look whether it is there, and
 * to go on to the next parent when it is not, would hide this process's names from all others.
 */
function makeOwn(api: Native, path: string, user: number): boolean {
  for (let i = 0; i < MAKINGS; i++) {
    if (api.libc.mkdir(path, 0o700) === 0) return true;
    const own = isOwn(api, path, user);
    if (own !== undefined) return own;
  }
  return false;
}

const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const STATX_BASIC = 0x7ff;
const stat = new Uint8Array(256);

/** Whether it is a folder that is this user's alone, and no link; undefined if there is nothing. */
function isOwn(api: Native, path: string, user: number): boolean | undefined {
  const statx = api.declare("statx", ["i32", "i32", "text", "i32", "u32", "bytes"]);
  if (statx?.(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC, stat) !== 0) return undefined;
  const view = new DataView(stat.buffer);
  return view.getUint32(20, true) === user && view.getUint16(28, true) === 0o40700;
}

const GETDENTS: Readonly<Record<string, number>> = { x64: 217, arm64: 61 };
const entries = new Uint8Array(32 * 1024);

/** The entries of a folder; none if it is not there. */
function list(api: Native, path: string): string[] {
  const file = api.libc.open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return [];
  const call = api.declare("syscall", ["size", "size", "i32", "bytes", "size"]);
  const names: string[] = [];
  const view = new DataView(entries.buffer);
  for (let size: number; (size = call?.(GETDENTS[api.arch] as number, file, entries, entries.length) ?? 0) > 0; ) {
    for (let at = 0; at < size; at += view.getUint16(at + 16, true)) {
      const end = entries.indexOf(0, at + 19);
      names.push(host.utf8Read(entries, at + 19, end));
    }
  }
  api.libc.close(file);
  return names.filter((name) => /^\d+\.\d+$/.test(name));
}

/** A file's name that says the same, and holds nothing that is special to a file system or a shell. */
function fileName(name: string): string {
  const hex = (letter: string): string => `%${letter.charCodeAt(0).toString(16)}`;
  const encoded = encodeURIComponent(name).replace(/[!'()*~]/g, hex);
  if (encoded.length <= LONGEST) return PREFIX + encoded;
  throw new RangeError(`The name of shared memory is too long: "${name.slice(0, 50)}…"`);
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(`${value}\0`);
}

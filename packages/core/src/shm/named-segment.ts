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
import { readProcFile } from "../native/proc-file.ts";
import { afterForkInChild } from "../runtime/at-fork.ts";
import { cleanup } from "../runtime/process-cleanup.ts";
import { isStillOpen, type SegmentAddress, SharedSegment } from "./shared-memory-segment.ts";

/** Where the folder can be: the same for all processes, whatever their environment. */
const NAME_DIR_PARENTS = ["/tmp", "/var/tmp", "/dev/shm"];
const NAME_PREFIX = "n.";
/** A file's name holds 255 bytes. */
const MAX_ENCODED_NAME_LENGTH = 200;
const MAX_CREATE_ATTEMPTS = 100;
/** So often the folder of all names may be there when it is made, and gone when it is looked at. */
const MAX_MKDIR_ATTEMPTS = 30;

/** How often this process holds each of its files. */
const useCounts = new Map<string, number>();
let cleansAtExit = false;
afterForkInChild(() => {
  useCounts.clear();
  cleansAtExit = false;
});

/** A process's part in a name; {@link NamedSegment.release} ends it. */
export class NamedSegment {
  readonly memory: SharedSegment;
  readonly name: string;
  readonly #path: string;
  #isReleased = false;

  private constructor(name: string, memory: SharedSegment, path: string) {
    this.name = name;
    this.memory = memory;
    this.#path = path;
    useCounts.set(path, (useCounts.get(path) ?? 0) + 1);
    cleanup.ensureWatchdog();
    if (cleansAtExit) return;
    cleansAtExit = true;
    // At an orderly end at once, and also where there is no guard.
    host.onExit(() => {
      for (const path of useCounts.keys()) removeFile(path);
    });
  }

  /**
   * Gives memory a name.
   *
   * @returns undefined if the name is taken
   */
  static create(name: string, memory: SharedSegment): NamedSegment | undefined {
    for (let i = 0; i < MAX_CREATE_ATTEMPTS; i++) {
      const directory = new NameDirectory(name);
      if (directory.create()) {
        // If the folder is gone again, another found it empty and took it for a dead one's.
        if (directory.add(memory)) return new NamedSegment(name, memory, directory.pathOf(memory));
      } else if (directory.addresses().some(isStillOpen)) return undefined;
      else directory.removeAll();
      // At once, one that makes and one that removes can fall into step.
      directory.sleepBriefly();
    }
    throw new ProcessError(`Shared memory cannot be named "${name}": others make and free that name all the time`);
  }

  /**
   * Opens the memory of that name.
   *
   * @returns undefined if there is none
   */
  static open(name: string): NamedSegment | undefined {
    const directory = new NameDirectory(name);
    for (const address of directory.addresses()) {
      if (!isStillOpen(address)) continue;
      const memory = tryAttach(address);
      if (memory === undefined) continue;
      if (useCounts.has(directory.pathOf(memory)) || directory.add(memory))
        return new NamedSegment(name, memory, directory.pathOf(memory));
      memory.close(); // the last who had it has freed the name meanwhile
    }
    return undefined;
  }

  /** Takes part in a name for memory that came in another way; nothing is wrong if the name was freed. */
  static adopt(name: string, memory: SharedSegment): NamedSegment {
    const directory = new NameDirectory(name);
    if (!useCounts.has(directory.pathOf(memory))) directory.add(memory);
    return new NamedSegment(name, memory, directory.pathOf(memory));
  }

  /** Releases the memory here, and the name if nobody else holds it. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    releaseFile(this.#path);
    this.memory.close();
  }

  /** For one that is garbage: the memory is released by itself. */
  get finalizer(): () => void {
    const path = this.#path;
    return () => releaseFile(path);
  }

  /** Frees the name; whoever has the memory keeps it. */
  unlink(): void {
    new NameDirectory(this.name).removeAll();
  }
}

function releaseFile(path: string): void {
  const count = (useCounts.get(path) ?? 0) - 1;
  if (count > 0) {
    useCounts.set(path, count);
    return;
  }
  useCounts.delete(path);
  removeFile(path);
}

function removeFile(path: string): void {
  const { libc } = native() as Native;
  libc.unlink(cString(path));
  const nameDir = path.slice(0, path.lastIndexOf("/"));
  libc.rmdir(nameDir);
  libc.rmdir(nameDir.slice(0, nameDir.lastIndexOf("/")));
}

/** The memory, unless its last holder has released it in this moment. */
function tryAttach(address: SegmentAddress): SharedSegment | undefined {
  try {
    return SharedSegment.attach(address);
  } catch (error) {
    if ((error as ProcessError).code === "ERR_MEMORY_GONE") return undefined;
    throw error;
  }
}

/** The files of one name. */
class NameDirectory {
  readonly #api: Native;
  readonly #folder: string;

  constructor(name: string) {
    // Whoever has memory has the way to libc.
    this.#api = native() as Native;
    this.#folder = `${userNameDir(this.#api)}/${fileName(name)}`;
  }

  pathOf(memory: SharedSegment): string {
    const [[pid, fd]] = memory.address().openFds as [readonly [number, number]];
    return `${this.#folder}/${pid}.${fd}`;
  }

  /** Makes the name's folder; false if there is one. */
  create(): boolean {
    return this.#api.libc.mkdir(this.#folder, 0o700) === 0;
  }

  /** Writes this process's file; false if the folder is gone. */
  add(memory: SharedSegment): boolean {
    const open = this.#api.declare("open", ["i32", "text", "i32", "u32"]);
    const { name, size } = memory.address();
    const content = new TextEncoder().encode(`${size} ${name}`);
    const path = this.pathOf(memory);
    // What stands there is of an earlier process with that pid.
    this.#api.libc.unlink(cString(path));
    const fd = open?.(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600) ?? -1;
    if (fd < 0) return false;
    this.#api.libc.write(fd, content, content.length);
    this.#api.libc.close(fd);
    return true;
  }

  /** Where the memory is, by each that says that it has it. */
  addresses(): SegmentAddress[] {
    return listHolderFiles(this.#api, this.#folder).flatMap((entry) => {
      const holder = entry.split(".").map(Number) as unknown as readonly [number, number];
      const [, size, name] = /^(\d+) (.*)$/s.exec(readProcFile(this.#api, `${this.#folder}/${entry}`) ?? "") ?? [];
      return name === undefined ? [] : [{ name, size: Number(size), openFds: [holder] }];
    });
  }

  /** Waits for a millisecond or two. */
  sleepBriefly(): void {
    this.#api.libc.poll(null, 0, Math.ceil(2 * Math.random()));
  }

  removeAll(): void {
    for (const entry of listHolderFiles(this.#api, this.#folder))
      this.#api.libc.unlink(cString(`${this.#folder}/${entry}`));
    this.#api.libc.rmdir(this.#folder);
  }
}

let cachedUserDir: string | undefined;

/** The folder of this user; made if it is not there. One that another could write to is not used. */
function userNameDir(api: Native): string {
  const uid = api.libc.getuid();
  if (cachedUserDir !== undefined && isOwnedByUser(api, cachedUserDir, uid)) return cachedUserDir;
  cachedUserDir = NAME_DIR_PARENTS.map((parent) => `${parent}/multiproc-names-${uid}`).find((path) =>
    createOwned(api, path, uid),
  );
  if (cachedUserDir !== undefined) return cachedUserDir;
  throw new ProcessError(
    `Shared memory cannot have a name here: none of ${NAME_DIR_PARENTS.join(", ")} takes a folder "multiproc-names-${uid}" that is this user's alone`,
    { code: "ERR_NO_NAME" },
  );
}

/**
 * Makes the folder, or finds it. Whoever sees it empty removes it, also right after it was made: to look whether it is there, and
 * to go on to the next parent when it is not, would hide this process's names from all others.
 */
function createOwned(api: Native, path: string, uid: number): boolean {
  for (let i = 0; i < MAX_MKDIR_ATTEMPTS; i++) {
    if (api.libc.mkdir(path, 0o700) === 0) return true;
    const isOwned = isOwnedByUser(api, path, uid);
    if (isOwned !== undefined) return isOwned;
  }
  return false;
}

const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const STATX_BASIC = 0x7ff;
const statBuffer = new Uint8Array(256);

/** Whether it is a folder that is this user's alone, and no link; undefined if there is nothing. */
function isOwnedByUser(api: Native, path: string, uid: number): boolean | undefined {
  const statx = api.declare("statx", ["i32", "i32", "text", "i32", "u32", "bytes"]);
  if (statx?.(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC, statBuffer) !== 0) return undefined;
  const view = new DataView(statBuffer.buffer);
  return view.getUint32(20, true) === uid && view.getUint16(28, true) === 0o40700;
}

const SYS_GETDENTS64: Readonly<Record<string, number>> = { x64: 217, arm64: 61 };
const direntBuffer = new Uint8Array(32 * 1024);

/** The entries of a folder; none if it is not there. */
function listHolderFiles(api: Native, path: string): string[] {
  const fd = api.libc.open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return [];
  const getdents = api.declare("syscall", ["size", "size", "i32", "bytes", "size"]);
  const names: string[] = [];
  const view = new DataView(direntBuffer.buffer);
  for (
    let size: number;
    (size = getdents?.(SYS_GETDENTS64[api.arch] as number, fd, direntBuffer, direntBuffer.length) ?? 0) > 0;
  ) {
    for (let at = 0; at < size; at += view.getUint16(at + 16, true)) {
      const end = direntBuffer.indexOf(0, at + 19);
      names.push(host.utf8Read(direntBuffer, at + 19, end));
    }
  }
  api.libc.close(fd);
  return names.filter((name) => /^\d+\.\d+$/.test(name));
}

/** A file's name that says the same, and holds nothing that is special to a file system or a shell. */
function fileName(name: string): string {
  const hex = (char: string): string => `%${char.charCodeAt(0).toString(16)}`;
  const encoded = encodeURIComponent(name).replace(/[!'()*~]/g, hex);
  if (encoded.length <= MAX_ENCODED_NAME_LENGTH) return NAME_PREFIX + encoded;
  throw new RangeError(`The name of shared memory is too long: "${name.slice(0, 50)}…"`);
}

function cString(value: string): Uint8Array {
  return new TextEncoder().encode(`${value}\0`);
}

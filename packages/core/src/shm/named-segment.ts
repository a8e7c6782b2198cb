/**
 * Named segments: any process of the same user finds a segment of shared memory by its name.
 *
 * ```text
 *   /tmp/multiproc-names-1000/   one folder for each user, mode 0700
 *     n.my-data/                 one folder for each name
 *       4711.23                  one file for each process that has the segment open: its pid and its descriptor;
 *       4712.19                  the content is the size of the segment, and the name that the system shows for it
 * ```
 *
 * The kernel frees the segment, see `shared-memory-segment.ts`. Only these small files can be left
 * behind. Each process deletes its own file when it releases the segment, and then calls `rmdir()`
 * for the folder of the name. `rmdir()` removes only empty folders. The last process therefore
 * frees the name, and a name in use is never freed.
 *
 * The watchdog of a killed process, or that of its parent, deletes its file; see
 * `watchdog-scripts.ts`. If both watchdogs were killed too, the file is stale. A file is ignored if
 * its process does not have that segment open. The next process that creates the name deletes it.
 * All file access goes through libc, because Deno would ask for permission to use the folder.
 */
import { ProcessError } from "../errors.ts";
import { host } from "../host/mod.ts";
import {
  AT_FDCWD,
  AT_SYMLINK_NOFOLLOW,
  O_CLOEXEC,
  O_CREAT,
  O_EXCL,
  O_RDONLY,
  O_WRONLY,
  STATX_BASIC_STATS,
  SYS_GETDENTS64,
} from "../native/linux.ts";
import { type Native, native } from "../native/mod.ts";
import { readProcFile } from "../native/proc-file.ts";
import { afterForkInChild } from "../runtime/at-fork.ts";
import { cleanup } from "../runtime/process-cleanup.ts";
import { isStillOpen, type SegmentAddress, SharedSegment } from "./shared-memory-segment.ts";

/**
 * Where the folder of a user can be. The list does not depend on the environment, so all processes
 * agree on it.
 */
const NAME_DIR_PARENTS = ["/tmp", "/var/tmp", "/dev/shm"];
const NAME_PREFIX = "n.";
/** The longest file name of a segment. File systems allow 255 bytes. */
const MAX_ENCODED_NAME_BYTES = 200;
/** Attempts to create a name while other processes create and remove it. */
const MAX_CREATE_ATTEMPTS = 100;
/** Attempts to create the folder of a user while other processes remove it. */
const MAX_MKDIR_ATTEMPTS = 30;

/** How many `NamedSegment`s of this process use each of its files, by path. */
const useCounts = new Map<string, number>();
let cleansAtExit = false;
afterForkInChild(() => {
  useCounts.clear();
  cleansAtExit = false;
});

/** A named segment that this process has open, until {@link NamedSegment.release}. */
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
    // At an orderly exit, this deletes the files even if there is no watchdog.
    host.onExit(() => {
      for (const path of useCounts.keys()) removeFile(path);
    });
  }

  /**
   * Gives a segment a name.
   *
   * @returns `undefined` if the name is taken
   */
  static create(name: string, memory: SharedSegment): NamedSegment | undefined {
    for (let i = 0; i < MAX_CREATE_ATTEMPTS; i++) {
      const directory = new NameDirectory(name);
      if (directory.create()) {
        // add() fails if another process found the folder empty and removed it.
        if (directory.add(memory)) return new NamedSegment(name, memory, directory.pathOf(memory));
      } else if (directory.addresses().some(isStillOpen)) return undefined;
      else directory.removeAll();
      // Without a random pause, a creating and a removing process can run in lockstep.
      directory.sleepBriefly();
    }
    throw new ProcessError(
      `Cannot create shared memory "${name}": other processes created and removed the name ${MAX_CREATE_ATTEMPTS} times in a row`,
    );
  }

  /**
   * Opens the segment with a name.
   *
   * @returns `undefined` if there is none
   */
  static open(name: string): NamedSegment | undefined {
    const directory = new NameDirectory(name);
    for (const address of directory.addresses()) {
      if (!isStillOpen(address)) continue;
      const memory = tryAttach(address);
      if (memory === undefined) continue;
      if (useCounts.has(directory.pathOf(memory)) || directory.add(memory))
        return new NamedSegment(name, memory, directory.pathOf(memory));
      memory.close(); // the last process that had it open has freed the name in the meantime
    }
    return undefined;
  }

  /**
   * Registers this process as a user of a name, for a segment that it has open. If the name has
   * been freed, it stays free.
   */
  static adopt(name: string, memory: SharedSegment): NamedSegment {
    const directory = new NameDirectory(name);
    if (!useCounts.has(directory.pathOf(memory))) directory.add(memory);
    return new NamedSegment(name, memory, directory.pathOf(memory));
  }

  /** Closes the segment in this process, and frees the name if no other process uses it. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    releaseFile(this.#path);
    this.memory.close();
  }

  /**
   * Returns a function to call after this object was garbage-collected: it deletes the file of this
   * process. The garbage collector releases the segment itself.
   */
  get finalizer(): () => void {
    const path = this.#path;
    return () => releaseFile(path);
  }

  /** Frees the name. Processes that have the segment open keep it. */
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

/** Opens a segment; returns `undefined` if the last process that had it open has just closed it. */
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
    // A process that has shared memory also has libc.
    this.#api = native() as Native;
    this.#folder = `${userNameDir(this.#api)}/${fileName(name)}`;
  }

  pathOf(memory: SharedSegment): string {
    const [[pid, fd]] = memory.address().openFds as [readonly [number, number]];
    return `${this.#folder}/${pid}.${fd}`;
  }

  /** Creates the folder of the name. Returns false if it exists. */
  create(): boolean {
    return this.#api.libc.mkdir(this.#folder, 0o700) === 0;
  }

  /** Writes the file of this process. Returns false if the folder does not exist. */
  add(memory: SharedSegment): boolean {
    const open = this.#api.declare("open", ["i32", "text", "i32", "u32"]);
    const { name, size } = memory.address();
    const content = new TextEncoder().encode(`${size} ${name}`);
    const path = this.pathOf(memory);
    // An existing file is from an earlier process with the same pid.
    this.#api.libc.unlink(cString(path));
    const fd = open?.(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600) ?? -1;
    if (fd < 0) return false;
    this.#api.libc.write(fd, content, content.length);
    this.#api.libc.close(fd);
    return true;
  }

  /** Returns the addresses of the segment in the files of the name. */
  addresses(): SegmentAddress[] {
    return listHolderFiles(this.#api, this.#folder).flatMap((entry) => {
      const holder = entry.split(".").map(Number) as unknown as readonly [number, number];
      const [, size, name] = /^(\d+) (.*)$/s.exec(readProcFile(this.#api, `${this.#folder}/${entry}`) ?? "") ?? [];
      return name === undefined ? [] : [{ name, size: Number(size), openFds: [holder] }];
    });
  }

  /** Blocks for one or two milliseconds. */
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

/**
 * Returns the folder of this user, and creates it if needed. A folder that other users can access
 * is not used.
 */
function userNameDir(api: Native): string {
  const uid = api.libc.getuid();
  if (cachedUserDir !== undefined && isOwnedByUser(api, cachedUserDir, uid)) return cachedUserDir;
  cachedUserDir = NAME_DIR_PARENTS.map((parent) => `${parent}/multiproc-names-${uid}`).find((path) =>
    createOwned(api, path, uid),
  );
  if (cachedUserDir !== undefined) return cachedUserDir;
  throw new ProcessError(
    `Cannot name shared memory: none of ${NAME_DIR_PARENTS.join(", ")} can hold a folder "multiproc-names-${uid}" that only this user can access`,
    { code: "ERR_NO_NAME" },
  );
}

/**
 * Creates the folder of a user, or finds it. Returns false if it cannot be used.
 *
 * Other processes remove the folder when it is empty, even right after it was created. It is
 * therefore created again. Using the next parent instead would hide this process's names from all
 * others.
 */
function createOwned(api: Native, path: string, uid: number): boolean {
  for (let i = 0; i < MAX_MKDIR_ATTEMPTS; i++) {
    if (api.libc.mkdir(path, 0o700) === 0) return true;
    const isOwned = isOwnedByUser(api, path, uid);
    if (isOwned !== undefined) return isOwned;
  }
  return false;
}

// struct statx
const STATX_UID_OFFSET = 20;
const STATX_MODE_OFFSET = 28;
/** A folder that only its owner can read, write and search. */
const PRIVATE_DIR_MODE = 0o40700;
const statBuffer = new Uint8Array(256);

/**
 * Returns whether a path is a folder that only this user can access, and not a link; `undefined` if
 * it does not exist.
 */
function isOwnedByUser(api: Native, path: string, uid: number): boolean | undefined {
  const statx = api.declare("statx", ["i32", "i32", "text", "i32", "u32", "bytes"]);
  if (statx?.(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, statBuffer) !== 0) return undefined;
  const view = new DataView(statBuffer.buffer);
  return view.getUint32(STATX_UID_OFFSET, true) === uid && view.getUint16(STATX_MODE_OFFSET, true) === PRIVATE_DIR_MODE;
}

// struct linux_dirent64
const DIRENT_LENGTH_OFFSET = 16;
const DIRENT_NAME_OFFSET = 19;
const direntBuffer = new Uint8Array(32 * 1024);

/** Lists the files `<pid>.<fd>` of a folder. The list is empty if the folder does not exist. */
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
    for (let at = 0; at < size; at += view.getUint16(at + DIRENT_LENGTH_OFFSET, true)) {
      const end = direntBuffer.indexOf(0, at + DIRENT_NAME_OFFSET);
      names.push(host.utf8Read(direntBuffer, at + DIRENT_NAME_OFFSET, end));
    }
  }
  api.libc.close(fd);
  return names.filter((name) => /^\d+\.\d+$/.test(name));
}

/**
 * Encodes a name as a file name without characters that are special to a file system or a shell.
 */
function fileName(name: string): string {
  const hex = (char: string): string => `%${char.charCodeAt(0).toString(16)}`;
  const encoded = encodeURIComponent(name).replace(/[!'()*~]/g, hex);
  if (encoded.length <= MAX_ENCODED_NAME_BYTES) return NAME_PREFIX + encoded;
  throw new RangeError(
    `The name of shared memory takes at most ${MAX_ENCODED_NAME_BYTES} bytes, with %-escapes: "${name.slice(0, 50)}…" is too long`,
  );
}

function cString(value: string): Uint8Array {
  return new TextEncoder().encode(`${value}\0`);
}

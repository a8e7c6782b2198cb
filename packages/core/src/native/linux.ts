/**
 * Constants of the Linux ABI. Of these, only the numbers of old system calls differ by processor.
 */

// open()
export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;

// lseek()
export const SEEK_END = 2;

// poll()
export const POLLIN = 0x1;
export const POLLOUT = 0x4;
export const POLLERR = 0x8;
export const POLLHUP = 0x10;

// socket(), send()
export const AF_UNIX = 1;
export const SOCK_STREAM = 1;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;

// mmap(), madvise(), memfd_create()
export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const MAP_SHARED = 1;
export const MADV_DOFORK = 11;
export const MFD_CLOEXEC = 1;

// waitpid(), prctl(), syscall()
export const WNOHANG = 1;
export const PR_SET_PDEATHSIG = 1;
export const SYS_PIDFD_OPEN = 434;

// System calls whose numbers depend on the processor, by `native.arch`
export const SYS_FUTEX: Readonly<Record<string, number>> = { x64: 202, arm64: 98 };
export const SYS_GETTID: Readonly<Record<string, number>> = { x64: 186, arm64: 178 };
export const SYS_GETDENTS64: Readonly<Record<string, number>> = { x64: 217, arm64: 61 };

// futex(), statx()
export const FUTEX_WAIT = 0;
export const FUTEX_WAKE = 1;
export const AT_FDCWD = -100;
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const STATX_BASIC_STATS = 0x7ff;

// Signals
export const SIGINT = 2;
export const SIGKILL = 9;
export const SIG_IGN = 1;
export const SIG_BLOCK = 0;
export const SIG_SETMASK = 2;

// errno
export const ENOENT = 2;
export const EINTR = 4;
export const EAGAIN = 11;
export const ENOMEM = 12;
export const ECONNREFUSED = 111;

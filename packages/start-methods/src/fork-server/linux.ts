/** Numbers of the Linux ABI, alike on x64 and arm64. */

export const SOCK_CLOEXEC = 0o2000000;
export const O_RDWR = 2;
export const O_CLOEXEC = 0o2000000;
export const MSG_DONTWAIT = 0x40;
export const MSG_NOSIGNAL = 0x4000;
export const POLLIN = 0x1;
export const POLLOUT = 0x4;
export const SYS_PIDFD_OPEN = 434;
export const ENOENT = 2;
export const ECONNREFUSED = 111;
export const SIGINT = 2;
export const SIGKILL = 9;
export const SIG_IGN = 1;
export const SIG_BLOCK = 0;
export const SIG_SETMASK = 2;

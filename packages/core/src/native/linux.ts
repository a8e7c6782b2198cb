/** Numbers of the Linux ABI, alike on x64 and arm64. */

export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_NONBLOCK = 0o4000;
export const O_CLOEXEC = 0o2000000;
export const POLLIN = 0x1;
export const WNOHANG = 1;
export const MADV_DOFORK = 11;
export const PR_SET_PDEATHSIG = 1;
export const SIGKILL = 9;
export const EINTR = 4;
export const EAGAIN = 11;
export const ENOMEM = 12;
export const MFD_CLOEXEC = 1;
export const SEEK_END = 2;
export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const MAP_SHARED = 1;

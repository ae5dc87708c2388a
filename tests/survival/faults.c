/* Makes the n-th system call of one kind on files below a folder fail, or kills the process there.

Preloaded (LD_PRELOAD) into a Python process, which arms it with fault_arm() after a fork. Calls on
other files pass: the interpreter's own modules, libraries, /proc. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum kind { WRITE, FSYNC, RENAME, OPEN, UNLINK, MKDIR, FLOCK, READ, KINDS };

static char root[PATH_MAX];
static int armed = -1, code;
static long at, counts[KINDS];

void fault_arm(const char *folder, int kind, long number, int error) {
    snprintf(root, sizeof root, "%s", folder);
    memset(counts, 0, sizeof counts);
    armed = kind;
    at = number;
    code = error;
}

long fault_count(int kind) { return counts[kind]; }

static int below(const char *path) {
    size_t n = strlen(root);
    return n && strncmp(path, root, n) == 0 && (path[n] == '/' || path[n] == 0);
}

static int below_fd(int handle, const char *name) {
    char link[64], path[PATH_MAX];
    if (name && name[0] == '/') return below(name);
    if (handle == AT_FDCWD) {
        if (!getcwd(path, sizeof path)) return 0;
        return below(path);
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return below(path);
}

/* Counts a call; says whether it is to fail. error 0 kills. */
static int strikes(enum kind kind, int ours) {
    if (!root[0] || !ours) return 0;
    long count = __atomic_add_fetch(&counts[kind], 1, __ATOMIC_SEQ_CST);
    if ((int)kind != armed) return 0;
    /* a bad sector stays bad: reads fail from then on */
    if (kind == READ ? count < at : count != at) return 0;
    if (!code) kill(getpid(), SIGKILL);
    errno = code;
    return 1;
}

#define REAL(name, type) static __typeof__(type) real; if (!real) real = dlsym(RTLD_NEXT, name)

ssize_t write(int handle, const void *data, size_t size) {
    REAL("write", ssize_t (*)(int, const void *, size_t));
    return strikes(WRITE, below_fd(handle, NULL)) ? -1 : real(handle, data, size);
}

ssize_t read(int handle, void *data, size_t size) {
    REAL("read", ssize_t (*)(int, void *, size_t));
    return strikes(READ, below_fd(handle, NULL)) ? -1 : real(handle, data, size);
}

ssize_t pread(int handle, void *data, size_t size, off_t from) {
    REAL("pread", ssize_t (*)(int, void *, size_t, off_t));
    return strikes(READ, below_fd(handle, NULL)) ? -1 : real(handle, data, size, from);
}

ssize_t pread64(int handle, void *data, size_t size, off64_t from) {
    REAL("pread64", ssize_t (*)(int, void *, size_t, off64_t));
    return strikes(READ, below_fd(handle, NULL)) ? -1 : real(handle, data, size, from);
}

int fsync(int handle) {
    REAL("fsync", int (*)(int));
    return strikes(FSYNC, below_fd(handle, NULL)) ? -1 : real(handle);
}

int flock(int handle, int how) {
    REAL("flock", int (*)(int, int));
    return strikes(FLOCK, below_fd(handle, NULL)) ? -1 : real(handle, how);
}

int rename(const char *from, const char *to) {
    REAL("rename", int (*)(const char *, const char *));
    return strikes(RENAME, below_fd(AT_FDCWD, to)) ? -1 : real(from, to);
}

int unlink(const char *path) {
    REAL("unlink", int (*)(const char *));
    return strikes(UNLINK, below_fd(AT_FDCWD, path)) ? -1 : real(path);
}

int unlinkat(int folder, const char *path, int flags) {
    REAL("unlinkat", int (*)(int, const char *, int));
    return strikes(UNLINK, below_fd(folder, path)) ? -1 : real(folder, path, flags);
}

int mkdir(const char *path, mode_t mode) {
    REAL("mkdir", int (*)(const char *, mode_t));
    return strikes(MKDIR, below_fd(AT_FDCWD, path)) ? -1 : real(path, mode);
}

static mode_t mode_of(int flags, va_list rest) {
    return flags & (O_CREAT | O_TMPFILE) ? (mode_t)va_arg(rest, int) : 0;
}

#define OPEN_LIKE(name)                                                                          \
    int name(const char *path, int flags, ...) {                                                 \
        REAL(#name, int (*)(const char *, int, ...));                                            \
        va_list rest;                                                                            \
        va_start(rest, flags);                                                                   \
        mode_t mode = mode_of(flags, rest);                                                      \
        va_end(rest);                                                                            \
        int writes = (flags & O_ACCMODE) != O_RDONLY || flags & O_CREAT;                         \
        if (writes && strikes(OPEN, below_fd(AT_FDCWD, path))) return -1;                        \
        return real(path, flags, mode);                                                          \
    }

OPEN_LIKE(open)
OPEN_LIKE(open64)

#define OPENAT_LIKE(name)                                                                        \
    int name(int folder, const char *path, int flags, ...) {                                     \
        REAL(#name, int (*)(int, const char *, int, ...));                                       \
        va_list rest;                                                                            \
        va_start(rest, flags);                                                                   \
        mode_t mode = mode_of(flags, rest);                                                      \
        va_end(rest);                                                                            \
        int writes = (flags & O_ACCMODE) != O_RDONLY || flags & O_CREAT;                         \
        if (writes && strikes(OPEN, below_fd(folder, path))) return -1;                          \
        return real(folder, path, flags, mode);                                                  \
    }

OPENAT_LIKE(openat)
OPENAT_LIKE(openat64)

/*
 * Makes single calls of one process fail with a given error number, for paths below one folder.
 *
 * Preloaded with LD_PRELOAD. FAULTS_ROOT is the folder. FAULTS_CONTROL is a file of the size of `struct control`, which
 * this library maps, so that a test can switch a fault on and off while the process runs, and read how often it struck.
 * A fault is told instead of the call, which is not made; with `is_late` the call is made first, as if a file server's
 * answer was lost. Calls for other paths, and calls that the kernel makes by itself, are not changed.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct control {
    volatile int32_t number;  /* the error number; 0 for no fault */
    volatile int32_t strikes; /* how often the fault may still strike; -1 for always */
    volatile int32_t struck;  /* how often it has struck */
    volatile int32_t is_late; /* 1: the call is made, and then reported as failed */
    char call[16];            /* open, rename, link, unlink, fsync, lock, mkdir, write, truncate, utime, stat */
    char kind[8];             /* file, folder, or empty for both */
    char part[256];           /* a part of the path; empty for every path */
};

static struct control *control;
static char root[PATH_MAX];

__attribute__((constructor)) static void start(void)
{
    const char *file = getenv("FAULTS_CONTROL"), *folder = getenv("FAULTS_ROOT");
    if (!file || !folder || !realpath(folder, root))
        return;
    int descriptor = (int)syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CLOEXEC, 0);
    if (descriptor < 0)
        return;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (mapped != MAP_FAILED)
        control = mapped;
}

/* Write the path of an open file or folder, or of a name in one, into `path`; false if it cannot be found. */
static bool find_path(int folder, const char *name, char *path)
{
    char link[64];
    size_t length = 0;
    if (name && name[0] == '/') {
        if (strncmp(name, "/proc/self/fd/", 14) == 0)
            return false;
        snprintf(path, PATH_MAX, "%s", name);
        return true;
    }
    if (folder == AT_FDCWD)
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t got = readlink(link, path, PATH_MAX - 300);
    if (got < 0)
        return false;
    length = (size_t)got;
    path[length] = 0;
    if (name && name[0])
        snprintf(path + length, PATH_MAX - length, "/%s", name);
    return true;
}

static bool is_folder(int folder, const char *name)
{
    struct stat status;
    long got = name ? syscall(SYS_newfstatat, folder, name, &status, AT_SYMLINK_NOFOLLOW) : syscall(SYS_fstat, folder, &status);
    return got == 0 && S_ISDIR(status.st_mode);
}

/* True if this call must fail now. Sets errno then. */
static bool fails(const char *call, int folder, const char *name, bool late)
{
    char path[PATH_MAX];
    if (!control || !control->number || !control->strikes || strcmp(control->call, call) != 0 || late != control->is_late)
        return false;
    int before = errno;
    bool hit = find_path(folder, name, path) && strncmp(path, root, strlen(root)) == 0 &&
               (!control->part[0] || strstr(path, control->part)) &&
               (!control->kind[0] || (strcmp(control->kind, "folder") == 0) == is_folder(folder, name));
    errno = before;
    if (!hit)
        return false;
    if (control->strikes > 0)
        control->strikes--;
    control->struck++;
    errno = control->number;
    return true;
}

static void *next(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        abort();
    return found;
}

#define CALL(kind, folder, name, call)              \
    if (fails(kind, folder, name, false))           \
        return -1;                                  \
    int result = (int)(call);                       \
    if (result == 0 && fails(kind, folder, name, true)) \
        return -1;                                  \
    return result

static int open_at(int folder, const char *path, int flags, mode_t mode)
{
    if (fails("open", folder, path, false))
        return -1;
    return (int)syscall(SYS_openat, folder, path, flags, mode);
}

#define MODE_OF(flags)                       \
    mode_t mode = 0;                         \
    if ((flags) & (O_CREAT | O_TMPFILE)) {   \
        va_list list;                        \
        va_start(list, flags);               \
        mode = va_arg(list, mode_t);         \
        va_end(list);                        \
    }

int open(const char *path, int flags, ...) { MODE_OF(flags) return open_at(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE_OF(flags) return open_at(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE_OF(flags) return open_at(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE_OF(flags) return open_at(folder, path, flags, mode); }

int renameat2(int from, const char *source, int to, const char *target, unsigned flags)
{
    /* A rename is of the file that has the source's name before, and the target's name after it. */
    if (fails("rename", from, source, false))
        return -1;
    int result = (int)syscall(SYS_renameat2, from, source, to, target, flags);
    if (result == 0 && fails("rename", to, target, true))
        return -1;
    return result;
}
int rename(const char *source, const char *target) { return renameat2(AT_FDCWD, source, AT_FDCWD, target, 0); }
int renameat(int from, const char *source, int to, const char *target) { return renameat2(from, source, to, target, 0); }

int linkat(int from, const char *source, int to, const char *target, int flags)
{
    CALL("link", to, target, syscall(SYS_linkat, from, source, to, target, flags));
}
int link(const char *source, const char *target) { return linkat(AT_FDCWD, source, AT_FDCWD, target, 0); }

int unlinkat(int folder, const char *path, int flags)
{
    CALL("unlink", folder, path, syscall(SYS_unlinkat, folder, path, flags));
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

int mkdirat(int folder, const char *path, mode_t mode)
{
    CALL("mkdir", folder, path, syscall(SYS_mkdirat, folder, path, mode));
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

int fsync(int file) { CALL("fsync", file, NULL, syscall(SYS_fsync, file)); }
int fdatasync(int file) { CALL("fsync", file, NULL, syscall(SYS_fdatasync, file)); }
int flock(int file, int operation) { CALL("lock", file, NULL, syscall(SYS_flock, file, operation)); }
int ftruncate(int file, off_t size) { CALL("truncate", file, NULL, syscall(SYS_ftruncate, file, size)); }
int ftruncate64(int file, off_t size) { CALL("truncate", file, NULL, syscall(SYS_ftruncate, file, size)); }
int futimens(int file, const struct timespec times[2])
{
    CALL("utime", file, NULL, syscall(SYS_utimensat, file, NULL, times, 0));
}

ssize_t write(int file, const void *data, size_t size)
{
    if (fails("write", file, NULL, false))
        return -1;
    return syscall(SYS_write, file, data, size);
}

#define LOCKS(number) \
    ((number) == F_OFD_SETLK || (number) == F_OFD_SETLKW || (number) == F_OFD_GETLK || (number) == F_SETLK)

#define FCNTL(name)                                                     \
    int name(int file, int number, ...)                                 \
    {                                                                   \
        va_list list;                                                   \
        va_start(list, number);                                         \
        void *argument = va_arg(list, void *);                          \
        va_end(list);                                                   \
        if (LOCKS(number) && fails("lock", file, NULL, false))          \
            return -1;                                                  \
        return ((int (*)(int, int, ...))next(#name))(file, number, argument); \
    }
FCNTL(fcntl)
FCNTL(fcntl64)

int fstatat(int folder, const char *path, struct stat *status, int flags)
{
    if (fails("stat", folder, path, false))
        return -1;
    return (int)syscall(SYS_newfstatat, folder, path, status, flags);
}
int fstatat64(int folder, const char *path, struct stat64 *status, int flags)
{
    if (fails("stat", folder, path, false))
        return -1;
    return (int)syscall(SYS_newfstatat, folder, path, status, flags);
}
int stat(const char *path, struct stat *status) { return fstatat(AT_FDCWD, path, status, 0); }
int stat64(const char *path, struct stat64 *status) { return fstatat64(AT_FDCWD, path, status, 0); }
int lstat(const char *path, struct stat *status) { return fstatat(AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW); }
int lstat64(const char *path, struct stat64 *status) { return fstatat64(AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW); }

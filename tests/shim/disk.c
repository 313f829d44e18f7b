/* A disk that is watched, and fails when it is told to (LD_PRELOAD).
 *
 * What a process does to the files below one folder goes into a record, in the order in which it was done, so that the
 * folder can be put together again as it may look after the power was lost at any moment: what was synced is there, what
 * was not may be there, in part, or not. Calls fail on command, as on a disk that is broken.
 *
 * HOLDFAST_DISK_FOLDER   absolute path of the folder
 * HOLDFAST_DISK_RECORD   the record; each entry is one append:
 *     C path                  made (or made empty)
 *     W path offset length    written, and the bytes behind the newline
 *     T path size             cut, or grown with zeros
 *     B number path           a sync begins: of a file, or of a folder
 *     E number path           it has ended well
 *     R path path             renamed
 *     U path                  removed
 *     M path                  folder made
 * HOLDFAST_DISK_ORDER    while this file is there, one line: CALL SUFFIX ERRNO
 *     CALL is `sync`, `write` or `torn` (half of it is written first); SUFFIX ends the path.
 *     Each failure is appended to the order's name with `.met`.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES 65536

static const char *folder;
static size_t folder_length;
static const char *order;
static int record = -1;
static char *paths[FILES];
static atomic_ulong syncs;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int (*next_open)(const char *, int, ...);
static int (*next_close)(int);
static ssize_t (*next_write)(int, const void *, size_t);
static ssize_t (*next_pwrite)(int, const void *, size_t, off_t);
static int (*next_ftruncate)(int, off_t);
static int (*next_fsync)(int);
static int (*next_fdatasync)(int);
static int (*next_rename)(const char *, const char *);
static int (*next_unlink)(const char *);
static int (*next_mkdir)(const char *, mode_t);

static void *next(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL)
        abort();
    return found;
}

/* Other libraries may open files before a constructor of ours would run. */
static void begin(void)
{
    if (next_open != NULL)
        return;
    *(void **)&next_close = next("close");
    *(void **)&next_write = next("write");
    *(void **)&next_pwrite = next("pwrite");
    *(void **)&next_ftruncate = next("ftruncate");
    *(void **)&next_fsync = next("fsync");
    *(void **)&next_fdatasync = next("fdatasync");
    *(void **)&next_rename = next("rename");
    *(void **)&next_unlink = next("unlink");
    *(void **)&next_mkdir = next("mkdir");
    *(void **)&next_open = next("open");
    folder = getenv("HOLDFAST_DISK_FOLDER");
    order = getenv("HOLDFAST_DISK_ORDER");
    const char *name = getenv("HOLDFAST_DISK_RECORD");
    if (folder == NULL || name == NULL)
        abort();
    folder_length = strlen(folder);
    record = next_open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (record < 0)
        abort();
}

/* The path below the folder, or NULL for what is elsewhere. */
static const char *below(const char *path)
{
    if (folder == NULL || strncmp(path, folder, folder_length) != 0)
        return NULL;
    if (path[folder_length] == '\0')
        return ".";
    return path[folder_length] == '/' ? path + folder_length + 1 : NULL;
}

static const char *of(int fd)
{
    return fd >= 0 && fd < FILES ? paths[fd] : NULL;
}

static void tell(const void *bytes, size_t length, const char *format, ...)
{
    char head[2 * PATH_MAX + 64];
    va_list rest;
    va_start(rest, format);
    int size = vsnprintf(head, sizeof head - 1, format, rest);
    va_end(rest);
    head[size++] = '\n';
    struct iovec parts[2] = {{head, (size_t)size}, {(void *)bytes, length}};
    if (writev(record, parts, bytes == NULL ? 1 : 2) != (ssize_t)((size_t)size + length))
        abort();
}

/* Whether this call is to fail; the error number, or 0. */
static int fails(const char *call, const char *path)
{
    char line[PATH_MAX + 64], wanted[16], suffix[PATH_MAX];
    int error = 0;
    if (order == NULL)
        return 0;
    int fd = next_open(order, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t size = read(fd, line, sizeof line - 1);
    next_close(fd);
    if (size <= 0)
        return 0;
    line[size] = '\0';
    if (sscanf(line, "%15s %4095s %d", wanted, suffix, &error) != 3 || strcmp(wanted, call) != 0)
        return 0;
    size_t tail = strlen(suffix), whole = strlen(path);
    if (whole < tail || strcmp(path + whole - tail, suffix) != 0)
        return 0;
    char met[PATH_MAX];
    snprintf(met, sizeof met, "%s.met", order);
    fd = next_open(met, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd >= 0) {
        dprintf(fd, "%s %s\n", call, path);
        next_close(fd);
    }
    return error;
}

static int opened(const char *path, int flags, mode_t mode)
{
    begin();
    const char *inside = below(path);
    if (inside == NULL)
        return next_open(path, flags, mode);
    pthread_mutex_lock(&lock);
    struct stat there;
    int was = stat(path, &there) == 0;
    int fd = next_open(path, flags, mode);
    int said = errno;
    if (fd >= 0 && fd < FILES) {
        free(paths[fd]);
        paths[fd] = strdup(inside);
        if ((flags & O_CREAT && !was) || (flags & O_TRUNC && was))
            tell(NULL, 0, "C %s", inside);
    }
    pthread_mutex_unlock(&lock);
    errno = said;
    return fd;
}

#pragma GCC visibility push(default)

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...)                                                                         \
    {                                                                                                                  \
        mode_t mode = 0;                                                                                               \
        if (flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))) {                                                          \
            va_list rest;                                                                                              \
            va_start(rest, flags);                                                                                     \
            mode = va_arg(rest, mode_t);                                                                               \
            va_end(rest);                                                                                              \
        }                                                                                                              \
        return opened(path, flags, mode);                                                                              \
    }
OPEN(open)
OPEN(open64)

int close(int fd)
{
    begin();
    if (of(fd) != NULL) {
        pthread_mutex_lock(&lock);
        free(paths[fd]);
        paths[fd] = NULL;
        pthread_mutex_unlock(&lock);
    }
    return next_close(fd);
}

static ssize_t written(int fd, const void *bytes, size_t length, off_t at)
{
    begin();
    const char *path = of(fd);
    if (path == NULL)
        return at < 0 ? next_write(fd, bytes, length) : next_pwrite(fd, bytes, length, at);
    int error = fails("write", path);
    int torn = error == 0 ? fails("torn", path) : 0;
    if (error != 0) {
        errno = error;
        return -1;
    }
    pthread_mutex_lock(&lock);
    size_t some = torn != 0 ? length / 2 : length;
    ssize_t done = at < 0 ? next_write(fd, bytes, some) : next_pwrite(fd, bytes, some, at);
    int said = errno;
    if (done > 0) {
        off_t where = at < 0 ? lseek(fd, 0, SEEK_CUR) - done : at;
        tell(bytes, (size_t)done, "W %s %lld %zd", path, (long long)where, done);
    }
    pthread_mutex_unlock(&lock);
    errno = torn != 0 ? torn : said;
    return torn != 0 ? -1 : done;
}

ssize_t write(int fd, const void *bytes, size_t length)
{
    return written(fd, bytes, length, -1);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at)
{
    return written(fd, bytes, length, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t at)
{
    return written(fd, bytes, length, at);
}

static int cut(int fd, off_t size)
{
    begin();
    const char *path = of(fd);
    if (path == NULL)
        return next_ftruncate(fd, size);
    pthread_mutex_lock(&lock);
    int done = next_ftruncate(fd, size);
    int said = errno;
    if (done == 0)
        tell(NULL, 0, "T %s %lld", path, (long long)size);
    pthread_mutex_unlock(&lock);
    errno = said;
    return done;
}

int ftruncate(int fd, off_t size)
{
    return cut(fd, size);
}

int ftruncate64(int fd, off_t size)
{
    return cut(fd, size);
}

/* What was written before the beginning is durable at the end; a failed one has no end. */
static int synced(int fd, int (**which)(int))
{
    begin();
    int (*call)(int) = *which;
    const char *path = of(fd);
    if (path == NULL)
        return call(fd);
    int error = fails("sync", path);
    if (error != 0) {
        errno = error;
        return -1;
    }
    unsigned long number = atomic_fetch_add(&syncs, 1);
    pthread_mutex_lock(&lock);
    char *name = strdup(path);
    tell(NULL, 0, "B %d.%lu %s", getpid(), number, name);
    pthread_mutex_unlock(&lock);
    int done = call(fd);
    int said = errno;
    pthread_mutex_lock(&lock);
    if (done == 0)
        tell(NULL, 0, "E %d.%lu %s", getpid(), number, name);
    pthread_mutex_unlock(&lock);
    free(name);
    errno = said;
    return done;
}

int fsync(int fd)
{
    return synced(fd, &next_fsync);
}

int fdatasync(int fd)
{
    return synced(fd, &next_fdatasync);
}

int rename(const char *from, const char *to)
{
    begin();
    const char *a = below(from), *b = below(to);
    pthread_mutex_lock(&lock);
    int done = next_rename(from, to);
    int said = errno;
    if (done == 0 && a != NULL && b != NULL)
        tell(NULL, 0, "R %s %s", a, b);
    pthread_mutex_unlock(&lock);
    errno = said;
    return done;
}

int unlink(const char *path)
{
    begin();
    const char *inside = below(path);
    pthread_mutex_lock(&lock);
    int done = next_unlink(path);
    int said = errno;
    if (done == 0 && inside != NULL)
        tell(NULL, 0, "U %s", inside);
    pthread_mutex_unlock(&lock);
    errno = said;
    return done;
}

int mkdir(const char *path, mode_t mode)
{
    begin();
    const char *inside = below(path);
    pthread_mutex_lock(&lock);
    int done = next_mkdir(path, mode);
    int said = errno;
    if (done == 0 && inside != NULL)
        tell(NULL, 0, "M %s", inside);
    pthread_mutex_unlock(&lock);
    errno = said;
    return done;
}

#pragma GCC visibility pop

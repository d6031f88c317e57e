/* A process that dies at its n-th write: preloaded into the program under test.
 *
 * While the file KILL_ARMED exists, everything that leaves the process is counted: writes to files and to sockets, syncs and
 * cuts of files. At number KILL_AT the process gets a SIGKILL, with half of the bytes of a write written, and before a sync.
 * Where KILL_COMMITTED is set it gets it elsewhere: when COMMIT was sent to a server, or a file was synced. Wakers of the event
 * loop and pipes are not counted. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long counted;

static int is_last(int file) {
    const char *armed = getenv("KILL_ARMED");
    const char *at = getenv("KILL_AT");
    struct stat status;
    if (!armed || !at || access(armed, F_OK)) return 0;
    if (fstat(file, &status) || !(S_ISREG(status.st_mode) || S_ISDIR(status.st_mode) || S_ISSOCK(status.st_mode))) return 0;
    return atomic_fetch_add(&counted, 1) + 1 == atol(at);
}

static int commits(void) {
    const char *armed = getenv("KILL_ARMED");
    return getenv("KILL_COMMITTED") && armed && !access(armed, F_OK);
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

#define REAL(name, result, ...) \
    static result (*real)(__VA_ARGS__); \
    if (!real) real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

ssize_t write(int file, const void *bytes, size_t count) {
    REAL("write", ssize_t, int, const void *, size_t);
    if (is_last(file)) {
        real(file, bytes, count / 2);
        die();
    }
    return real(file, bytes, count);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t at) {
    REAL("pwrite", ssize_t, int, const void *, size_t, off_t);
    if (is_last(file)) {
        real(file, bytes, count / 2, at);
        die();
    }
    return real(file, bytes, count, at);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t at) {
    REAL("pwrite64", ssize_t, int, const void *, size_t, off64_t);
    if (is_last(file)) {
        real(file, bytes, count / 2, at);
        die();
    }
    return real(file, bytes, count, at);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    REAL("writev", ssize_t, int, const struct iovec *, int);
    if (is_last(file)) {
        real(file, parts, count / 2);
        die();
    }
    return real(file, parts, count);
}

ssize_t send(int file, const void *bytes, size_t count, int flags) {
    REAL("send", ssize_t, int, const void *, size_t, int);
    if (is_last(file)) {
        real(file, bytes, count / 2, flags);
        die();
    }
    ssize_t sent = real(file, bytes, count, flags);
    if (commits() && memmem(bytes, count, "COMMIT\0", 7)) die();
    return sent;
}

ssize_t sendmsg(int file, const struct msghdr *message, int flags) {
    REAL("sendmsg", ssize_t, int, const struct msghdr *, int);
    if (is_last(file)) die();
    return real(file, message, flags);
}

int fsync(int file) {
    REAL("fsync", int, int);
    if (is_last(file)) die();
    int result = real(file);
    if (commits()) die();
    return result;
}

int fdatasync(int file) {
    REAL("fdatasync", int, int);
    if (is_last(file)) die();
    int result = real(file);
    if (commits()) die();
    return result;
}

int ftruncate(int file, off_t length) {
    REAL("ftruncate", int, int, off_t);
    if (is_last(file)) die();
    return real(file, length);
}

int ftruncate64(int file, off64_t length) {
    REAL("ftruncate64", int, int, off64_t);
    if (is_last(file)) die();
    return real(file, length);
}

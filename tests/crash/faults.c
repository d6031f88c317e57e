/* A disk that forgets: preloaded into the server under test.
 *
 * Below FAULTS_FOLDER nothing is durable but what was synced, and names and contents are synced apart, as POSIX has it:
 *
 * - fsync(2) or fdatasync(2) of a file keeps its content and permissions, as it is at that moment, under the file's identity in
 *   FAULTS_DURABLE/contents. It keeps no name: a file whose folder was never synced is not found after the power is back.
 * - rename(2) of a folder takes along what is durable in it.
 * - fsync(2) of a folder keeps its names in FAULTS_DURABLE/names, where each file holds the identity of what it names. A name of
 *   a file that was never synced itself names an empty file. Removed names are gone, renamed ones name what they name now.
 *
 * After the server is killed, the test puts together what is durable and continues with that: all else is gone, which is what a
 * power cut may do and a kill cannot. Nothing is really synced, so the tests are fast.
 *
 * While the file FAULTS_BREAK exists, the sync of any file whose path contains its content fails with EIO; while FAULTS_HOLD
 * exists, such a sync does not return, and FAULTS_HELD says that there is one. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOM (PATH_MAX + 512)

static const char *below(const char *path) {
    const char *folder = getenv("FAULTS_FOLDER");
    size_t length = folder ? strlen(folder) : 0;
    if (!length || strncmp(path, folder, length)) return NULL;
    return path[length] == '/' || !path[length] ? path + length : NULL;
}

static int marked(const char *variable, const char *path) {
    const char *mark = getenv(variable);
    char word[256] = "";
    int file = mark ? open(mark, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return 0;
    ssize_t count = read(file, word, sizeof word - 1);
    close(file);
    return count > 0 && strstr(path, word) != NULL;
}

/* A number that is given to a new file again is told apart by the time of birth. */
static int identify(int folder, const char *name, int flags, char *identity, size_t room) {
    struct statx status;
    if (statx(folder, name, flags | AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_BTIME, &status)) return -1;
    snprintf(identity, room, "%llu-%lld-%09u", (unsigned long long)status.stx_ino, (long long)status.stx_btime.tv_sec,
             status.stx_btime.tv_nsec);
    return 0;
}

static void temporary_name(char *name, size_t room) {
    snprintf(name, room, "%s/writing.%d", getenv("FAULTS_DURABLE"), (int)gettid());
}

/* Copies from `at` to the end; the descriptor of the caller may be for writing only, so the file is opened again. */
static int copy_from(int from, off_t at, int to) {
    char own[64], buffer[65536];
    ssize_t count;
    snprintf(own, sizeof own, "/proc/self/fd/%d", from);
    int reading = open(own, O_RDONLY | O_CLOEXEC);
    if (reading < 0) return -1;
    while ((count = pread(reading, buffer, sizeof buffer, at)) > 0) {
        if (pwrite(to, buffer, count, at) != count) {
            count = -1;
            break;
        }
        at += count;
    }
    close(reading);
    return count < 0 ? -1 : 0;
}

static int keep_content(int file) {
    char identity[128], kept[ROOM], writing[ROOM];
    struct stat now, before;
    if (identify(file, "", AT_EMPTY_PATH, identity, sizeof identity) || fstat(file, &now)) return -1;
    snprintf(kept, sizeof kept, "%s/contents/%s", getenv("FAULTS_DURABLE"), identity);
    /* What is only appended to is kept by its new end. A kill in the middle keeps a part of it, as a disk may. */
    if ((fcntl(file, F_GETFL) & O_APPEND) && !stat(kept, &before) && before.st_size <= now.st_size) {
        int to = open(kept, O_WRONLY | O_CLOEXEC);
        int result = to < 0 ? -1 : copy_from(file, before.st_size, to);
        if (to >= 0) close(to);
        return result;
    }
    temporary_name(writing, sizeof writing);
    int to = open(writing, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (to < 0) return -1;
    int result = copy_from(file, 0, to) || fchmod(to, now.st_mode & 0777);
    close(to);
    return result ? result : rename(writing, kept);
}

static int keep_names(const char *path, const char *rest) {
    char names[ROOM], here[ROOM], there[ROOM], writing[ROOM], identity[128];
    struct dirent *entry;
    struct stat status;
    snprintf(names, sizeof names, "%s/names%s", getenv("FAULTS_DURABLE"), rest);
    /* A folder that was synced, but not the one that it is in, has no name yet; its names wait here for it. */
    for (char *slash = strchr(names + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(names, 0700);
        *slash = '/';
    }
    mkdir(names, 0700);
    DIR *folder = opendir(names);
    while (folder && (entry = readdir(folder))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") || !strcmp(entry->d_name, ".named")) continue;
        snprintf(here, sizeof here, "%s/%s", path, entry->d_name);
        snprintf(there, sizeof there, "%s/%s", names, entry->d_name);
        if (lstat(here, &status) && errno == ENOENT) unlink(there);
    }
    if (folder) closedir(folder);
    folder = opendir(path);
    if (!folder) return -1;
    while ((entry = readdir(folder))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        snprintf(here, sizeof here, "%s/%s", path, entry->d_name);
        snprintf(there, sizeof there, "%s/%s", names, entry->d_name);
        if (lstat(here, &status)) continue;
        if (S_ISDIR(status.st_mode)) {
            mkdir(there, 0700);
            chmod(there, status.st_mode & 0777);
            snprintf(there, sizeof there, "%s/%s/.named", names, entry->d_name);
            int mark = open(there, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
            if (mark >= 0) close(mark);
        } else if (S_ISREG(status.st_mode) && !identify(AT_FDCWD, here, 0, identity, sizeof identity)) {
            temporary_name(writing, sizeof writing);
            int to = open(writing, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
            if (to < 0) continue;
            ssize_t written = write(to, identity, strlen(identity));
            close(to);
            if (written < 0 || rename(writing, there)) break;
        }
    }
    closedir(folder);
    return 0;
}

static int keep(int file) {
    char own[64], path[PATH_MAX];
    struct stat status;
    int before = errno;
    snprintf(own, sizeof own, "/proc/self/fd/%d", file);
    ssize_t length = readlink(own, path, sizeof path - 1);
    if (length <= 0) {
        errno = EBADF;
        return -1;
    }
    path[length] = 0;
    const char *rest = below(path);
    if (!rest) return 0;
    while (marked("FAULTS_HOLD", path)) {
        close(open(getenv("FAULTS_HELD"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        usleep(1000);
    }
    if (marked("FAULTS_BREAK", path)) {
        errno = EIO;
        return -1;
    }
    if (fstat(file, &status)) return -1;
    int result = S_ISDIR(status.st_mode) ? keep_names(path, rest) : keep_content(file);
    if (!result) errno = before;
    return result;
}

int fsync(int file) { return keep(file); }
int fdatasync(int file) { return keep(file); }

/* What a folder has durably in it goes along when it is renamed; its new name is durable when its parent is synced. */
int rename(const char *from, const char *to) {
    char before[ROOM], after[ROOM];
    struct stat status;
    int (*real)(const char *, const char *) = (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
    if (!real) abort();
    int result = real(from, to);
    const char *old = below(from), *new = below(to);
    if (!result && old && new && !lstat(to, &status) && S_ISDIR(status.st_mode)) {
        snprintf(before, sizeof before, "%s/names%s/.named", getenv("FAULTS_DURABLE"), old);
        unlink(before);
        *strrchr(before, '/') = 0;
        snprintf(after, sizeof after, "%s/names%s", getenv("FAULTS_DURABLE"), new);
        real(before, after);
        errno = 0;
    }
    return result;
}

/* Stands between a process and the system (LD_PRELOAD), for faults that cannot be had otherwise.
 *
 * SHIM_SYNCED names a folder that holds what a disk would hold after a power cut at this moment, in the worst case: each
 * regular file in SHIM_DATA as it was when it was last synced, and nothing that was written since. A file that was
 * removed is gone only when its folder has been synced after that.
 *
 * SHIM_READ_ONLY names a file: while it exists nothing in SHIM_DATA can be written or synced, as on a disk that the
 * system has made read-only after a fault.
 *
 * SHIM_CLOCK names a file with a number of seconds that is added to the wall clock; it may change at any time.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static void fail(const char *what) {
    perror(what);
    abort(); /* a copy that is wrong would make a test that says nothing */
}

static void copy(int from, const char *to) {
    static char buffer[1 << 20];
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (out < 0) fail("shim: open");
    off_t at = 0;
    ssize_t got;
    while ((got = pread(from, buffer, sizeof buffer, at)) > 0) {
        if (write(out, buffer, got) != got) fail("shim: write");
        at += got;
    }
    if (got < 0) fail("shim: read");
    close(out);
}

static void forget_removed(const char *data, const char *synced) {
    char path[PATH_MAX];
    DIR *folder = opendir(synced);
    if (!folder) fail("shim: opendir");
    for (struct dirent *entry; (entry = readdir(folder));) {
        snprintf(path, sizeof path, "%s/%s", data, entry->d_name);
        if (entry->d_name[0] == '.' || access(path, F_OK) == 0) continue;
        snprintf(path, sizeof path, "%s/%s", synced, entry->d_name);
        if (unlink(path)) fail("shim: unlink");
    }
    closedir(folder);
}

static void keep(int fd) {
    const char *data = getenv("SHIM_DATA"), *synced = getenv("SHIM_SYNCED");
    char link[64], path[PATH_MAX], next[PATH_MAX], last[PATH_MAX];
    struct stat status;
    if (!data || !synced || fstat(fd, &status)) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return;
    path[length] = 0;
    if (strncmp(path, data, strlen(data))) return;
    if (S_ISDIR(status.st_mode)) {
        pthread_mutex_lock(&one_at_a_time);
        forget_removed(data, synced);
        pthread_mutex_unlock(&one_at_a_time);
        return;
    }
    if (!S_ISREG(status.st_mode)) return;
    const char *name = strrchr(path, '/') + 1;
    snprintf(next, sizeof next, "%s/.%s", synced, name);
    snprintf(last, sizeof last, "%s/%s", synced, name);
    pthread_mutex_lock(&one_at_a_time);
    copy(fd, next);
    if (rename(next, last)) fail("shim: rename");
    pthread_mutex_unlock(&one_at_a_time);
}

/* Whether the file is in the folder that can be written no more. Sets errno. */
static int read_only(int fd) {
    const char *data = getenv("SHIM_DATA"), *flag = getenv("SHIM_READ_ONLY");
    char link[64], path[PATH_MAX];
    if (!data || !flag || access(flag, F_OK)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (strncmp(path, data, strlen(data))) return 0;
    errno = EROFS;
    return 1;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = dlsym(RTLD_NEXT, "write");
    return read_only(fd) ? -1 : real(fd, bytes, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    static ssize_t (*real)(int, const void *, size_t, off_t);
    if (!real) real = dlsym(RTLD_NEXT, "pwrite");
    return read_only(fd) ? -1 : real(fd, bytes, count, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real) real = dlsym(RTLD_NEXT, "pwrite64");
    return read_only(fd) ? -1 : real(fd, bytes, count, at);
}

int fsync(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    if (read_only(fd)) return -1;
    int result = real(fd);
    if (result == 0) keep(fd);
    return result;
}

int fdatasync(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    if (read_only(fd)) return -1;
    int result = real(fd);
    if (result == 0) keep(fd);
    return result;
}

static long shift(void) {
    static int file = -2;
    if (file == -2) {
        const char *path = getenv("SHIM_CLOCK");
        file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    }
    char text[32] = {0};
    return file >= 0 && pread(file, text, sizeof text - 1, 0) > 0 ? atol(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    if (result == 0 && clock == CLOCK_REALTIME) time->tv_sec += shift();
    return result;
}

int gettimeofday(struct timeval *time, void *zone) {
    struct timespec now;
    (void)zone;
    int result = clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return result;
}

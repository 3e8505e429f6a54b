/* tests/lib/disk_shim.c
 *
 * A disk that forgets: LD_PRELOAD this into a process, name a directory, and the shim keeps beside
 * it what that directory would hold after a power cut right now (disk_state.h). Syncs copy to
 * that image what they make durable and nothing else reaches it; disk_cut then takes the
 * directory back to the image, with torn tails, once the processes are dead. kill -9 alone is no
 * power cut: the page cache survives it. Besides, the disk can fail, stall, fill up or end the
 * process at a chosen operation. README.md beside this file tells how to use it.
 *
 * What counts as durable: bytes of a file by fsync or fdatasync of it (sync_file_range promises
 * nothing, so it does nothing here); names, renames and removals by fsync of their directory. Not
 * followed: mmap, renames of directories, stdio (RocksDB's own info log).
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "disk_state.h"

#define PUBLIC __attribute__((visibility("default")))
#define FDS_MAX 65536
#define PART ((size_t)256 << 10)

/* One inode that is or was open here. */
struct file {
    struct file *next;
    ino_t inode;
    bool whole;   /* what is dirty is not known: copy all of it */
    bool syncing; /* by another thread */
    off_t lo, hi; /* dirty, empty when lo == hi */
};

static char root[PATH_MAX];
static size_t root_size;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct file *by_fd[FDS_MAX];
static struct file *by_inode[1024];
static uint64_t random_state = 88172645463325252ULL;

#define REAL(name) ((__typeof__(&name))real(#name))
static void *real(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

/* ---- switches */

struct control {
    long fsync_errors, fsync_delay_ms, write_delay_ms, stall, space, write_left, kill_after,
        real_sync;
    char only[64];
};
static struct control control = {.write_left = -1};
static struct timespec control_time;
static long operations, used; /* used: bytes that files below root hold, when space is limited */

static void parse_control(const char *text)
{
    struct control next = {.write_left = -1};
    static const struct {
        const char *name;
        size_t at;
    } fields[] = {
        {"fsync_errors=", offsetof(struct control, fsync_errors)},
        {"fsync_delay_ms=", offsetof(struct control, fsync_delay_ms)},
        {"write_delay_ms=", offsetof(struct control, write_delay_ms)},
        {"stall=", offsetof(struct control, stall)},
        {"space=", offsetof(struct control, space)},
        {"write_left=", offsetof(struct control, write_left)},
        {"kill_after=", offsetof(struct control, kill_after)},
        {"real_sync=", offsetof(struct control, real_sync)},
    };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        const char *at = strstr(text, fields[i].name);
        if (at != NULL) {
            *(long *)((char *)&next + fields[i].at) = atol(at + strlen(fields[i].name));
        }
    }
    const char *only = strstr(text, "only=");
    if (only != NULL) {
        (void)sscanf(only, "only=%63s", next.only);
    }
    control = next;
    operations = 0;
}

static long measure(const char *path)
{
    DIR *dir = opendir(path);
    long sum = 0;
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        char name[PATH_MAX];
        struct stat info;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            snprintf(name, sizeof(name), "%s/%s", path, entry->d_name) >= PATH_MAX ||
            lstat(name, &info) != 0) {
            continue;
        }
        sum += S_ISDIR(info.st_mode) ? measure(name) : (long)info.st_size;
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return sum;
}

/* Locked. */
static void look_at_control(void)
{
    char path[PATH_MAX], text[1024];
    struct stat info;
    snprintf(path, sizeof(path), "%s" DISK_SUFFIX "/control", root);
    if (stat(path, &info) != 0 || (info.st_mtim.tv_sec == control_time.tv_sec &&
                                   info.st_mtim.tv_nsec == control_time.tv_nsec)) {
        return;
    }
    int fd = REAL(open)(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0) {
        REAL(close)(fd);
    }
    if (size >= 0) {
        text[size] = '\0';
        control_time = info.st_mtim;
        parse_control(text);
        used = control.space > 0 ? measure(root) : 0;
    }
}

/* Locked; what each call that changes the disk passes. Waits out a stall, counts down to the end
 * of the process. True: this is the operation that kills (a write leaves a part first). */
static bool pass(void)
{
    look_at_control();
    while (control.stall) {
        pthread_mutex_unlock(&lock);
        usleep(2000);
        pthread_mutex_lock(&lock);
        look_at_control();
    }
    return control.kill_after > 0 && ++operations >= control.kill_after;
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;) {
        pause();
    }
}

static uint64_t draw(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static void delay(long ms)
{
    if (ms > 0) {
        pthread_mutex_unlock(&lock);
        usleep((useconds_t)ms * 1000);
        pthread_mutex_lock(&lock);
    }
}

/* ---- the image */

/* The part of an absolute path below root, "" for root itself; NULL: not below it. */
static const char *below(const char *path)
{
    if (root_size == 0 || strncmp(path, root, root_size) != 0) {
        return NULL;
    }
    return path[root_size] == '\0' ? "" : path[root_size] == '/' ? path + root_size + 1 : NULL;
}

static bool path_of(int fd, char to[PATH_MAX])
{
    char link[64];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, to, PATH_MAX - 1);
    to[size > 0 ? size : 0] = '\0';
    return size > 0;
}

/* The directory of `path`, canonical, and its last component; false: not below root. */
static bool split(const char *path, char dir[PATH_MAX], const char **name)
{
    char copy[PATH_MAX];
    const char *slash = strrchr(path, '/');
    *name = slash == NULL ? path : slash + 1;
    size_t size = slash == NULL ? 1 : (size_t)(slash - path);
    if (root_size == 0 || size >= sizeof(copy)) {
        return false;
    }
    memcpy(copy, slash == NULL ? "." : path, size);
    copy[size] = '\0';
    return realpath(size == 0 ? "/" : copy, dir) != NULL && below(dir) != NULL;
}

static bool copy_range(int from, int to, off_t lo, off_t hi)
{
    static char part[PART]; /* locked */
    while (lo < hi) {
        size_t want = (size_t)(hi - lo) < sizeof(part) ? (size_t)(hi - lo) : sizeof(part);
        ssize_t got = pread(from, part, want, lo);
        if (got <= 0) {
            return got == 0; /* shorter by now: ftruncate came after the write */
        }
        if (REAL(pwrite)(to, part, (size_t)got, lo) != got) {
            return false;
        }
        lo += got;
    }
    return true;
}

/* Makes [lo, hi) of the open file durable, or all of it; always its size. */
static void keep_bytes(int fd, const struct stat *info, bool whole, off_t lo, off_t hi)
{
    char self[64], path[PATH_MAX];
    snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
    disk_inode_path(path, root, "i", info->st_ino);
    int from = REAL(open)(self, O_RDONLY | O_CLOEXEC);
    int to = REAL(open)(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (from < 0 || to < 0 ||
        !copy_range(from, to, whole ? 0 : lo, whole ? info->st_size : hi) ||
        REAL(ftruncate)(to, info->st_size) != 0) {
        abort(); /* the image is not what it says: better no result than a wrong one */
    }
    REAL(close)(from);
    REAL(close)(to);
}

/* Whether a durable directory lists the inode. */
static bool is_listed(const char *dir, unsigned long inode)
{
    char path[PATH_MAX], line[PATH_MAX];
    disk_names_path(path, root, below(dir));
    FILE *names = fopen(path, "re");
    bool found = false;
    while (names != NULL && !found && fgets(line, sizeof(line), names) != NULL) {
        unsigned long listed = 0;
        found = sscanf(line, "%*c %lu", &listed) == 1 && listed == inode;
    }
    if (names != NULL) {
        fclose(names);
    }
    return found;
}

/* Writes the durable list of a directory as it is now; removed files may go for good. */
static void keep_names(const char *dir)
{
    char path[PATH_MAX], fresh[PATH_MAX + 4], line[PATH_MAX];
    disk_names_path(path, root, below(dir));
    snprintf(fresh, sizeof(fresh), "%s.new", path);
    FILE *to = fopen(fresh, "we");
    DIR *from = opendir(dir);
    if (to == NULL || from == NULL) {
        abort();
    }
    for (struct dirent *entry; (entry = readdir(from)) != NULL;) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            fprintf(to, "%c %lu %s\n", entry->d_type == DT_DIR ? 'd' : 'f',
                    (unsigned long)entry->d_ino, entry->d_name);
        }
    }
    closedir(from);
    if (fclose(to) != 0) {
        abort();
    }
    FILE *old = fopen(path, "re");
    REAL(rename)(fresh, path);
    while (old != NULL && fgets(line, sizeof(line), old) != NULL) {
        unsigned long inode = 0;
        char grave[PATH_MAX], image[PATH_MAX];
        if (sscanf(line, "f %lu", &inode) == 1 && !is_listed(dir, inode)) {
            disk_inode_path(grave, root, "g", inode);
            disk_inode_path(image, root, "i", inode);
            if (access(grave, F_OK) == 0) { /* else it moved to another directory */
                REAL(unlink)(image);
                REAL(unlink)(grave);
            }
        }
    }
    if (old != NULL) {
        fclose(old);
    }
}

/* A name of this inode in `dir` is about to go. */
static void before_removal(const char *path, const char *dir)
{
    struct stat info;
    if (lstat(path, &info) != 0 || !S_ISREG(info.st_mode)) {
        return;
    }
    char to[PATH_MAX];
    if (is_listed(dir, info.st_ino)) {
        disk_inode_path(to, root, "g", info.st_ino);
        if (REAL(link)(path, to) != 0 && errno != EEXIST) {
            abort();
        }
    } else if (info.st_nlink == 1) {
        disk_inode_path(to, root, "i", info.st_ino);
        REAL(unlink)(to);
    }
    if (control.space > 0 && info.st_nlink == 1) {
        used -= (long)info.st_size;
    }
}

/* What is there at the start counts as durable. */
static void keep_all(const char *dir)
{
    DIR *from = opendir(dir);
    for (struct dirent *entry; from != NULL && (entry = readdir(from)) != NULL;) {
        char path[PATH_MAX];
        struct stat info;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name) >= PATH_MAX ||
            lstat(path, &info) != 0) {
            continue;
        }
        if (S_ISDIR(info.st_mode)) {
            keep_all(path);
        } else if (S_ISREG(info.st_mode)) {
            int fd = REAL(open)(path, O_RDONLY | O_CLOEXEC);
            if (fd >= 0) {
                keep_bytes(fd, &info, true, 0, 0);
                REAL(close)(fd);
            }
        }
    }
    if (from != NULL) {
        closedir(from);
    }
    keep_names(dir);
}

__attribute__((constructor)) static void begin(void)
{
    const char *dir = getenv("COFFER_DISK_DIR"), *text = getenv("COFFER_DISK");
    if (dir == NULL) {
        return;
    }
    REAL(mkdir)(dir, 0700);
    if (realpath(dir, root) == NULL) {
        root[0] = '\0';
        return;
    }
    char path[PATH_MAX];
    static const char *const parts[] = {"", "/names", "/i", "/g"};
    bool fresh = false;
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        snprintf(path, sizeof(path), "%s" DISK_SUFFIX "%s", root, parts[i]);
        fresh |= REAL(mkdir)(path, 0700) == 0;
    }
    root_size = strlen(root);
    random_state ^= (uint64_t)getpid() << 32;
    if (text != NULL) {
        parse_control(text);
        used = control.space > 0 ? measure(root) : 0;
    }
    if (fresh) {
        pthread_mutex_lock(&lock);
        keep_all(root);
        pthread_mutex_unlock(&lock);
    }
}

/* ---- open files */

static struct file *file_of(ino_t inode)
{
    struct file **at = &by_inode[inode % 1024];
    while (*at != NULL && (*at)->inode != inode) {
        at = &(*at)->next;
    }
    if (*at == NULL) {
        *at = calloc(1, sizeof(**at));
        if (*at != NULL) {
            (*at)->inode = inode;
        }
    }
    return *at;
}

/* Locked. */
static struct file *find(int fd, struct stat *info)
{
    if (fd < 0 || fd >= FDS_MAX || by_fd[fd] == NULL || fstat(fd, info) != 0) {
        return NULL;
    }
    return by_fd[fd]->inode == info->st_ino ? by_fd[fd] : NULL;
}

static void opened(int fd, int flags)
{
    char path[PATH_MAX];
    struct stat info;
    if (fd < 0 || fd >= FDS_MAX || root_size == 0) {
        return;
    }
    pthread_mutex_lock(&lock);
    by_fd[fd] = NULL;
    if (path_of(fd, path) && below(path) != NULL && fstat(fd, &info) == 0 &&
        (S_ISREG(info.st_mode) || S_ISDIR(info.st_mode))) {
        struct file *file = file_of(info.st_ino);
        by_fd[fd] = file;
        /* An inode number may be that of another file by now, or have been written earlier. */
        if (file != NULL && info.st_size == 0) {
            file->lo = file->hi = 0;
        } else if (file != NULL && (flags & O_ACCMODE) != O_RDONLY) {
            file->whole = true;
        }
    }
    pthread_mutex_unlock(&lock);
}

static int open_any(const char *path, int flags, mode_t mode)
{
    char dir[PATH_MAX];
    const char *name;
    if (flags & (O_CREAT | O_TRUNC) && split(path, dir, &name)) {
        pthread_mutex_lock(&lock);
        if (pass()) {
            die();
        }
        struct stat info;
        if (control.space > 0 && flags & O_TRUNC && stat(path, &info) == 0) {
            used -= (long)info.st_size;
        }
        pthread_mutex_unlock(&lock);
    }
    int fd = REAL(open)(path, flags, mode);
    opened(fd, flags);
    return fd;
}

static mode_t mode_of(int flags, va_list list)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;
}

PUBLIC int open(const char *path, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    mode_t mode = mode_of(flags, list);
    va_end(list);
    return open_any(path, flags, mode);
}

PUBLIC int open64(const char *path, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    mode_t mode = mode_of(flags, list);
    va_end(list);
    return open_any(path, flags | O_LARGEFILE, mode);
}

PUBLIC int close(int fd)
{
    if (fd >= 0 && fd < FDS_MAX && root_size > 0) {
        pthread_mutex_lock(&lock);
        by_fd[fd] = NULL;
        pthread_mutex_unlock(&lock);
    }
    return REAL(close)(fd);
}

/* ---- writing */

static bool chosen(int fd)
{
    char path[PATH_MAX];
    return control.only[0] == '\0' || (path_of(fd, path) && strstr(path, control.only) != NULL);
}

/* Locked. How many of `size` bytes at `at` there is room for; 0: none. */
static size_t room(const struct stat *info, off_t at, size_t size)
{
    long grows = (long)at + (long)size - (long)info->st_size;
    if (grows > 0 && control.space > 0 && used + grows > control.space) {
        long fits = (long)size - (used + grows - control.space);
        size = fits > 0 ? (size_t)fits : 0;
    }
    if (control.write_left >= 0 && size > (size_t)control.write_left) {
        size = (size_t)control.write_left;
    }
    return size;
}

/* at < 0: where the descriptor stands. */
static ssize_t write_any(int fd, const void *bytes, size_t size, off_t at)
{
    struct stat info;
    if (root_size == 0) {
        return at < 0 ? REAL(write)(fd, bytes, size) : REAL(pwrite)(fd, bytes, size, at);
    }
    pthread_mutex_lock(&lock);
    struct file *file = find(fd, &info);
    if (file == NULL) {
        pthread_mutex_unlock(&lock);
        return at < 0 ? REAL(write)(fd, bytes, size) : REAL(pwrite)(fd, bytes, size, at);
    }
    bool kills = pass();
    delay(control.write_delay_ms);
    bool appends = at < 0 && (fcntl(fd, F_GETFL) & O_APPEND);
    off_t from = at >= 0 ? at : appends ? info.st_size : lseek(fd, 0, SEEK_CUR);
    size = kills ? draw() % (size + 1) : size;
    bool limited = (control.space > 0 || control.write_left >= 0) && chosen(fd);
    size_t fits = limited ? room(&info, from, size) : size;
    if (fits == 0 && size > 0) {
        pthread_mutex_unlock(&lock);
        errno = ENOSPC;
        return -1;
    }
    pthread_mutex_unlock(&lock);
    ssize_t done = at < 0 ? REAL(write)(fd, bytes, fits) : REAL(pwrite)(fd, bytes, fits, at);
    int error = errno;
    if (kills) {
        die();
    }
    pthread_mutex_lock(&lock);
    if (done > 0) {
        bool clean = file->lo == file->hi;
        file->lo = clean || from < file->lo ? from : file->lo;
        file->hi = clean || from + done > file->hi ? from + done : file->hi;
        used += from + done > info.st_size ? from + done - info.st_size : 0;
        control.write_left -= limited && control.write_left >= 0 ? done : 0;
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

PUBLIC ssize_t write(int fd, const void *bytes, size_t size)
{
    return write_any(fd, bytes, size, -1);
}

PUBLIC ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at)
{
    return write_any(fd, bytes, size, at);
}

PUBLIC ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at)
{
    return write_any(fd, bytes, size, at);
}

static int truncate_any(int fd, off_t size)
{
    struct stat info;
    pthread_mutex_lock(&lock);
    struct file *file = root_size == 0 ? NULL : find(fd, &info);
    if (file != NULL) {
        if (pass()) {
            die();
        }
        file->whole |= size < info.st_size; /* what comes back above it is zero */
        used += size - info.st_size;
    }
    pthread_mutex_unlock(&lock);
    return REAL(ftruncate)(fd, size);
}

PUBLIC int ftruncate(int fd, off_t size)
{
    return truncate_any(fd, size);
}

PUBLIC int ftruncate64(int fd, off64_t size)
{
    return truncate_any(fd, size);
}

static int reserve_any(int fd, off_t at, off_t size)
{
    struct stat info;
    pthread_mutex_lock(&lock);
    bool ours = root_size > 0 && find(fd, &info) != NULL && control.space > 0;
    long grows = ours ? (long)at + (long)size - (long)info.st_size : 0;
    bool full = grows > 0 && used + grows > control.space;
    pthread_mutex_unlock(&lock);
    int error = full ? ENOSPC : REAL(posix_fallocate)(fd, at, size);
    if (error == 0 && grows > 0) {
        pthread_mutex_lock(&lock);
        used += grows;
        pthread_mutex_unlock(&lock);
    }
    return error;
}

PUBLIC int posix_fallocate(int fd, off_t at, off_t size)
{
    return reserve_any(fd, at, size);
}

PUBLIC int posix_fallocate64(int fd, off64_t at, off64_t size)
{
    return reserve_any(fd, at, size);
}

/* ---- syncing */

static int sync_any(int fd, int (*really)(int))
{
    struct stat info;
    char path[PATH_MAX];
    pthread_mutex_lock(&lock);
    struct file *file = root_size == 0 ? NULL : find(fd, &info);
    if (file == NULL) {
        pthread_mutex_unlock(&lock);
        return really(fd);
    }
    bool kills = pass(), fails = control.fsync_errors > 0 && chosen(fd);
    while (file->syncing) { /* what that one carries is promised by this one, too */
        delay(1);
    }
    file->syncing = true;
    off_t lo = file->lo, hi = file->hi;
    bool whole = file->whole;
    file->lo = file->hi = 0;
    file->whole = false;
    (void)fstat(fd, &info); /* after a stall */
    delay(control.fsync_delay_ms);
    if (kills) {
        die();
    }
    if (fails) {
        /* As Linux does it: the error is told once, the pages count as clean, and a second sync
         * says that all is well. The bytes never arrive. */
        control.fsync_errors--;
    } else if (S_ISDIR(info.st_mode)) {
        if (path_of(fd, path)) {
            keep_names(path);
        }
    } else {
        keep_bytes(fd, &info, whole, lo, hi);
    }
    file->syncing = false;
    bool flush = control.real_sync != 0;
    pthread_mutex_unlock(&lock);
    if (fails) {
        errno = EIO;
        return -1;
    }
    return flush ? really(fd) : 0;
}

PUBLIC int fsync(int fd)
{
    return sync_any(fd, REAL(fsync));
}

PUBLIC int fdatasync(int fd)
{
    return sync_any(fd, REAL(fdatasync));
}

PUBLIC int sync_file_range(int fd, off64_t offset, off64_t size, unsigned flags)
{
    struct stat info;
    pthread_mutex_lock(&lock);
    bool ours = root_size > 0 && find(fd, &info) != NULL;
    pthread_mutex_unlock(&lock);
    return ours ? 0 : REAL(sync_file_range)(fd, offset, size, flags);
}

/* ---- names */

PUBLIC int unlink(const char *path)
{
    char dir[PATH_MAX];
    const char *name;
    if (split(path, dir, &name)) {
        pthread_mutex_lock(&lock);
        if (pass()) {
            die();
        }
        before_removal(path, dir);
        pthread_mutex_unlock(&lock);
    }
    return REAL(unlink)(path);
}

PUBLIC int rename(const char *from, const char *to)
{
    char dir[PATH_MAX];
    const char *name;
    if (split(to, dir, &name)) {
        pthread_mutex_lock(&lock);
        if (pass()) {
            die();
        }
        before_removal(to, dir);
        pthread_mutex_unlock(&lock);
    }
    return REAL(rename)(from, to);
}

PUBLIC int mkdir(const char *path, mode_t mode)
{
    char dir[PATH_MAX], whole[PATH_MAX + 256], names[PATH_MAX];
    const char *name;
    if (split(path, dir, &name)) {
        pthread_mutex_lock(&lock);
        snprintf(whole, sizeof(whole), "%s/%s", dir, name);
        if (access(whole, F_OK) != 0) { /* not what one of that name held earlier */
            disk_names_path(names, root, below(whole));
            REAL(unlink)(names);
        }
        pthread_mutex_unlock(&lock);
    }
    return REAL(mkdir)(path, mode);
}

/* ---- how much room there is */

static int space_any(const char *path, struct statvfs *ret)
{
    int result = REAL(statvfs)(path, ret);
    char whole[PATH_MAX];
    pthread_mutex_lock(&lock);
    if (root_size > 0) {
        look_at_control();
    }
    if (result == 0 && control.space > 0 && realpath(path, whole) != NULL && below(whole) != NULL) {
        long left = control.space > used ? control.space - used : 0;
        ret->f_frsize = ret->f_bsize = 1;
        ret->f_blocks = (fsblkcnt_t)control.space;
        ret->f_bfree = ret->f_bavail = (fsblkcnt_t)left;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

PUBLIC int statvfs(const char *path, struct statvfs *ret)
{
    return space_any(path, ret);
}

_Static_assert(sizeof(struct statvfs) == sizeof(struct statvfs64), "one layout");
PUBLIC int statvfs64(const char *path, struct statvfs64 *ret)
{
    return space_any(path, (struct statvfs *)ret);
}

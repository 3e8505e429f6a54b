/* tests/lib/disk_cut.c
 *
 * The power cut: takes directories, which processes under disk_shim.so wrote, back to what was
 * durable when they died. disk_cut [--seed N] [--exact] DIRECTORY...
 *
 * Without --exact what was not synced is lost in part, as disks do it: a file keeps a random
 * number of the bytes behind its durable end, some of their sectors zero; a directory that was not
 * synced shows all of its changes or none. The same seed gives the same result. Run it only when
 * the processes are dead. The image is made anew by the next process that starts.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk_state.h"

#define SECTOR 512

static uint64_t state = 1;
static bool exact;
static unsigned long files_changed, names_undone, bytes_lost, sectors_torn;

static uint64_t draw(uint64_t below)
{
    state += 0x9e3779b97f4a7c15ULL;
    uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return (z ^ (z >> 31)) % below;
}

static void fail(const char *what, const char *path)
{
    fprintf(stderr, "disk_cut: can't %s %s: %s\n", what, path, strerror(errno));
    exit(1);
}

static char *load(const char *path, size_t *size)
{
    struct stat info;
    *size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return NULL;
    }
    if (fstat(fd, &info) != 0) {
        fail("look at", path);
    }
    char *bytes = malloc((size_t)info.st_size + 1);
    while (bytes != NULL && *size < (size_t)info.st_size) {
        ssize_t got = read(fd, bytes + *size, (size_t)info.st_size - *size);
        if (got <= 0) {
            break;
        }
        *size += (size_t)got;
    }
    close(fd);
    return bytes;
}

static void store(const char *path, const char *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (size_t done = 0; fd >= 0 && done < size;) {
        ssize_t put = write(fd, bytes + done, size - done);
        if (put <= 0) {
            fail("write", path);
        }
        done += (size_t)put;
    }
    if (fd < 0 || close(fd) != 0) {
        fail("write", path);
    }
}

/* The file at `path` (its present bytes, if any, are those of `inode`) becomes what is durable. */
static void cut_file(const char *root, const char *path, const char *present, unsigned long inode)
{
    char image[PATH_MAX];
    size_t durable_size, present_size;
    disk_inode_path(image, root, "i", inode);
    char *durable = load(image, &durable_size), *now = load(present, &present_size);
    size_t size = durable_size;
    if (!exact && present_size > durable_size) {
        size += draw(present_size - durable_size + 1);
    }
    char *result = calloc(1, size + 1);
    if (result == NULL) {
        fail("hold", path);
    }
    if (durable != NULL) {
        memcpy(result, durable, durable_size);
    }
    for (size_t at = durable_size; at < size;) {
        size_t end = (at / SECTOR + 1) * SECTOR;
        end = end < size ? end : size;
        bool torn = draw(8) == 0;
        sectors_torn += torn;
        if (!torn) {
            memcpy(result + at, now + at, end - at);
        }
        at = end;
    }
    if (now == NULL || size != present_size || memcmp(now, result, size) != 0) {
        files_changed++;
        bytes_lost += present_size > size ? present_size - size : 0;
        store(path, result, size);
    } else if (strcmp(path, present) != 0) {
        store(path, result, size);
    }
    free(durable);
    free(now);
    free(result);
}

struct entry {
    char type, name[256];
    unsigned long inode;
};

static size_t list_durable(const char *root, const char *relative, struct entry **ret)
{
    char path[PATH_MAX], line[PATH_MAX];
    disk_names_path(path, root, relative);
    FILE *names = fopen(path, "re");
    size_t count = 0;
    *ret = NULL;
    while (names != NULL && fgets(line, sizeof(line), names) != NULL) {
        *ret = realloc(*ret, (count + 1) * sizeof(**ret));
        if (*ret == NULL) {
            fail("hold", path);
        }
        struct entry *entry = &(*ret)[count];
        if (sscanf(line, "%c %lu %255[^\n]", &entry->type, &entry->inode, entry->name) == 3) {
            count++;
        }
    }
    if (names != NULL) {
        fclose(names);
    }
    return count;
}

static size_t list_present(const char *dir, struct entry **ret)
{
    size_t count = 0;
    *ret = NULL;
    DIR *from = opendir(dir);
    for (struct dirent *at; from != NULL && (at = readdir(from)) != NULL;) {
        if (strcmp(at->d_name, ".") == 0 || strcmp(at->d_name, "..") == 0) {
            continue;
        }
        *ret = realloc(*ret, (count + 1) * sizeof(**ret));
        if (*ret == NULL) {
            fail("hold", dir);
        }
        struct entry *entry = &(*ret)[count++];
        entry->type = at->d_type == DT_DIR ? 'd' : 'f';
        entry->inode = at->d_ino;
        snprintf(entry->name, sizeof(entry->name), "%s", at->d_name);
    }
    if (from != NULL) {
        closedir(from);
    }
    return count;
}

static const struct entry *named(const struct entry *list, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i].name, name) == 0) {
            return &list[i];
        }
    }
    return NULL;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static void remove_tree(const char *path)
{
    struct entry *list;
    size_t count = list_present(path, &list);
    for (size_t i = 0; i < count; i++) {
        char name[PATH_MAX];
        snprintf(name, sizeof(name), "%s/%s", path, list[i].name);
        if (list[i].type == 'd') {
            remove_tree(name);
        } else {
            unlink(name);
        }
    }
    free(list);
    rmdir(path);
}

/* Where the present bytes of an inode are: under its name here, or in the graveyard. */
static void find_present(char to[PATH_MAX], const char *root, const char *dir,
                         const struct entry *present, size_t count, unsigned long inode)
{
    disk_inode_path(to, root, "g", inode);
    for (size_t i = 0; i < count; i++) {
        if (present[i].inode == inode) {
            snprintf(to, PATH_MAX, "%s/%s", dir, present[i].name);
        }
    }
}

static void cut_dir(const char *root, const char *relative)
{
    char dir[PATH_MAX], path[PATH_MAX], from[PATH_MAX], fresh[PATH_MAX];
    snprintf(dir, sizeof(dir), "%s%s%s", root, relative[0] != '\0' ? "/" : "", relative);
    struct entry *present, *durable;
    size_t present_count = list_present(dir, &present);
    size_t durable_count = list_durable(root, relative, &durable);
    bool as_present = !exact && draw(2) == 0;
    struct entry *want = as_present ? present : durable;
    size_t want_count = as_present ? present_count : durable_count;
    /* In an order that the file system has no say in, for the seed's sake. */
    qsort(want, want_count, sizeof(*want), by_name);
    /* First beside the old ones, as names may have changed places. */
    static unsigned dirs;
    snprintf(fresh, sizeof(fresh), "%s" DISK_SUFFIX "/fresh-%u", root, ++dirs);
    for (size_t i = 0; i < want_count; i++) {
        if (want[i].type == 'f') {
            if (snprintf(path, sizeof(path), "%s-%zu", fresh, i) >= PATH_MAX) {
                fail("name", fresh);
            }
            find_present(from, root, dir, present, present_count, want[i].inode);
            cut_file(root, path, from, want[i].inode);
        }
    }
    for (size_t i = 0; i < present_count; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, present[i].name);
        bool wanted = named(want, want_count, present[i].name) != NULL;
        names_undone += !wanted;
        if (present[i].type == 'f') {
            unlink(path);
        } else if (!wanted) {
            remove_tree(path);
        }
    }
    for (size_t i = 0; i < want_count; i++) {
        char name[PATH_MAX];
        snprintf(name, sizeof(name), "%s%s%s", relative, relative[0] != '\0' ? "/" : "",
                 want[i].name);
        if (snprintf(path, sizeof(path), "%s/%s", dir, want[i].name) >= PATH_MAX) {
            fail("name", dir);
        }
        if (want[i].type == 'd') {
            mkdir(path, 0700);
            cut_dir(root, name);
        } else {
            if (snprintf(from, sizeof(from), "%s-%zu", fresh, i) >= PATH_MAX ||
                rename(from, path) != 0) {
                fail("make", path);
            }
            names_undone += named(present, present_count, want[i].name) == NULL;
        }
    }
    free(present);
    free(durable);
}

int main(int argc, char **argv)
{
    int done = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--exact") == 0) {
            exact = true;
        } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            state = strtoull(argv[++i], NULL, 10);
        } else {
            char root[PATH_MAX], image[PATH_MAX + 8];
            if (realpath(argv[i], root) == NULL) {
                fail("find", argv[i]);
            }
            snprintf(image, sizeof(image), "%s" DISK_SUFFIX, root);
            if (access(image, F_OK) != 0) {
                fail("find the image", image);
            }
            cut_dir(root, "");
            remove_tree(image);
            done++;
        }
    }
    if (done == 0) {
        fprintf(stderr, "usage: disk_cut [--seed N] [--exact] DIRECTORY...\n");
        return 2;
    }
    printf("%lu files changed, %lu bytes lost, %lu sectors torn, %lu names undone\n",
           files_changed, bytes_lost, sectors_torn, names_undone);
    return 0;
}

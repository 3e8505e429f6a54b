/* tests/lib/disk_state.h
 *
 * What disk_shim.c (inside the process) and disk_cut.c (after its death) share: the durable image
 * of a directory DIR, kept beside it in DIR.disk:
 *
 *   names/<path, '/' written as '%'>   the entries of that directory at its last fsync: lines
 *                                      "f|d inode name"
 *   i/<inode>                          the bytes of that file which a sync made durable
 *   g/<inode>                          a hard link to a file that is unlinked but still listed in
 *                                      a durable directory: its inode number is not used again
 *   control                            switches, read again whenever the file changes
 */
#ifndef COFFER_TESTS_DISK_STATE_H
#define COFFER_TESTS_DISK_STATE_H

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define DISK_SUFFIX ".disk"

/* DIR.disk/names/<encoded>; relative is "" for DIR itself. */
static inline void disk_names_path(char to[PATH_MAX], const char *root, const char *relative)
{
    int size = snprintf(to, PATH_MAX, "%s" DISK_SUFFIX "/names/%%", root);
    for (const char *c = relative; *c != '\0' && size < PATH_MAX - 1; c++) {
        to[size++] = *c == '/' ? '%' : *c;
    }
    to[size] = '\0';
}

/* kind: "i" or "g". */
static inline void disk_inode_path(char to[PATH_MAX], const char *root, const char *kind,
                                   unsigned long inode)
{
    snprintf(to, PATH_MAX, "%s" DISK_SUFFIX "/%s/%lu", root, kind, inode);
}

#endif

/* node/audit/file/file_int.h: what the files of the device "file" share. */
#ifndef COFFER_AUDIT_FILE_FILE_INT_H
#define COFFER_AUDIT_FILE_FILE_INT_H

#include <sys/stat.h>

#include "node/core/audit.h"

/* place.c: where a file may be.
 *
 * A device of the configuration writes where the operator said. One that a request made writes below the
 * configured directories alone, never into the data directory, and no link on the way below them is
 * followed; so whoever may call sys/audit cannot make the server write anywhere else. */
struct file_place {
    const char *path; /* absolute, or as configured */
    const char *root; /* the directory that is trusted */
    const char *rest; /* of the path, below it */
    mode_t mode;      /* without any x */
    bool keeps_mode;  /* mode = "0000": an existing file keeps its own */
    bool is_trusted;
};

/* CF_INVALID when the file may not be there. Looks at no file. */
CF_CHECKED cf_status file_place_of(const struct audit_settings *settings, struct cf_slice path,
                                   struct arena *arena, struct file_place *ret,
                                   struct cf_error *err);
/* A descriptor for appending. CF_DENIED for what is no file of ours; CF_IO, CF_NO_SPACE. */
CF_CHECKED cf_status file_place_open(const struct file_place *place, int *ret,
                                     struct cf_error *err);
/* Whether the path still leads to the open file. */
bool file_place_is_at(const struct file_place *place, int fd);

#endif

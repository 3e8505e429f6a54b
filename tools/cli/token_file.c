/* tools/cli/token_file.c: ~/.vault-token. */
#include "tools/cli/token_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const char *token_file_path(struct arena *arena)
{
    const char *home = getenv("HOME");
    return home != NULL && *home != '\0' ? arena_printf(arena, "%s/.vault-token", home) : NULL;
}

cf_status token_file_write(struct arena *arena, struct cf_slice token, struct cf_error *err)
{
    const char *path = token_file_path(arena);
    if (path == NULL) {
        return cf_fail(err, CF_IO, "HOME is not set, there is no place for the token");
    }
    const char *next = arena_printf(arena, "%s.tmp%ld", path, (long)getpid());
    int fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return cf_fail(err, CF_IO, "open %s: %s", next, strerror(errno));
    }
    bool written = write(fd, token.data, token.size) == (ssize_t)token.size && fsync(fd) == 0;
    int saved = errno;
    (void)close(fd);
    if (!written || rename(next, path) != 0) {
        saved = written ? errno : saved;
        (void)unlink(next);
        return cf_fail(err, CF_IO, "write %s: %s", path, strerror(saved));
    }
    return CF_OK;
}

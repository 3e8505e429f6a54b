/* tests/lib/step_kill.c: in place of node/base/step.c: kill -9 at the step whose name stands in the file that
 * COFFER_STEP_FILE names, or "name:N", the Nth time that this process comes there. The file is removed first, so that the
 * next start goes on, and that of several processes with one file only one is killed. */
#include "node/base/step.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void cf_step(const char *name)
{
    const char *path = getenv("COFFER_STEP_FILE");
    static atomic_ulong times;
    char wanted[64];
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) {
        return;
    }
    ssize_t size = read(fd, wanted, sizeof(wanted) - 1);
    (void)close(fd);
    wanted[size > 0 ? size : 0] = '\0';
    char *number = strchr(wanted, ':');
    unsigned long at = number != NULL ? strtoul(number + 1, NULL, 10) : 1;
    if (number != NULL) {
        *number = '\0';
    }
    if (strcmp(wanted, name) == 0 && atomic_fetch_add(&times, 1) + 1 >= at && unlink(path) == 0) {
        (void)kill(getpid(), SIGKILL);
        for (;;) {
            (void)pause();
        }
    }
}

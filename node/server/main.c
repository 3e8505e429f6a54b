/* node/server/main.c: the one binary, server and command line. */
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "version") == 0) {
        (void)printf("Coffer v%s\n", COFFER_VERSION);
        return 0;
    }
    (void)fprintf(stderr, "Usage: coffer <command> [args]\n");
    return 127;
}

/* tests/unit/tools/runner.h: command lines within the test, against a scripted server, with a home of
 * their own. Thread: main. */
#ifndef COFFER_TEST_RUNNER_H
#define COFFER_TEST_RUNNER_H

struct fake_server;

extern struct fake_server *server;
extern char home[64];
extern char *out, *err; /* of the last command */

void set_up(void);
void tear_down(void);

/* Runs one command line; words end with NULL. `input` is its standard input. The exit code. */
int run_with(const char *input, const char *const *words);
#define RUN(...) run_with("", (const char *const[]){__VA_ARGS__, NULL})

#endif

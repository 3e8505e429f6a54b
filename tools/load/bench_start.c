/* tools/load/bench_start.c: how long a server takes from its start to its first answer, and what it
 * holds in memory when idle. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "node/base/host.h"
#include "node/base/memory.h"
#include "tools/load/bench.h"
#include "tools/load/usage.h"

#define POLL_NS 1000000
#define GIVE_UP_US 30000000u
#define IDLE_NS 999999999
#define WORDS_MAX 32

static uint64_t now_us(void)
{
    return cf_monotonic_us(cf_host_clock());
}

static void pause_ns(long ns)
{
    struct timespec wait = {.tv_nsec = ns};
    (void)nanosleep(&wait, NULL);
}

static pid_t launch(const struct strings *words)
{
    char *argv[WORDS_MAX + 1] = {0};
    for (size_t i = 1; i < words->count && i <= WORDS_MAX; i++) {
        argv[i - 1] = (char *)(uintptr_t)words->at[i]; /* execvp changes none of them */
    }
    pid_t pid = fork();
    if (pid == 0) {
        (void)execvp(argv[0], argv);
        _exit(127);
    }
    return pid;
}

/* True once there is any answer of HTTP; false when the server ended, or 30 s are over. */
static bool wait_for_answer(struct bench *bench, pid_t pid, uint64_t start_us)
{
    CF_OWNED(conn) conn = load_conn_new(&bench->targets[0]);
    while (now_us() - start_us < GIVE_UP_US) {
        if (bench_call(bench, conn, &bench->targets[0], "", "GET", "/v1/sys/health", CF_SLICE_EMPTY,
                       NULL) != 0) {
            return true;
        }
        if (waitpid(pid, NULL, WNOHANG) == pid) {
            return false;
        }
        pause_ns(POLL_NS);
    }
    return false;
}

int bench_start(struct bench *bench)
{
    struct cli *cli = bench->cli;
    uint64_t memory = 0;
    uint64_t cpu_ns = 0;
    if (cli->args.count < 2 || cli->args.count > WORDS_MAX) {
        cli_error(cli, "start wants a command: coffer bench start -- coffer server -config=FILE");
        return CLI_USAGE;
    }
    uint64_t start_us = now_us();
    pid_t pid = launch(&cli->args);
    if (pid < 0) {
        cli_error(cli, "cannot start a process: %s", strerror(errno));
        return CLI_USAGE;
    }
    bool answered = wait_for_answer(bench, pid, start_us);
    uint64_t took_us = now_us() - start_us;
    if (!answered) {
        cli_error(cli, "\"%s\" ended, or did not answer at %s within 30 s", cli->args.at[1],
                  bench->targets[0].address);
        (void)kill(pid, SIGTERM);
        return CLI_REFUSED;
    }
    (void)usage_cpu_ns(pid, &cpu_ns);
    pause_ns(IDLE_NS);
    (void)usage_memory(pid, &memory);
    (void)kill(pid, SIGTERM);
    (void)waitpid(pid, NULL, 0);
    struct json *row = json_object_new(cli->arena);
    json_set_text(cli->arena, row, "workload", "start");
    bench_add_number(bench, row, "first_answer_ms", (double)took_us / 1000, 1);
    bench_add_number(bench, row, "cpu_ms", (double)cpu_ns / 1e6, 1);
    bench_add_number(bench, row, "memory_mb", (double)memory / 1048576, 1);
    json_array_add(cli->arena, bench->results, row);
    return CLI_FINE;
}

/* Levels of the log: all components at once, and one by one. */
#include "node/base/log.h"
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "test.h"

START_TEST(levels_by_component)
{
    enum cf_log_level level;
    cf_log_set_level(CF_LOG_ERROR);
    ck_assert(!cf_log_enabled(CF_LOG_WARN));
    ck_assert(cf_log_set_component(CF_SLICE("raft"), CF_LOG_DEBUG));
    ck_assert(cf_log_enabled(CF_LOG_DEBUG)); /* somebody writes it */
    ck_assert(cf_log_component_level(CF_SLICE("raft"), &level) && level == CF_LOG_DEBUG);
    ck_assert(cf_log_component_level(CF_SLICE("core"), &level) && level == CF_LOG_ERROR);
    ck_assert(!cf_log_set_component(CF_SLICE("nobody"), CF_LOG_DEBUG));
    ck_assert(!cf_log_component_level(CF_SLICE("nobody"), &level));
    cf_log_set_level(CF_LOG_INFO); /* and all are alike again */
    ck_assert(!cf_log_enabled(CF_LOG_DEBUG) && cf_log_enabled(CF_LOG_INFO));
}
END_TEST

/* What is written goes by the line's own component: a pipe in the place of standard error. */
START_TEST(lines_by_component)
{
    int ends[2];
    int before = dup(STDERR_FILENO);
    char text[1024] = "";
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert(dup2(ends[1], STDERR_FILENO) >= 0);
    cf_log_set_level(CF_LOG_WARN);
    ck_assert(cf_log_set_component(CF_SLICE("core"), CF_LOG_DEBUG));
    cf_debug("core", "one");
    cf_info("raft", "two");
    cf_warn("raft", "three");
    cf_info("unlisted", "four"); /* follows "server" */
    ck_assert(cf_log_set_component(CF_SLICE("server"), CF_LOG_INFO));
    cf_info("unlisted", "five");
    cf_log_set_level(CF_LOG_INFO);
    ck_assert(dup2(before, STDERR_FILENO) >= 0);
    ck_assert_int_gt(read(ends[0], text, sizeof(text) - 1), 0);
    ck_assert(strstr(text, "[debug] core: one\n") != NULL);
    ck_assert(strstr(text, "two") == NULL && strstr(text, "four") == NULL);
    ck_assert(strstr(text, "three") != NULL && strstr(text, "five") != NULL);
    close(ends[0]);
    close(ends[1]);
    close(before);
}
END_TEST

START_TEST(names)
{
    for (size_t i = 0; cf_log_component(i) != NULL; i++) {
        ck_assert(i == 0 || strcmp(cf_log_component(i - 1), cf_log_component(i)) < 0);
    }
    enum cf_log_level level;
    for (int i = CF_LOG_TRACE; i <= CF_LOG_ERROR; i++) {
        ck_assert(cf_log_parse_level(cf_slice_str(cf_log_level_name((enum cf_log_level)i)), &level));
        ck_assert_int_eq((int)level, i);
    }
}
END_TEST

/* Who follows gets what it asked for, whatever the components write themselves, and nothing afterwards. */
struct follower {
    struct cf_log_tap tap;
    char text[1024];
};

static void keep_line(struct cf_log_tap *tap, struct cf_slice line)
{
    struct follower *to = (struct follower *)(void *)tap;
    cf_err("server", "a line of the tap's own goes to none");
    strncat(to->text, (const char *)line.data, line.size);
}

START_TEST(followers)
{
    struct follower low = {.tap = {.level = CF_LOG_DEBUG, .line = keep_line}};
    struct follower high = {.tap = {.level = CF_LOG_WARN, .as_json = true, .line = keep_line}};
    int silent = open("/dev/null", O_WRONLY), before = dup(STDERR_FILENO);
    ck_assert(dup2(silent, STDERR_FILENO) >= 0);
    cf_log_set_level(CF_LOG_ERROR);
    cf_log_attach(&low.tap);
    cf_log_attach(&high.tap);
    ck_assert(cf_log_enabled(CF_LOG_DEBUG) && !cf_log_enabled(CF_LOG_TRACE));
    cf_debug("core", "one");
    cf_warn("raft", "tw\"o");
    cf_log_set_level(CF_LOG_WARN); /* whoever changes levels does not turn the followers off */
    cf_debug("core", "three");
    cf_log_detach(&low.tap);
    ck_assert(!cf_log_enabled(CF_LOG_INFO));
    cf_debug("core", "four");
    cf_warn("core", "five");
    cf_log_detach(&high.tap);
    cf_log_detach(&high.tap);
    cf_warn("core", "six");
    cf_log_set_level(CF_LOG_INFO);
    ck_assert(dup2(before, STDERR_FILENO) >= 0);
    close(silent);
    close(before);
    ck_assert(strstr(low.text, "[debug] core: one\n") != NULL);
    ck_assert(strstr(low.text, "[warn] raft: tw\"o\n") != NULL);
    ck_assert(strstr(low.text, "three\n") != NULL && strstr(low.text, "five") == NULL);
    ck_assert(strstr(high.text, "\"@message\":\"tw\\\"o\"}\n") != NULL);
    ck_assert(strstr(high.text, "five") != NULL && strstr(high.text, "four") == NULL);
    ck_assert(strstr(high.text, "six") == NULL && strstr(high.text, "own") == NULL);
}
END_TEST

TEST_MAIN("node/base/log", levels_by_component, lines_by_component, names, followers)

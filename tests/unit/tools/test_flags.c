/* tests/unit/tools/test_flags.c: Go-style flags. */
#include "test.h"
#include "tools/cli/flags.h"

struct options {
    bool force, force_given;
    const char *name, *ttl;
    int64_t count;
    struct strings list;
};

static struct options options;
static struct strings rest;
static struct arena *arena;
static struct cf_error err;
static bool help;

static cf_status parse(enum flags_where where, const char *const *argv)
{
    const struct flag flags[] = {
        {"f", FLAG_BOOL, &options.force, &options.force_given, "force"},
        {"name", FLAG_STRING, &options.name, NULL, "name"},
        {"ttl", FLAG_SECONDS, &options.ttl, NULL, "ttl"},
        {"count", FLAG_INT, &options.count, NULL, "count"},
        {"list", FLAG_LIST, &options.list, NULL, "list"},
    };
    char *copy[16] = {0};
    arena_free(arena);
    arena = arena_new(4096);
    options = (struct options){.count = 7};
    rest = (struct strings){0};
    err = (struct cf_error){0};
    help = false;
    for (size_t i = 0; argv[i] != NULL; i++) {
        copy[i] = arena_text(arena, cf_slice_str(argv[i]));
    }
    return flags_parse(arena, flags, sizeof(flags) / sizeof(flags[0]), where, copy, &rest, &help,
                       &err);
}

#define ARGV(...)                                                                                  \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

START_TEST(takes_all_spellings)
{
    ck_ok(parse(FLAGS_FIRST, ARGV("-f", "-name=a=b", "--count", "12", "--ttl=1h30m", "x", "-f")));
    ck_assert(options.force && options.force_given);
    ck_assert_str_eq(options.name, "a=b");
    ck_assert_str_eq(options.ttl, "1h30m");
    ck_assert_int_eq(options.count, 12);
    ck_assert_uint_eq(rest.count, 2);
    ck_assert_str_eq(rest.at[0], "x");
    ck_assert_str_eq(rest.at[1], "-f");
}
END_TEST

START_TEST(a_boolean_takes_its_value_only_with_equals)
{
    ck_ok(parse(FLAGS_FIRST, ARGV("-f", "false")));
    ck_assert(options.force);
    ck_assert_uint_eq(rest.count, 1);
    ck_ok(parse(FLAGS_FIRST, ARGV("-f=false")));
    ck_assert(!options.force && options.force_given);
    ck_status(parse(FLAGS_FIRST, ARGV("-f=maybe")), CF_INVALID);
}
END_TEST

START_TEST(a_dash_is_an_argument_and_two_end_the_flags)
{
    ck_ok(parse(FLAGS_FIRST, ARGV("-", "k=-")));
    ck_assert_uint_eq(rest.count, 2);
    ck_ok(parse(FLAGS_ANYWHERE, ARGV("--", "-f")));
    ck_assert(!options.force);
    ck_assert_str_eq(rest.at[0], "-f");
}
END_TEST

START_TEST(flags_may_follow_arguments_where_allowed)
{
    ck_ok(parse(FLAGS_ANYWHERE, ARGV("file", "-list=a", "-list", "b", "more")));
    ck_assert_uint_eq(rest.count, 2);
    ck_assert_uint_eq(options.list.count, 2);
    ck_assert_str_eq(options.list.at[1], "b");
}
END_TEST

START_TEST(refuses_what_it_does_not_know)
{
    ck_status(parse(FLAGS_FIRST, ARGV("-nope")), CF_INVALID);
    ck_assert_str_eq(err.message, "flag provided but not defined: -nope");
    ck_status(parse(FLAGS_FIRST, ARGV("-name")), CF_INVALID);
    ck_assert_str_eq(err.message, "flag needs an argument: -name");
    ck_status(parse(FLAGS_FIRST, ARGV("-count=1x")), CF_INVALID);
    ck_status(parse(FLAGS_FIRST, ARGV("-ttl=soon")), CF_INVALID);
    ck_status(parse(FLAGS_FIRST, ARGV("-=x")), CF_INVALID);
}
END_TEST

START_TEST(help_is_no_error)
{
    ck_ok(parse(FLAGS_FIRST, ARGV("-h")));
    ck_assert(help);
    ck_ok(parse(FLAGS_FIRST, ARGV("--help")));
    ck_assert(help);
}
END_TEST

START_TEST(durations)
{
    int64_t ms = -1;
    ck_assert(flags_parse_duration("90", &ms) && ms == 90000);
    ck_assert(flags_parse_duration("250ms", &ms) && ms == 250);
    ck_assert(flags_parse_duration("1h30m", &ms) && ms == 5400000);
    ck_assert(!flags_parse_duration("", &ms));
    ck_assert(!flags_parse_duration("1 s", &ms));
    ck_assert(!flags_parse_duration("99999999999999999999", &ms));
}
END_TEST

TEST_MAIN("tools/cli/flags", takes_all_spellings, a_boolean_takes_its_value_only_with_equals,
          a_dash_is_an_argument_and_two_end_the_flags, flags_may_follow_arguments_where_allowed,
          refuses_what_it_does_not_know, help_is_no_error, durations)

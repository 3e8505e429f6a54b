/* tests/lib/acl_model.h
 *
 * The rules of core-api.md section 6 once more, written as they are said and without any thought of speed:
 * each question looks at every rule of every policy, and nothing is compiled, sorted or united beforehand.
 * And the one spelling of a path (section 1). The decisions of node/core and node/http are compared with
 * these (acl_cases.h, fuzz_acl.c, test_canonical.c); nothing here calls them.
 */
#ifndef COFFER_TEST_ACL_MODEL_H
#define COFFER_TEST_ACL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_PATH_MAX 2304
#define MODEL_RULE_PATH_MAX 256
#define MODEL_RULES_MAX 64
#define MODEL_LIST_MAX 4

enum model_capability {
    MODEL_CREATE = 1 << 0,
    MODEL_READ = 1 << 1,
    MODEL_UPDATE = 1 << 2,
    MODEL_DELETE = 1 << 3,
    MODEL_LIST = 1 << 4,
    MODEL_SUDO = 1 << 5,
    MODEL_DENY = 1 << 6,
    MODEL_PATCH = 1 << 7,
    MODEL_SCAN = 1 << 8,
};

/* A scalar in its spelling, a list of scalars, or an object (whose content no rule can name). */
struct model_value {
    enum { MODEL_STRING, MODEL_BARE, MODEL_MANY, MODEL_OBJECT } kind; /* MODEL_BARE: number, boolean */
    const char *text;
    const char *items[MODEL_LIST_MAX]; /* of a list: strings */
    size_t count;
};

struct model_parameter {
    const char *name;
    struct model_value values[MODEL_LIST_MAX]; /* none: any */
    size_t count;
};

struct model_rule {
    const char *path; /* as written, templates and all */
    unsigned capabilities;
    struct model_parameter allowed[MODEL_LIST_MAX], denied[MODEL_LIST_MAX];
    size_t allowed_count, denied_count;
    const char *required[MODEL_LIST_MAX];
    size_t required_count;
    int64_t min_wrap_s, max_wrap_s; /* 0: not given */
};

/* What templates can name: "entity.id" and its value. */
struct model_fact {
    const char *name, *value;
};

/* All rules of all the policies of a token, in any order: which policy a rule came from plays no part. */
struct model {
    const struct model_rule *rules;
    size_t rule_count;
    const struct model_fact *facts;
    size_t fact_count;
    bool has_identity; /* without one, rules with templates are dropped */
    /* From model_fill(): the paths of the rules for this token, "" where there is none. */
    char paths[MODEL_RULES_MAX][MODEL_RULE_PATH_MAX];
    bool is_dropped[MODEL_RULES_MAX];
};

/* Fills in the templates; before any question. */
void model_fill(struct model *model);

struct model_field {
    const char *name;
    struct model_value value;
};

struct model_request {
    const char *path;    /* canonical; with its closing slash for list and scan */
    unsigned capability; /* the one that the operation needs */
    bool needs_sudo;
    int64_t wrap_s;
    const struct model_field *fields;
    size_t field_count;
};

bool model_allows(const struct model *model, const struct model_request *request);
/* What sys/capabilities answers, as bits; MODEL_DENY for nothing. */
unsigned model_capabilities(const struct model *model, const char *path);
/* Whether a rule that is no deny could fit the prefix (ending in "/") or something below it. */
bool model_touches(const struct model *model, const char *prefix);

/* The path of the rules that decide together; NULL: there are none. lists: an exact rule may lack the slash. */
const char *model_decides(const struct model *model, const char *path, bool lists);
bool model_is_wild(const char *rule);
bool model_fits(const char *rule, const char *path);

/* ---- paths ---- */

enum model_path {
    MODEL_PATH_GOOD,
    MODEL_PATH_REFUSED,  /* 400 */
    MODEL_PATH_REDIRECT, /* 307 to to[] */
};
/* The one spelling of what a client sent, ended by a zero. */
enum model_path model_path(const uint8_t *sent, size_t size, char to[MODEL_PATH_MAX]);
/* How much of `path` is the namespace that it lies in: the longest of the list ("a/b/") that it begins with. */
size_t model_namespace(const char *const *list, size_t count, const char *path);

#endif

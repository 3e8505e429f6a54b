/* node/core/policy_int.h: the insides of policies and ACLs, for policy.c and acl*.c only. */
#ifndef COFFER_CORE_POLICY_INT_H
#define COFFER_CORE_POLICY_INT_H

#include <stdatomic.h>

#include "node/core/policy.h"

/* A key of the body and the values it may (or may not) have; no values: any. */
struct parameter {
    struct cf_slice name;      /* lower case */
    const struct json *values; /* array */
};

struct parameters {
    struct parameter *list;
    size_t count; /* 0: the rule says nothing about them */
};

/* One rule. Of a policy: as written. Of an ACL: what all policies say about this path together. */
struct rule {
    struct cf_slice path; /* without a leading slash */
    unsigned capabilities;
    struct parameters allowed, denied;
    struct cf_slice *required; /* lower case */
    size_t required_count;
    int64_t min_wrapping_ttl_s, max_wrapping_ttl_s; /* 0: none */
    bool has_template;
    /* From the path, by rule_classify(): */
    size_t head_size; /* bytes before the first wildcard; the whole path when there is none */
    size_t plus_count;
    bool is_wild, is_prefix; /* is_prefix: ends in '*' */
};

struct policy {
    _Atomic unsigned references;
    struct arena *arena;
    struct cf_slice name;
    struct rule *rules;
    size_t rule_count;
};

/* The rules of one literal head ("a/b/" of "a/b/+/c" and "a/b/" of "a/b/" + star), best first. */
struct acl_head {
    struct cf_slice text;
    const struct rule **rules;
    size_t count;
    ptrdiff_t parent; /* the longest other head that this one begins with; -1: none */
};

struct acl {
    _Atomic unsigned references;
    bool is_root;
    struct arena *arena;
    struct policy **policies; /* their memory is used by the rules */
    size_t policy_count;
    const struct rule **rules; /* all, merged; sorted by path */
    size_t rule_count;
    struct cf_map *exact;
    struct acl_head *heads; /* sorted by text */
    size_t head_count;
};

/* Adds what is said about one name to what was said before; the list has room. */
void parameters_add(struct arena *arena, struct parameters *to, const struct parameter *one);
void rule_classify(struct rule *rule);
/* Whether the rule's path fits; for exact rules: is the path. */
bool rule_matches(const struct rule *rule, struct cf_slice path);
/* Order of precedence of two rules with wildcards that match the same path: < 0 when a decides. */
int rule_compare(const struct rule *a, const struct rule *b);
/* The rule that decides, or NULL. lists: an exact rule may lack the closing slash. */
const struct rule *acl_find(const struct acl *acl, struct cf_slice path, bool lists);
/* Whether the body obeys the rule's parameters. */
bool rule_accepts_body(const struct rule *rule, const struct json *body);
/* Fills in {{...}}; false when some template has no value, or one that would become a wildcard. */
bool template_fill(struct arena *arena, struct cf_slice text, const struct json *identity,
                   struct cf_slice *ret);

#endif

/* node/core/acl.c: the rules of several policies united to one ACL, and its decisions. */
#include <stdlib.h>

#include "node/base/map.h"
#include "node/base/memory.h"
#include "node/core/mutant.h"
#include "node/core/policy_int.h"

/* ---- uniting rules of the same path (core-api.md section 6, merging) ---- */

static struct json *joined_values(struct arena *arena, const struct json *a, const struct json *b)
{
    struct json *joined = json_array_new(arena);
    if ((json_count(a) == 0 || json_count(b) == 0) && !ACL_MUTANT(ANY_SWALLOWED)) {
        return joined; /* any value: swallows the others */
    }
    for (size_t i = 0; i < json_count(a); i++) {
        json_array_add(arena, joined, json_item(a, i));
    }
    for (size_t i = 0; i < json_count(b); i++) {
        json_array_add(arena, joined, json_item(b, i));
    }
    return joined;
}

static struct parameter *find_parameter(struct parameters *in, struct cf_slice name)
{
    for (size_t i = 0; i < in->count; i++) {
        if (cf_slice_eq(in->list[i].name, name)) {
            return &in->list[i];
        }
    }
    return NULL;
}

void parameters_add(struct arena *arena, struct parameters *to, const struct parameter *one)
{
    struct parameter *known = ACL_MUTANT(NAMES_TWICE) ? NULL : find_parameter(to, one->name);
    if (known != NULL) {
        known->values = joined_values(arena, known->values, one->values);
    } else {
        to->list[to->count++] = *one;
    }
}

static void unite_parameters(struct arena *arena, struct parameters *to,
                             const struct parameters *from)
{
    if (from->count == 0) {
        return;
    }
    struct parameters sum = {
        arena_alloc(arena, (to->count + from->count) * sizeof(struct parameter)), 0};
    const struct parameters *const both[] = {to, from};
    for (size_t k = 0; k < CF_LENGTH(both); k++) {
        for (size_t i = 0; i < both[k]->count; i++) {
            parameters_add(arena, &sum, &both[k]->list[i]);
        }
    }
    *to = sum;
}

static void unite_required(struct arena *arena, struct rule *to, const struct rule *from)
{
    if (from->required_count == 0 || ACL_MUTANT(REQUIRED_ONCE)) {
        return;
    }
    size_t room = to->required_count + from->required_count;
    struct cf_slice *sum = arena_alloc(arena, room * sizeof(*sum));
    if (to->required_count != 0) {
        memcpy(sum, to->required, to->required_count * sizeof(*sum));
    }
    memcpy(sum + to->required_count, from->required, from->required_count * sizeof(*sum));
    to->required = sum;
    to->required_count = room;
}

static int64_t smaller_given(int64_t a, int64_t b)
{
    return a == 0 || (b != 0 && (b < a) != ACL_MUTANT(WRAP_LARGER)) ? b : a;
}

static void make_denied(struct rule *rule)
{
    rule->capabilities = CAPABILITY_DENY;
    rule->allowed = rule->denied = (struct parameters){0};
    rule->required_count = 0;
    rule->min_wrapping_ttl_s = rule->max_wrapping_ttl_s = 0;
}

static void unite(struct arena *arena, struct rule *to, const struct rule *from)
{
    if (ACL_MUTANT(FIRST_RULE_ALONE)) {
        return;
    }
    if (((to->capabilities | from->capabilities) & CAPABILITY_DENY) != 0 && !ACL_MUTANT(DENY_UNITES)) {
        make_denied(to);
        return;
    }
    to->capabilities |= from->capabilities;
    to->capabilities &= ACL_MUTANT(DENY_UNITES) ? ~(unsigned)CAPABILITY_DENY : ~0u;
    unite_parameters(arena, &to->allowed, &from->allowed);
    unite_parameters(arena, &to->denied, &from->denied);
    unite_required(arena, to, from);
    to->min_wrapping_ttl_s = smaller_given(to->min_wrapping_ttl_s, from->min_wrapping_ttl_s);
    to->max_wrapping_ttl_s = smaller_given(to->max_wrapping_ttl_s, from->max_wrapping_ttl_s);
}

/* ---- building ---- */

static int by_path(const void *a, const void *b)
{
    return cf_slice_cmp((*(const struct rule *const *)a)->path,
                        (*(const struct rule *const *)b)->path);
}

/* Heads beside each other, and the rules of one head in the order in which they decide. */
static int by_head(const void *a, const void *b)
{
    const struct rule *left = *(const struct rule *const *)a;
    const struct rule *right = *(const struct rule *const *)b;
    int order = cf_slice_cmp(cf_slice_first(left->path, left->head_size),
                             cf_slice_first(right->path, right->head_size));
    return order != 0 ? order : rule_compare(left, right);
}

static void make_heads(struct acl *acl, const struct rule **wild, size_t count)
{
    if (count == 0) {
        return;
    }
    qsort(wild, count, sizeof(*wild), by_head);
    acl->heads = arena_alloc(acl->arena, count * sizeof(*acl->heads));
    for (size_t i = 0; i < count; i++) {
        struct cf_slice text = cf_slice_first(wild[i]->path, wild[i]->head_size);
        struct acl_head *last = acl->head_count != 0 ? &acl->heads[acl->head_count - 1] : NULL;
        if (last != NULL && cf_slice_eq(last->text, text)) {
            last->count++;
            continue;
        }
        ptrdiff_t parent = (ptrdiff_t)acl->head_count - 1;
        while (parent >= 0 && !cf_slice_starts(text, acl->heads[parent].text)) {
            parent = acl->heads[parent].parent;
        }
        acl->heads[acl->head_count++] = (struct acl_head){text, &wild[i], 1, parent};
    }
}

static void index_rules(struct acl *acl)
{
    const struct rule **wild = arena_alloc(acl->arena, (acl->rule_count + 1) * sizeof(*wild));
    size_t wild_count = 0;
    qsort(acl->rules, acl->rule_count, sizeof(*acl->rules), by_path);
    for (size_t i = 0; i < acl->rule_count; i++) {
        if (acl->rules[i]->is_wild) {
            wild[wild_count++] = acl->rules[i];
        } else {
            /* cf_map holds plain pointers; what it holds here is only ever read. */
            cf_map_put(acl->exact, acl->rules[i]->path, (void *)(uintptr_t)acl->rules[i]);
        }
    }
    make_heads(acl, wild, wild_count);
}

static void add_rule(struct acl *acl, struct cf_map *known, const struct rule *rule,
                     const struct json *identity)
{
    struct rule *added = arena_new_object(acl->arena, struct rule);
    *added = *rule;
    if (rule->has_template) {
        if (!template_fill(acl->arena, rule->path, identity, &added->path)) {
            return;
        }
        rule_classify(added);
        if (added->plus_count != rule->plus_count && !ACL_MUTANT(VALUES_MAKE_PLUS)) {
            return; /* a value that ends in a slash made a wildcard of an ordinary '+' beside it */
        }
    }
    if (ACL_MUTANT(DENY_PASSES) && added->capabilities != CAPABILITY_DENY) {
        added->capabilities &= ~(unsigned)CAPABILITY_DENY;
    }
    if ((added->capabilities & CAPABILITY_DENY) != 0) {
        make_denied(added);
    }
    struct rule *same = cf_map_get(known, added->path);
    if (same != NULL) {
        unite(acl->arena, same, added);
        return;
    }
    cf_map_put(known, added->path, added);
    acl->rules[acl->rule_count++] = added;
}

cf_status acl_new(struct policy *const *policies, size_t count, bool is_root,
                  const struct json *identity, struct acl **ret, struct cf_error *err)
{
    (void)err;
    struct acl *acl = cf_new(struct acl);
    size_t rules = 0;
    atomic_init(&acl->references, 1);
    acl->is_root = is_root;
    acl->arena = arena_new(1024);
    acl->exact = cf_map_new();
    acl->policies = arena_alloc(acl->arena, (count + 1) * sizeof(struct policy *));
    for (size_t i = 0; i < count; i++) {
        acl->policies[acl->policy_count++] = policy_ref(policies[i]);
        rules += policies[i]->rule_count;
    }
    acl->rules = arena_alloc(acl->arena, (rules + 1) * sizeof(struct rule *));
    CF_OWNED(cf_map) known = cf_map_new();
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < policies[i]->rule_count; k++) {
            add_rule(acl, known, &policies[i]->rules[k], identity);
        }
    }
    index_rules(acl);
    *ret = acl;
    return CF_OK;
}

struct acl *acl_ref(struct acl *acl)
{
    atomic_fetch_add_explicit(&acl->references, 1, memory_order_relaxed);
    return acl;
}

void acl_unref(struct acl *acl)
{
    if (acl == NULL || atomic_fetch_sub_explicit(&acl->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < acl->policy_count; i++) {
        policy_unref(acl->policies[i]);
    }
    cf_map_free(acl->exact);
    arena_free(acl->arena);
    cf_free(acl);
}

bool acl_is_root(const struct acl *acl)
{
    return acl->is_root;
}

/* ---- decisions ---- */

static unsigned capability_of(enum operation operation)
{
    switch (operation) {
    case OPERATION_READ:
        return CAPABILITY_READ;
    case OPERATION_LIST:
        return CAPABILITY_LIST;
    case OPERATION_SCAN:
        return ACL_MUTANT(SCAN_IS_LIST) ? CAPABILITY_LIST : CAPABILITY_SCAN;
    case OPERATION_CREATE:
        return ACL_MUTANT(CREATE_IS_UPDATE) ? CAPABILITY_UPDATE : CAPABILITY_CREATE;
    case OPERATION_UPDATE:
        return CAPABILITY_UPDATE;
    case OPERATION_PATCH:
        return CAPABILITY_PATCH;
    case OPERATION_DELETE:
        return CAPABILITY_DELETE;
    case OPERATION_HELP:
    case OPERATION_COUNT:
        break;
    }
    return 0;
}

static bool wrapping_fits(const struct rule *rule, int64_t wrap_ttl_s)
{
    int64_t least = rule->min_wrapping_ttl_s, most = rule->max_wrapping_ttl_s;
    if ((least == 0 && most == 0) || (ACL_MUTANT(WRAP_UNASKED) && wrap_ttl_s == 0)) {
        return true;
    }
    /* Uniting may leave bounds that nothing fits between. */
    return wrap_ttl_s > 0 && wrap_ttl_s >= least && (most == 0 || wrap_ttl_s <= most);
}

bool acl_allows(const struct acl *acl, const struct acl_request *request)
{
    enum operation operation = request->operation;
    if (acl->is_root || operation == OPERATION_HELP) {
        return true; /* help tells what the documentation tells */
    }
    bool lists = operation == OPERATION_LIST || operation == OPERATION_SCAN;
    const struct rule *rule = acl_find(acl, request->path, lists);
    unsigned needed = capability_of(operation);
    if (rule == NULL || needed == 0 || (rule->capabilities & CAPABILITY_DENY) != 0 ||
        (rule->capabilities & needed) == 0 ||
        (request->needs_sudo && !ACL_MUTANT(SUDO_UNASKED) && (rule->capabilities & CAPABILITY_SUDO) == 0) ||
        !wrapping_fits(rule, request->wrap_ttl_s)) {
        return false;
    }
    bool writes = operation == OPERATION_CREATE || operation == OPERATION_UPDATE ||
                  (operation == OPERATION_PATCH && !ACL_MUTANT(PATCH_UNCHECKED));
    return !writes || rule_accepts_body(rule, request->body);
}

bool acl_tells_creation(const struct acl *acl, struct cf_slice path)
{
    const unsigned both = CAPABILITY_CREATE | CAPABILITY_UPDATE;
    const struct rule *rule = acl->is_root ? NULL : acl_find(acl, path, false);
    return rule != NULL && (rule->capabilities & CAPABILITY_DENY) == 0 &&
           (rule->capabilities & both) != 0 && (rule->capabilities & both) != both;
}

unsigned acl_capabilities(const struct acl *acl, struct cf_slice path)
{
    const struct rule *rule = acl_find(acl, path, true);
    unsigned bits = rule != NULL ? rule->capabilities : 0;
    return bits == 0 || (bits & CAPABILITY_DENY) != 0 ? CAPABILITY_DENY : bits;
}

void acl_each(const struct acl *acl,
              void (*each)(void *context, struct cf_slice path, bool is_glob,
                           unsigned capabilities),
              void *context)
{
    for (size_t i = 0; i < acl->rule_count; i++) {
        const struct rule *rule = acl->rules[i];
        struct cf_slice path = rule->path;
        path.size -= rule->is_prefix ? 1 : 0;
        each(context, path, rule->is_wild, rule->capabilities);
    }
}

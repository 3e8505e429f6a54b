/* node/core/acl_match.c: which rule decides about a path (core-api.md section 6, matching).
 *
 * Exact rules are in a hash table. Of the others, the first criterion is how far to the right the
 * first wildcard stands, so they are grouped by their head, the text before it. Heads that a path
 * begins with all begin with each other: sorted, they are the last head that is not greater than
 * the path, or lie on the chain of its parents, longest first. So one binary search and a walk over
 * a few parents visit the candidates in the order in which they decide.
 */
#include "node/base/map.h"
#include "node/core/mutant.h"
#include "node/core/policy_int.h"

/* A '+' that is a whole segment. */
static bool is_plus(struct cf_slice path, size_t at)
{
    return path.data[at] == '+' && (ACL_MUTANT(PLUS_ANYWHERE) ||
                                    ((at == 0 || path.data[at - 1] == '/') &&
                                     (at + 1 == path.size || path.data[at + 1] == '/')));
}

void rule_classify(struct rule *rule)
{
    struct cf_slice path = rule->path;
    rule->is_prefix = path.size != 0 && path.data[path.size - 1] == '*';
    rule->head_size = path.size - (rule->is_prefix ? 1 : 0);
    rule->plus_count = 0;
    for (size_t i = path.size; i-- > 0;) {
        if (is_plus(path, i)) {
            rule->plus_count++;
            rule->head_size = i;
        }
    }
    rule->is_wild = rule->is_prefix || rule->plus_count != 0;
}

bool rule_matches(const struct rule *rule, struct cf_slice path)
{
    struct cf_slice pattern = rule->path;
    size_t end = pattern.size - (rule->is_prefix ? 1 : 0);
    size_t at = 0;
    for (size_t i = 0; i < end; i++) {
        if (is_plus(pattern, i)) {
            size_t begin = at;
            while (at < path.size && (path.data[at] != '/' || (ACL_MUTANT(PLUS_MANY) && i + 1 == end))) {
                at++;
            }
            if (at == begin && !ACL_MUTANT(PLUS_EMPTY)) {
                return false;
            }
        } else if (at < path.size && path.data[at] == pattern.data[i]) {
            at++;
        } else {
            return false;
        }
    }
    return rule->is_prefix || at == path.size;
}

int rule_compare(const struct rule *a, const struct rule *b)
{
    if (a->head_size != b->head_size) {
        return a->head_size > b->head_size ? -1 : 1;
    }
    if (a->is_prefix != b->is_prefix) {
        return a->is_prefix != ACL_MUTANT(STAR_FIRST) ? 1 : -1;
    }
    if (a->plus_count != b->plus_count) {
        return (a->plus_count < b->plus_count) != ACL_MUTANT(PLUSES_FIRST) ? -1 : 1;
    }
    if (a->path.size != b->path.size) {
        return (a->path.size > b->path.size) != ACL_MUTANT(SHORT_FIRST) ? -1 : 1;
    }
    return ACL_MUTANT(LOW_FIRST) ? cf_slice_cmp(a->path, b->path) : cf_slice_cmp(b->path, a->path);
}

/* The last head that is not greater than the path; -1: none. */
static ptrdiff_t last_head(const struct acl *acl, struct cf_slice path)
{
    size_t low = 0, high = acl->head_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (cf_slice_cmp(acl->heads[middle].text, path) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return (ptrdiff_t)low - 1;
}

const struct rule *acl_find(const struct acl *acl, struct cf_slice path, bool lists)
{
    const struct rule *exact = cf_map_get(acl->exact, path);
    lists = (lists || ACL_MUTANT(READ_DROPS_SLASH)) && !ACL_MUTANT(LIST_NEEDS_SLASH);
    if (exact == NULL && lists && path.size != 0 && path.data[path.size - 1] == '/') {
        exact = cf_map_get(acl->exact, cf_slice_first(path, path.size - 1));
    }
    if (exact != NULL && !ACL_MUTANT(EXACT_LAST)) {
        return exact;
    }
    for (ptrdiff_t i = last_head(acl, path); i >= 0; i = acl->heads[i].parent) {
        const struct acl_head *head = &acl->heads[i];
        for (size_t k = 0; cf_slice_starts(path, head->text) && k < head->count; k++) {
            if (rule_matches(head->rules[k], path)) {
                return head->rules[k];
            }
        }
        if (ACL_MUTANT(HEADS_ALONE)) {
            break;
        }
    }
    return exact;
}

/* Whether some path that begins with `prefix` fits the rule. */
static bool reaches(const struct rule *rule, struct cf_slice prefix)
{
    struct cf_slice pattern = rule->path;
    size_t end = pattern.size - (rule->is_prefix ? 1 : 0);
    size_t at = 0;
    for (size_t i = 0; i < end; i++) {
        if (at == prefix.size) {
            return true; /* the rest of the rule lies below the prefix */
        }
        if (is_plus(pattern, i)) {
            size_t begin = at;
            while (at < prefix.size && prefix.data[at] != '/') {
                at++;
            }
            if (at == begin) {
                return false;
            }
        } else if (prefix.data[at] == pattern.data[i]) {
            at++;
        } else {
            return false;
        }
    }
    /* A rule for the folder without its slash is about the folder. */
    return at == prefix.size || rule->is_prefix ||
           (at + 1 == prefix.size && prefix.data[at] == '/');
}

bool acl_touches(const struct acl *acl, struct cf_slice prefix)
{
    for (size_t i = 0; i < acl->rule_count; i++) {
        unsigned bits = acl->rules[i]->capabilities;
        if (bits != 0 && (bits & CAPABILITY_DENY) == 0 && reaches(acl->rules[i], prefix)) {
            return true;
        }
    }
    return acl->is_root;
}

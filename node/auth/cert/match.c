/* node/auth/cert/match.c: whether a certificate is one that a role means. Pure. */
#include "node/auth/cert/cert_int.h"

/* Greedy with one point to come back to: linear in practice, never worse than sizes multiplied. */
bool cert_glob(struct cf_slice pattern, struct cf_slice text)
{
    size_t p = 0, t = 0, star = SIZE_MAX, from = 0;
    while (t < text.size) {
        if (p < pattern.size && pattern.data[p] == '*') {
            star = p++;
            from = t;
        } else if (p < pattern.size && pattern.data[p] == text.data[t]) {
            p++;
            t++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            t = ++from;
        } else {
            return false;
        }
    }
    while (p < pattern.size && pattern.data[p] == '*') {
        p++;
    }
    return p == pattern.size;
}

static bool any(const struct cert_patterns *patterns, const struct cf_slice *names, size_t count)
{
    for (size_t i = 0; i < patterns->count; i++) {
        for (size_t k = 0; k < count; k++) {
            if (cert_glob(patterns->items[i], names[k])) {
                return true;
            }
        }
    }
    return false;
}

static bool has_extension(const struct x509_facts *facts, struct cf_slice wanted)
{
    size_t colon = cf_slice_find(wanted, ':');
    struct cf_slice oid = cf_slice_first(wanted, colon), pattern = cf_slice_from(wanted, colon + 1);
    for (size_t i = 0; i < facts->extension_count; i++) {
        if (cf_slice_eq(facts->extensions[i].oid, oid) &&
            cert_glob(pattern, facts->extensions[i].value)) {
            return true;
        }
    }
    return false;
}

bool cert_matches(const struct cert_role *role, const struct x509_facts *facts)
{
    const struct cert_patterns *lists = role->lists;
    const struct {
        enum cert_list list;
        const struct cf_slice *names;
        size_t count;
    } single[] = {
        {CERT_COMMON_NAMES, &facts->common_name, 1},
        {CERT_DNS, facts->dns, facts->dns_count},
        {CERT_EMAILS, facts->emails, facts->email_count},
        {CERT_URIS, facts->uris, facts->uri_count},
        {CERT_UNITS, facts->units, facts->unit_count},
    };
    for (size_t i = 0; i < sizeof(single) / sizeof(single[0]); i++) {
        const struct cert_patterns *patterns = &lists[single[i].list];
        if (patterns->count != 0 && !any(patterns, single[i].names, single[i].count)) {
            return false;
        }
    }
    const struct cert_patterns *names = &lists[CERT_NAMES];
    if (names->count != 0 && !any(names, &facts->common_name, 1) &&
        !any(names, facts->dns, facts->dns_count) && !any(names, facts->emails, facts->email_count)) {
        return false;
    }
    for (size_t i = 0; i < lists[CERT_EXTENSIONS].count; i++) {
        if (!has_extension(facts, lists[CERT_EXTENSIONS].items[i])) {
            return false;
        }
    }
    return true;
}

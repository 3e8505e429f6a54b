/* node/core/sys/password_policies.c: rules for passwords, and passwords that obey them.
 *
 *     length = 20
 *     rule "charset" { charset = "abcdefghijklmnopqrstuvwxyz" min-chars = 1 }
 */
#include "node/base/memory.h"
#include "node/core/policy.h"
#include "node/core/sys/sys_int.h"
#include "node/format/hcl.h"

#define RULES_MAX 32
#define LENGTH_MIN 4
#define LENGTH_MAX 100
#define FOLDER "password/"

struct charset {
    struct cf_slice characters;
    int64_t min_chars;
};

struct password_rules {
    int64_t length;
    struct charset rules[RULES_MAX];
    size_t count;
};

/* ---- reading ---- */

static cf_status read_rule(struct password_rules *rules, const struct hcl_item *block,
                           struct cf_error *err)
{
    if (!cf_slice_is(block->labels[0], "charset") || rules->count == RULES_MAX) {
        return cf_fail(err, CF_INVALID, "line %u: only rules \"charset\" are known, %d at most",
                       block->line, RULES_MAX);
    }
    struct charset *rule = &rules->rules[rules->count++];
    for (uint32_t i = 0; i < block->value.count; i++) {
        const struct hcl_item *item = &block->value.items[i];
        if (cf_slice_is(item->key, "charset")) {
            CF_TRY(hcl_to_string(&item->value, "charset", &rule->characters, err));
        } else if (cf_slice_is(item->key, "min-chars") || cf_slice_is(item->key, "min_chars")) {
            CF_TRY(hcl_to_int(&item->value, "min-chars", &rule->min_chars, err));
        } else {
            return cf_fail(err, CF_INVALID, "line %u: invalid key \"%.*s\"", item->line,
                           CF_SHOW(cf_slice_first(item->key, 60)));
        }
    }
    if (rule->characters.size == 0 || rule->min_chars < 0) {
        return cf_fail(err, CF_INVALID, "line %u: a rule has a charset and no negative min-chars",
                       block->line);
    }
    for (size_t i = 0; i < rule->characters.size; i++) {
        if (rule->characters.data[i] < 0x20 || rule->characters.data[i] > 0x7e) {
            return cf_fail(err, CF_INVALID, "line %u: a charset holds printable ASCII only",
                           block->line);
        }
    }
    return CF_OK;
}

static cf_status check_rules(const struct password_rules *rules, struct cf_error *err)
{
    int64_t sum = 0;
    if (rules->length < LENGTH_MIN || rules->length > LENGTH_MAX) {
        return cf_fail(err, CF_INVALID, "passwords must be %d to %d characters long", LENGTH_MIN,
                       LENGTH_MAX);
    }
    if (rules->count == 0) {
        return cf_fail(err, CF_INVALID, "no charsets specified");
    }
    for (size_t i = 0; i < rules->count; i++) {
        if (rules->rules[i].min_chars > rules->length) {
            sum = rules->length + 1;
            break;
        }
        sum += rules->rules[i].min_chars;
    }
    if (sum > rules->length) {
        return cf_fail(err, CF_INVALID, "passwords are shorter than the rules ask for");
    }
    return CF_OK;
}

static cf_status read_rules(struct arena *arena, struct cf_slice text, struct password_rules *ret,
                            struct cf_error *err)
{
    const struct hcl_value *root;
    *ret = (struct password_rules){0};
    CF_TRY(hcl_parse(arena, text, &root, err));
    for (uint32_t i = 0; i < root->count; i++) {
        const struct hcl_item *item = &root->items[i];
        const struct hcl_item *blocks;
        size_t count;
        if (cf_slice_is(item->key, "length")) {
            CF_TRY(hcl_to_int(&item->value, "length", &ret->length, err));
        } else if (cf_slice_is(item->key, "rule")) {
            CF_TRY(hcl_blocks(arena, item, 1, &blocks, &count, err));
            for (size_t k = 0; k < count; k++) {
                CF_TRY(read_rule(ret, &blocks[k], err));
            }
        } else {
            return cf_fail(err, CF_INVALID, "line %u: invalid key \"%.*s\"", item->line,
                           CF_SHOW(cf_slice_first(item->key, 60)));
        }
    }
    return check_rules(ret, err);
}

/* ---- making ---- */

/* Uniform in [0, bound), bound 1..256: bytes past the last whole multiple are thrown away. */
static size_t random_below(const struct cf_random *random, size_t bound)
{
    uint8_t byte;
    do {
        cf_random_fill(random, &byte, 1);
    } while (byte >= 256 / bound * bound);
    return byte % bound;
}

/* Every character of any rule, once each, so that overlapping sets favour nothing. */
static size_t all_characters(const struct password_rules *rules, uint8_t to[128])
{
    bool seen[128] = {false};
    size_t count = 0;
    for (size_t i = 0; i < rules->count; i++) {
        for (size_t k = 0; k < rules->rules[i].characters.size; k++) {
            uint8_t byte = rules->rules[i].characters.data[k];
            if (!seen[byte]) {
                seen[byte] = true;
                to[count++] = byte;
            }
        }
    }
    return count;
}

/* What the rules demand first, then any, then shuffled (Fisher and Yates). */
static void make_password(const struct password_rules *rules, const struct cf_random *random,
                          uint8_t to[LENGTH_MAX])
{
    uint8_t all[128];
    size_t count = all_characters(rules, all), length = (size_t)rules->length, at = 0;
    for (size_t i = 0; i < rules->count; i++) {
        struct password_rules one = {.rules = {rules->rules[i]}, .count = 1};
        uint8_t own[128];
        size_t own_count = all_characters(&one, own);
        for (int64_t k = 0; k < rules->rules[i].min_chars; k++) {
            to[at++] = own[random_below(random, own_count)];
        }
    }
    while (at < length) {
        to[at++] = all[random_below(random, count)];
    }
    for (size_t i = length - 1; i > 0; i--) {
        size_t other = random_below(random, i + 1);
        uint8_t kept = to[i];
        to[i] = to[other];
        to[other] = kept;
    }
}

/* ---- the handlers ---- */

static struct cf_slice record_name(struct request *rq, struct cf_slice name)
{
    return cf_slice_str(arena_printf(rq->arena, FOLDER "%.*s", CF_SHOW(name)));
}

cf_status sys_password_list(struct request *rq, struct cf_error *err)
{
    struct txn_names names;
    CF_TRY(txn_scan(rq->txn, store_key(rq, CF_SLICE(FOLDER)), CF_SLICE_EMPTY, 0, &names, err));
    return response_keys(rq, &names, err);
}

static cf_status load_text(struct request *rq, struct cf_slice name, struct cf_slice *ret,
                           struct cf_error *err)
{
    struct json *record;
    cf_status status = store_get_json(rq, record_name(rq, name), &record, err);
    if (status == CF_NOT_FOUND) {
        return request_absent(err);
    }
    CF_TRY(status);
    *ret = json_get_string(record, "policy");
    return CF_OK;
}

static cf_status generate(struct request *rq, struct cf_slice name, struct cf_error *err)
{
    struct cf_slice text;
    struct password_rules rules;
    uint8_t password[LENGTH_MAX];
    CF_TRY(load_text(rq, name, &text, err));
    CF_TRY(read_rules(rq->arena, text, &rules, err));
    make_password(&rules, rq->random, password);
    json_set_string(rq->arena, response_data(rq), "password",
                    cf_slice_of(password, (size_t)rules.length));
    cf_wipe(password, sizeof(password));
    return CF_OK;
}

cf_status sys_password_read(struct request *rq, struct cf_error *err)
{
    const struct cf_slice ending = CF_SLICE("/generate");
    struct cf_slice name = rq->captures[0], text;
    if (cf_slice_ends(name, ending)) {
        return generate(rq, cf_slice_first(name, name.size - ending.size), err);
    }
    CF_TRY(load_text(rq, name, &text, err));
    json_set_string(rq->arena, response_data(rq), "policy", text);
    return CF_OK;
}

cf_status sys_password_write(struct request *rq, struct cf_error *err)
{
    struct cf_slice text;
    struct password_rules rules;
    CF_TRY(request_string(rq, "policy", &text, err));
    if (text.size == 0 || rq->captures[0].size == 0 || rq->captures[0].size > POLICY_NAME_MAX) {
        return cf_fail(err, CF_INVALID, "a password policy needs a name and a policy");
    }
    text = policy_text(rq->arena, text);
    cf_status status = read_rules(rq->arena, text, &rules, err);
    if (status != CF_OK) {
        return cf_error_prefix(err, CF_INVALID, "invalid password policy");
    }
    struct json *record = json_object_new(rq->arena);
    json_set_string(rq->arena, record, "policy", text);
    store_put_json(rq, record_name(rq, rq->captures[0]), record);
    return CF_OK;
}

cf_status sys_password_delete(struct request *rq, struct cf_error *err)
{
    (void)err;
    store_delete(rq, record_name(rq, rq->captures[0]));
    return CF_OK;
}

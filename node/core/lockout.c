/* node/core/lockout.c: counting failed logins. Records lockout/user/<name> and lockout/none/<4 digits> in the
 * mount's data, of class cluster: they go with the mount. */
#include "node/core/lockout.h"

#include "node/base/memory.h"
#include "node/core/core.h"
#include "node/core/mount.h"
#include "node/crypto/hash.h"

#define USER_PREFIX "lockout/user/"
#define THRESHOLD 5
#define DURATION_S ((int64_t)15 * 60)
#define NS_PER_S ((int64_t)1000000000)

/* ---- settings ---- */

static void overlay(struct lockout_settings *to, const struct lockout_settings *from)
{
    to->is_off = to->is_off || from->is_off;
    to->threshold = from->threshold != 0 ? from->threshold : to->threshold;
    to->duration_s = from->duration_s != 0 ? from->duration_s : to->duration_s;
    to->reset_s = from->reset_s != 0 ? from->reset_s : to->reset_s;
}

struct lockout_settings lockout_settings_of(const struct request *rq)
{
    const struct core_config *config = core_config(rq->core);
    struct lockout_settings settings = {false, THRESHOLD, DURATION_S, DURATION_S};
    static const char all[] = "all";
    for (unsigned own = 0; own < 2; own++) {
        for (size_t i = 0; i < config->lockout_rule_count; i++) {
            const struct lockout_rule *rule = &config->lockout_rules[i];
            if (own ? cf_slice_eq(rule->type, rq->mount->type) : cf_slice_is(rule->type, all)) {
                overlay(&settings, &rule->settings);
            }
        }
    }
    const struct json *tuned = json_get(rq->mount->config, "user_lockout_config");
    struct lockout_settings own = {
        .threshold = json_get_int(tuned, "lockout_threshold"),
        .duration_s = json_get_int(tuned, "lockout_duration"),
        .reset_s = json_get_int(tuned, "lockout_counter_reset_duration"),
    };
    overlay(&settings, &own);
    bool off;
    if (json_bool(json_get(tuned, "lockout_disable"), &off)) {
        settings.is_off = off; /* the mount's word goes before the configuration's */
    }
    return settings;
}

/* ---- records ---- */

struct failures {
    int64_t count, last_ns, locked_until_ns;
};

static struct key key_of(struct request *rq, struct cf_slice user, bool exists)
{
    uint8_t hash[32];
    if (exists) {
        return mount_local_key(rq->arena, rq->mount,
                               cf_slice_str(arena_printf(rq->arena, USER_PREFIX "%.*s",
                                                         CF_SHOW(user))));
    }
    hash_hmac_sha256(cf_slice_of(rq->view->salt, sizeof(rq->view->salt)), user, hash);
    return mount_local_key(
        rq->arena, rq->mount,
        cf_slice_str(arena_printf(rq->arena, "lockout/none/%02x%02x", hash[0], hash[1])));
}

static cf_status load(struct request *rq, struct key key, struct failures *ret,
                      struct cf_error *err)
{
    struct cf_slice bytes;
    struct json *record;
    *ret = (struct failures){0};
    cf_status status = txn_get(rq->txn, key, &bytes, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    CF_TRY(record_decode(bytes, rq->arena, &record, err));
    *ret = (struct failures){json_get_int(record, "count"), json_get_int(record, "last"),
                             json_get_int(record, "locked_until")};
    return CF_OK;
}

/* ---- logins ---- */

cf_status lockout_check(struct request *rq, struct cf_slice user, bool exists, struct cf_error *err)
{
    struct failures failures;
    struct lockout_settings settings = lockout_settings_of(rq);
    if (settings.is_off) {
        return CF_OK;
    }
    CF_TRY(load(rq, key_of(rq, user, exists), &failures, err));
    return failures.locked_until_ns > request_now_ns(rq)
               ? cf_fail(err, CF_DENIED, "permission denied")
               : CF_OK;
}

cf_status lockout_failed(struct request *rq, struct cf_slice user, bool exists,
                         struct cf_error *err)
{
    struct failures failures;
    struct lockout_settings settings = lockout_settings_of(rq);
    int64_t now = request_now_ns(rq);
    if (settings.is_off) {
        return CF_OK;
    }
    struct key key = key_of(rq, user, exists);
    CF_TRY(load(rq, key, &failures, err));
    bool is_old = failures.last_ns + settings.reset_s * NS_PER_S <= now ||
                  (failures.locked_until_ns != 0 && failures.locked_until_ns <= now);
    failures.count = is_old ? 1 : failures.count + 1;
    failures.last_ns = now;
    failures.locked_until_ns =
        failures.count >= settings.threshold ? now + settings.duration_s * NS_PER_S : 0;
    struct json *record = json_object_new(rq->arena);
    json_set_int(rq->arena, record, "count", failures.count);
    json_set_int(rq->arena, record, "last", failures.last_ns);
    json_set_int(rq->arena, record, "locked_until", failures.locked_until_ns);
    txn_put(rq->txn, key, record_encode(rq->arena, record));
    rq->keeps_writes = true;
    return CF_OK;
}

cf_status lockout_passed(struct request *rq, struct cf_slice user, struct cf_error *err)
{
    struct cf_slice bytes;
    struct key key = key_of(rq, user, true);
    cf_status status = txn_get(rq->txn, key, &bytes, err);
    if (status == CF_OK) {
        txn_delete(rq->txn, key);
    }
    return status == CF_NOT_FOUND ? CF_OK : status;
}

/* ---- operators ---- */

cf_status lockout_list(struct request *rq, const struct mount *mount, struct json **ret,
                       struct cf_error *err)
{
    struct txn_names names;
    int64_t now = request_now_ns(rq);
    *ret = json_array_new(rq->arena);
    CF_TRY(txn_scan(rq->txn, mount_local_key(rq->arena, mount, CF_SLICE(USER_PREFIX)),
                    CF_SLICE_EMPTY, 0, &names, err));
    for (size_t i = 0; i < names.count; i++) {
        struct failures failures;
        struct cf_slice name =
            cf_slice_str(arena_printf(rq->arena, USER_PREFIX "%.*s", CF_SHOW(names.names[i])));
        CF_TRY(load(rq, mount_local_key(rq->arena, mount, name), &failures, err));
        if (failures.locked_until_ns > now) {
            json_array_add(rq->arena, *ret, json_from_borrowed(rq->arena, names.names[i]));
        }
    }
    return CF_OK;
}

void lockout_forget(struct request *rq, const struct mount *mount, struct cf_slice user)
{
    struct cf_slice name =
        cf_slice_str(arena_printf(rq->arena, USER_PREFIX "%.*s", CF_SHOW(user)));
    txn_delete(rq->txn, mount_local_key(rq->arena, mount, name));
}

/* node/core/sys/audit.c: sys/audit, sys/audit-hash and sys/config/auditing (core-api.md section 16). */
#include "node/base/memory.h"
#include "node/core/audit_int.h"
#include "node/core/core.h"
#include "node/core/sys/sys_int.h"

#define PATH_MAX_SIZE ((size_t)100)

/* ---- paths ---- */

/* "f/" of "f", "/f/" ...; in the arena. */
static cf_status device_path(struct request *rq, struct cf_slice *ret, struct cf_error *err)
{
    struct cf_slice path = rq->captures[0];
    while (path.size != 0 && path.data[0] == '/') {
        path = cf_slice_from(path, 1);
    }
    while (path.size != 0 && path.data[path.size - 1] == '/') {
        path.size--;
    }
    if (path.size == 0 || path.size > PATH_MAX_SIZE) {
        return cf_fail(err, CF_INVALID, "audit device path must be specified, of at most %zu bytes",
                       PATH_MAX_SIZE);
    }
    for (size_t i = 0; i < path.size; i++) {
        if (path.data[i] < 0x20 || path.data[i] == 0x7f) {
            return cf_fail(err, CF_INVALID, "path cannot contain non-printable characters");
        }
    }
    *ret = cf_slice_str(arena_printf(rq->arena, "%.*s/", CF_SHOW(path)));
    return CF_OK;
}

/* ---- the table ---- */

cf_status audit_take_guard(struct request *rq, bool is_local, struct cf_error *err)
{
    uint8_t class = is_local ? CLASS_CLUSTER : CLASS_REPLICATED;
    struct key key = {class, NAMESPACE_ROOT, CF_SLICE(AUDIT_GUARD)};
    struct cf_slice value;
    cf_status status = txn_get(rq->txn, key, &value, err);
    if (status != CF_OK && status != CF_NOT_FOUND) {
        return status;
    }
    struct uuid fresh = encode_uuid_new(rq->random);
    txn_put(rq->txn, key, cf_slice_of(fresh.bytes, sizeof(fresh.bytes)));
    return CF_OK;
}

cf_status sys_audit_list(struct request *rq, struct cf_error *err)
{
    const struct audit_table *table = rq->view->audit;
    struct json *data = response_data(rq);
    (void)err;
    for (size_t i = 0; i < table->count; i++) {
        const struct audit_entry *entry = &table->entries[i];
        struct json *shown = json_object_new(rq->arena);
        json_set_string(rq->arena, shown, "path", entry->path);
        json_set_string(rq->arena, shown, "type", entry->type);
        json_set_string(rq->arena, shown, "description", entry->description);
        json_set(rq->arena, shown, "options",
                 entry->options != NULL ? json_copy(rq->arena, entry->options)
                                        : json_object_new(rq->arena));
        json_set_bool(rq->arena, shown, "local", entry->is_local);
        json_object_set(rq->arena, data, entry->path, shown);
    }
    rq->response.data_at_top = true;
    return CF_OK;
}

static cf_status read_options(struct request *rq, struct json **ret, struct cf_error *err)
{
    const struct json *given = request_field(rq, "options");
    *ret = json_object_new(rq->arena);
    if (given == NULL) {
        return CF_OK;
    }
    if (!json_is(given, JSON_OBJECT)) {
        return cf_fail(err, CF_INVALID, "field \"options\" must be an object of strings");
    }
    for (size_t i = 0; i < json_count(given); i++) {
        const struct json *value = given->members[i].value;
        struct cf_slice text;
        bool boolean;
        if (json_bool(value, &boolean)) {
            text = boolean ? CF_SLICE("true") : CF_SLICE("false");
        } else if (!json_string(value, &text) && !json_number(value, &text)) {
            return cf_fail(err, CF_INVALID, "field \"options\" must be an object of strings");
        }
        json_object_set(rq->arena, *ret, given->members[i].key, json_from_string(rq->arena, text));
    }
    return CF_OK;
}

static bool is_known(const struct audit_ops *ops, struct cf_slice name)
{
    static const char *const common[] = {"format",  "hmac_accessor", "log_raw",  "elide_list_responses",
                                         "prefix",  "skip_test"};
    for (size_t i = 0; i < CF_LENGTH(common); i++) {
        if (cf_slice_is(name, common[i])) {
            return true;
        }
    }
    for (const char *const *at = ops->options; *at != NULL; at++) {
        if (cf_slice_is(name, *at)) {
            return true;
        }
    }
    return false;
}

cf_status audit_check(const struct request *rq, struct audit_entry *entry, struct cf_error *err)
{
    const struct core_config *config = core_config(rq->core);
    const struct audit_ops *ops = audit_find(core_audit(rq->core), entry->type);
    if (ops == NULL) {
        return cf_fail(err, CF_INVALID, "unknown backend type: \"%.*s\"",
                       CF_SHOW(cf_slice_first(entry->type, 40)));
    }
    for (size_t i = 0; i < json_count(entry->options); i++) {
        struct cf_slice name = entry->options->members[i].key;
        if (!is_known(ops, name)) {
            return cf_fail(err, CF_INVALID, "an audit device of type \"%s\" has no option \"%.*s\"",
                           ops->type, CF_SHOW(cf_slice_first(name, 40)));
        }
    }
    CF_TRY(audit_read_options(entry, err));
    if (json_get(entry->options, "prefix") != NULL && !config->audit_may_prefix) {
        return cf_fail(err, CF_INVALID,
                       "audit log prefixing is not allowed: the configuration has to say "
                       "allow_audit_log_prefixing = true");
    }
    return CF_OK;
}

cf_status audit_check_free(const struct request *rq, const struct audit_entry *entry,
                           struct cf_error *err)
{
    const struct audit_table *table = rq->view->audit;
    size_t alike = 0;
    for (size_t i = 0; i < table->count; i++) {
        const struct audit_entry *other = &table->entries[i];
        if (cf_slice_starts(other->path, entry->path) ||
            cf_slice_starts(entry->path, other->path)) {
            return cf_fail(err, CF_INVALID, "path already in use");
        }
        alike += other->is_local == entry->is_local;
    }
    return alike < AUDIT_CLASS_MAX
               ? CF_OK
               : cf_fail(err, CF_INVALID, "there are %zu audit devices, which is the most",
                         AUDIT_CLASS_MAX);
}

void audit_store(struct request *rq, struct audit_entry *entry)
{
    struct uuid uuid = encode_uuid_new(rq->random);
    encode_uuid_text(uuid, entry->uuid);
    cf_random_fill(rq->random, entry->salt, sizeof(entry->salt));
    txn_put(rq->txn, audit_entry_key(rq->arena, entry),
            record_encode(rq->arena, audit_entry_record(rq->arena, entry)));
}

cf_status sys_audit_enable(struct request *rq, struct cf_error *err)
{
    struct audit_entry entry = {0};
    if (!core_config(rq->core)->audit_by_api) {
        return cf_fail(err, CF_INVALID,
                       "cannot enable audit device via API; use declarative, config-based audit "
                       "device management instead");
    }
    CF_TRY(device_path(rq, &entry.path, err));
    CF_TRY(request_string(rq, "type", &entry.type, err));
    CF_TRY(request_string(rq, "description", &entry.description, err));
    CF_TRY(request_bool(rq, "local", false, &entry.is_local, err));
    CF_TRY(read_options(rq, &entry.options, err));
    CF_TRY(audit_check(rq, &entry, err));
    CF_TRY(audit_take_guard(rq, entry.is_local, err));
    CF_TRY(audit_check_free(rq, &entry, err));
    CF_TRY(audit_probe(core_audit(rq->core), &entry, err));
    audit_store(rq, &entry);
    return CF_OK;
}

cf_status sys_audit_disable(struct request *rq, struct cf_error *err)
{
    struct cf_slice path;
    CF_TRY(device_path(rq, &path, err));
    const struct audit_entry *entry = audit_table_find(rq->view->audit, path);
    if (entry == NULL) {
        return CF_OK;
    }
    if (entry->is_configured) {
        return cf_fail(err, CF_INVALID,
                       "cannot disable configuration-managed audit device: remove its stanza from "
                       "the configuration and send SIGHUP");
    }
    CF_TRY(audit_take_guard(rq, entry->is_local, err));
    txn_delete(rq->txn, audit_entry_key(rq->arena, entry));
    return CF_OK;
}

cf_status sys_audit_hash(struct request *rq, struct cf_error *err)
{
    struct cf_slice path, input;
    char hash[AUDIT_HASH_SIZE];
    CF_TRY(device_path(rq, &path, err));
    CF_TRY(request_string(rq, "input", &input, err));
    if (input.size == 0) {
        return cf_fail(err, CF_INVALID, "the \"input\" parameter is empty");
    }
    const struct audit_entry *entry = audit_table_find(rq->view->audit, path);
    if (entry == NULL) {
        return cf_fail(err, CF_INVALID, "unknown audit backend \"%.*s\"", CF_SHOW(path));
    }
    audit_hash(entry, input, hash);
    json_set_string(rq->arena, response_data(rq), "hash", cf_slice_of(hash, sizeof(hash)));
    return CF_OK;
}

/* ---- headers ---- */

static cf_status load_headers(struct request *rq, struct json **ret, struct cf_error *err)
{
    struct cf_slice record;
    *ret = json_object_new(rq->arena);
    cf_status status = txn_get(rq->txn, AUDIT_HEADERS_KEY, &record, err);
    if (status == CF_NOT_FOUND) {
        return CF_OK;
    }
    CF_TRY(status);
    return record_decode(record, rq->arena, ret, err);
}

static struct cf_slice lower(struct arena *arena, struct cf_slice name)
{
    char *text = arena_text(arena, name);
    for (size_t i = 0; i < name.size; i++) {
        text[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] - 'A' + 'a') : text[i];
    }
    return cf_slice_of(text, name.size);
}

static cf_status header_name(struct request *rq, struct cf_slice *ret, struct cf_error *err)
{
    struct cf_slice name = rq->captures[0];
    bool is_good = name.size != 0 && name.size <= 128;
    for (size_t i = 0; i < name.size && is_good; i++) {
        /* token of RFC 9110 5.6.2 */
        is_good = name.data[i] > 0x20 && name.data[i] < 0x7f &&
                  memchr("\"(),/:;<=>?@[\\]{}", name.data[i], 17) == NULL;
    }
    *ret = lower(rq->arena, name);
    return is_good ? CF_OK : cf_fail(err, CF_INVALID, "missing or malformed header name");
}

cf_status sys_audit_headers(struct request *rq, struct cf_error *err)
{
    struct json *headers;
    CF_TRY(load_headers(rq, &headers, err));
    json_set(rq->arena, response_data(rq), "headers", headers);
    return CF_OK;
}

cf_status sys_audit_header_read(struct request *rq, struct cf_error *err)
{
    struct cf_slice name;
    struct json *headers;
    CF_TRY(header_name(rq, &name, err));
    CF_TRY(load_headers(rq, &headers, err));
    struct json *found = json_get_slice(headers, name);
    if (found == NULL) {
        return cf_fail(err, CF_INVALID, "Could not find header in config");
    }
    json_object_set(rq->arena, response_data(rq), rq->captures[0], found);
    return CF_OK;
}

static void save_headers(struct request *rq, const struct json *headers)
{
    txn_put(rq->txn, AUDIT_HEADERS_KEY, record_encode(rq->arena, headers));
}

cf_status sys_audit_header_write(struct request *rq, struct cf_error *err)
{
    struct cf_slice name;
    struct json *headers, *settings = json_object_new(rq->arena);
    bool hmac;
    CF_TRY(header_name(rq, &name, err));
    CF_TRY(request_bool(rq, "hmac", false, &hmac, err));
    CF_TRY(load_headers(rq, &headers, err));
    if (json_get_slice(headers, name) == NULL && json_count(headers) >= AUDIT_HEADERS_MAX) {
        return cf_fail(err, CF_INVALID, "at most %zu headers can be recorded", AUDIT_HEADERS_MAX);
    }
    json_set_bool(rq->arena, settings, "hmac", hmac);
    json_object_set(rq->arena, headers, name, settings);
    save_headers(rq, headers);
    return CF_OK;
}

cf_status sys_audit_header_delete(struct request *rq, struct cf_error *err)
{
    struct cf_slice name;
    struct json *headers;
    CF_TRY(header_name(rq, &name, err));
    CF_TRY(load_headers(rq, &headers, err));
    if (json_object_remove(rq->arena, headers, name)) {
        save_headers(rq, headers);
    }
    return CF_OK;
}

/* node/core/audit_record.c: one request or answer as a line of an audit log (core-api.md section 16).
 *
 * A member without content is left out. Strings are the client's business and go through the hash, but for
 * names that the policies, the route and the token give. */
#include "node/base/host.h"
#include "node/base/memory.h"
#include "node/core/audit_int.h"
#include "node/core/namespace.h"
#include "node/core/token.h"
#include "node/format/timefmt.h"

struct record {
    struct cf_buf *to;
    struct json_out out;
    const struct audit_entry *entry;
    const struct audit_table *table;
    const struct request *rq;
    /* Token and accessor stand in two places each. */
    struct cf_slice hashed[2];
    char hashes[2][AUDIT_HASH_SIZE];
    unsigned next;
};

/* ---- members ---- */

static void add_text(struct record *r, const char *key, struct cf_slice text)
{
    if (text.size != 0) {
        json_out_key(&r->out, key);
        json_out_string(&r->out, text);
    }
}

static void add_int(struct record *r, const char *key, int64_t value)
{
    if (value != 0) {
        json_out_key(&r->out, key);
        json_out_int(&r->out, value);
    }
}

static void add_hashed(struct record *r, const char *key, struct cf_slice text)
{
    if (r->entry->log_raw || text.size == 0) {
        add_text(r, key, text);
        return;
    }
    unsigned at = 0;
    while (at < 2 && (r->hashed[at].data != text.data || r->hashed[at].size != text.size)) {
        at++;
    }
    if (at == 2) {
        at = r->next++ % 2;
        r->hashed[at] = text;
        audit_hash(r->entry, text, r->hashes[at]);
    }
    add_text(r, key, cf_slice_of(r->hashes[at], AUDIT_HASH_SIZE));
}

static void add_accessor(struct record *r, const char *key, struct cf_slice accessor)
{
    if (r->entry->plain_accessor) {
        add_text(r, key, accessor);
    } else {
        add_hashed(r, key, accessor);
    }
}

static void add_names(struct record *r, const char *key, const struct cf_slice *names, size_t count)
{
    if (count == 0) {
        return;
    }
    json_out_key(&r->out, key);
    json_out_array(&r->out);
    for (size_t i = 0; i < count; i++) {
        json_out_string(&r->out, names[i]);
    }
    json_out_array_end(&r->out);
}

static void add_time(struct record *r, const char *key, int64_t ns)
{
    char text[TIMEFMT_SIZE];
    timefmt_text(ns, text);
    json_out_key(&r->out, key);
    json_out_text(&r->out, text);
}

static void add_value(struct record *r, const char *key, const struct json *value,
                      const struct json *plain)
{
    json_out_key(&r->out, key);
    json_out_raw(&r->out, CF_SLICE_EMPTY); /* the value follows past the writer */
    audit_write_value(r->to, r->entry, r->rq->arena, value, cf_slice_str(key), plain);
}

static const struct json *plain_keys(const struct record *r, const char *setting)
{
    return r->rq->mount != NULL ? json_get(r->rq->mount->config, setting) : NULL;
}

/* ---- auth ---- */

static void add_policy_results(struct record *r)
{
    const struct request *rq = r->rq;
    json_out_key(&r->out, "policy_results");
    json_out_object(&r->out);
    json_out_key(&r->out, "allowed");
    json_out_bool(&r->out, rq->error.status != CF_DENIED);
    if (rq->caller->is_root && rq->error.status != CF_DENIED) {
        json_out_key(&r->out, "granting_policies");
        json_out_raw(&r->out, CF_SLICE("[{\"name\":\"root\",\"namespace_id\":\"root\","
                                       "\"type\":\"acl\"}]"));
    }
    json_out_object_end(&r->out);
}

static void add_auth(struct record *r)
{
    const struct token_entry *caller = r->rq->caller;
    json_out_key(&r->out, "auth");
    json_out_object(&r->out);
    if (caller != NULL) {
        add_hashed(r, "client_token", r->rq->token);
        add_accessor(r, "accessor", caller->accessor);
        add_text(r, "display_name", caller->display_name);
        add_names(r, "policies", caller->policies, caller->policy_count);
        add_names(r, "token_policies", caller->policies, caller->policy_count);
        add_policy_results(r);
        if (caller->metadata != NULL) {
            json_out_key(&r->out, "metadata");
            json_out_node(&r->out, caller->metadata);
        }
        add_int(r, "remaining_uses", caller->num_uses);
        add_text(r, "entity_id", caller->entity_id);
        add_text(r, "token_type", caller->type);
        add_int(r, "token_ttl", caller->creation_ttl_s);
        add_time(r, "token_issue_time", caller->creation_ns);
    } else {
        add_text(r, "token_type", CF_SLICE("default"));
    }
    json_out_object_end(&r->out);
}

/* The token that a login or a creation gives. */
static void add_new_token(struct record *r, const struct auth_result *auth)
{
    const struct token_entry *token = auth->token;
    json_out_key(&r->out, "auth");
    json_out_object(&r->out);
    add_hashed(r, "client_token", auth->client_token);
    add_accessor(r, "accessor", auth->accessor);
    add_text(r, "display_name", token != NULL ? token->display_name : auth->display_name);
    if (token != NULL) {
        add_names(r, "policies", token->policies, token->policy_count);
        add_names(r, "token_policies", token->policies, token->policy_count);
        add_int(r, "num_uses", token->num_uses);
        add_text(r, "entity_id", token->entity_id);
        add_text(r, "token_type", token->type);
    } else {
        add_names(r, "policies", auth->policies, auth->policy_count);
    }
    if (auth->metadata != NULL) {
        json_out_key(&r->out, "metadata");
        json_out_node(&r->out, auth->metadata);
    }
    add_int(r, "token_ttl", auth->lease_duration_s);
    json_out_object_end(&r->out);
}

/* ---- request ---- */

static void add_mount(struct record *r)
{
    const struct mount *mount = r->rq->mount;
    if (mount == NULL) {
        return;
    }
    add_text(r, "mount_point", mount->path);
    add_text(r, "mount_type", mount->type);
    add_text(r, "mount_accessor", mount->accessor);
    add_text(r, "mount_class",
             mount->ops->kind == ENGINE_AUTH ? CF_SLICE("auth") : CF_SLICE("secret"));
}

void audit_carry_headers(struct request *rq)
{
    const struct audit_table *table = rq->view->audit;
    struct carried_header *carried = NULL;
    size_t count = 0;
    for (size_t i = 0; rq->header != NULL && i < table->header_count; i++) {
        struct cf_slice value;
        if (!rq->header(rq, table->headers[i].name, &value)) {
            continue;
        }
        if (carried == NULL) {
            carried = arena_alloc(rq->arena, table->header_count * sizeof(*carried));
        }
        carried[count++] = (struct carried_header){arena_copy(rq->arena, table->headers[i].name),
                                                   arena_copy(rq->arena, value)};
    }
    rq->headers = carried;
    rq->header_count = count;
}

bool audit_carried_header(const struct request *rq, struct cf_slice name, struct cf_slice *ret)
{
    for (size_t i = 0; i < rq->header_count; i++) {
        if (cf_slice_eq(rq->headers[i].name, name)) {
            *ret = rq->headers[i].value;
            return true;
        }
    }
    return false;
}

static void add_headers(struct record *r)
{
    const struct request *rq = r->rq;
    bool open = false;
    for (size_t i = 0; rq->header != NULL && i < r->table->header_count; i++) {
        const struct audit_header *header = &r->table->headers[i];
        struct cf_slice value;
        char hash[AUDIT_HASH_SIZE];
        if (!rq->header(rq, header->name, &value)) {
            continue;
        }
        if (!open) {
            json_out_key(&r->out, "headers");
            json_out_object(&r->out);
            open = true;
        }
        if (header->hmac) {
            audit_hash(r->entry, value, hash);
            value = cf_slice_of(hash, sizeof(hash));
        }
        json_out_key_slice(&r->out, header->name);
        json_out_array(&r->out);
        json_out_string(&r->out, value);
        json_out_array_end(&r->out);
    }
    if (open) {
        json_out_object_end(&r->out);
    }
}

static void add_request(struct record *r)
{
    const struct request *rq = r->rq;
    const struct json *data = rq->body != NULL ? rq->body : rq->query;
    json_out_key(&r->out, "request");
    json_out_object(&r->out);
    add_text(r, "id", cf_slice_str(rq->id));
    add_text(r, "client_id", rq->caller != NULL ? rq->caller->entity_id : CF_SLICE_EMPTY);
    add_text(r, "operation", cf_slice_str(operation_name(rq->operation)));
    add_mount(r);
    add_hashed(r, "client_token", rq->token);
    if (rq->caller != NULL) {
        add_accessor(r, "client_token_accessor", rq->caller->accessor);
    }
    json_out_key(&r->out, "namespace");
    json_out_object(&r->out);
    if (rq->nspace == NULL || rq->ns == NAMESPACE_ROOT) {
        add_text(r, "id", CF_SLICE("root"));
    } else {
        add_text(r, "id", rq->nspace->id);
        add_text(r, "path", rq->nspace->path);
    }
    json_out_object_end(&r->out);
    /* A request that found no namespace keeps its whole path. */
    add_text(r, "path", rq->path);
    if (json_count(data) != 0) {
        add_value(r, "data", data, plain_keys(r, "audit_non_hmac_request_keys"));
    }
    add_text(r, "remote_address", rq->remote_address);
    add_int(r, "remote_port", rq->remote_port);
    add_int(r, "wrap_ttl", rq->wrap_ttl_s);
    add_headers(r);
    json_out_object_end(&r->out);
}

/* ---- response ---- */

static void add_wrap_info(struct record *r, const struct wrap_info *wrap)
{
    json_out_key(&r->out, "wrap_info");
    json_out_object(&r->out);
    add_int(r, "ttl", wrap->ttl_s);
    add_hashed(r, "token", wrap->token);
    add_accessor(r, "accessor", wrap->accessor);
    add_time(r, "creation_time", wrap->creation_ns);
    add_text(r, "creation_path", wrap->creation_path);
    add_accessor(r, "wrapped_accessor", wrap->wrapped_accessor);
    json_out_object_end(&r->out);
}

/* Lists without their names: how many there were. */
static const struct json *without_lists(struct record *r, const struct json *data)
{
    static const char *const lists[] = {"keys", "key_info"};
    struct arena *arena = r->rq->arena;
    struct json *counted = json_object_new(arena);
    for (size_t i = 0; i < json_count(data); i++) {
        json_object_set(arena, counted, data->members[i].key, data->members[i].value);
    }
    for (size_t i = 0; i < CF_LENGTH(lists); i++) {
        const struct json *list = json_get(data, lists[i]);
        if (json_is(list, JSON_ARRAY) || json_is(list, JSON_OBJECT)) {
            json_set_int(arena, counted, lists[i], (int64_t)json_count(list));
        }
    }
    return counted;
}

/* What another node answered, or what stood wrapped: the members of an envelope. Its strings are hashed
 * all alike, tokens and accessors with them. */
static void add_foreign(struct record *r, const struct json *body)
{
    static const char *const parts[] = {"auth", "data", "wrap_info"};
    bool is_envelope = json_get(body, "request_id") != NULL;
    for (size_t i = 0; is_envelope && i < CF_LENGTH(parts); i++) {
        if (json_is(json_get(body, parts[i]), JSON_OBJECT)) {
            add_value(r, parts[i], json_get(body, parts[i]),
                      i == 1 ? plain_keys(r, "audit_non_hmac_response_keys") : NULL);
        }
    }
    if (!is_envelope) {
        add_value(r, "data", body, plain_keys(r, "audit_non_hmac_response_keys"));
    }
}

static void add_raw(struct record *r)
{
    const struct response *rs = &r->rq->response;
    struct json *body = NULL;
    bool is_json = rs->content_type == NULL ||
                   cf_slice_starts(cf_slice_str(rs->content_type), CF_SLICE("application/json"));
    if (is_json && json_parse(r->rq->arena, rs->raw, NULL, &body, NULL) == CF_OK &&
        json_is(body, JSON_OBJECT)) {
        add_foreign(r, body);
        return;
    }
    json_out_key(&r->out, "data");
    json_out_object(&r->out);
    add_text(r, "http_content_type", cf_slice_str(rs->content_type));
    add_hashed(r, "http_raw_body", rs->raw);
    add_int(r, "http_status_code", rs->status != 0 ? rs->status : 200);
    json_out_object_end(&r->out);
}

static void add_warnings(struct record *r)
{
    const struct warning *reversed[64];
    size_t count = 0;
    for (const struct warning *at = r->rq->response.warnings; at != NULL && count < 64;
         at = at->next) {
        reversed[count++] = at;
    }
    if (count == 0) {
        return;
    }
    json_out_key(&r->out, "warnings");
    json_out_array(&r->out);
    while (count != 0) {
        json_out_text(&r->out, reversed[--count]->text);
    }
    json_out_array_end(&r->out);
}

static void add_response(struct record *r)
{
    const struct request *rq = r->rq;
    const struct response *rs = &rq->response;
    json_out_key(&r->out, "response");
    json_out_object(&r->out);
    add_mount(r);
    if (rs->auth != NULL) {
        add_new_token(r, rs->auth);
    }
    if (rs->lease_id.size != 0) {
        json_out_key(&r->out, "secret");
        json_out_object(&r->out);
        add_text(r, "lease_id", rs->lease_id);
        json_out_object_end(&r->out);
    }
    if (rs->raw.size != 0) {
        add_raw(r);
    } else if (rs->data != NULL) {
        bool elides = r->entry->elide_lists && rq->operation == OPERATION_LIST;
        add_value(r, "data", elides ? without_lists(r, rs->data) : rs->data,
                  plain_keys(r, "audit_non_hmac_response_keys"));
    }
    add_warnings(r);
    if (rs->wrap != NULL) {
        add_wrap_info(r, rs->wrap);
    }
    json_out_object_end(&r->out);
}

/* ---- the line ---- */

static void add_error(struct record *r, enum audit_phase phase)
{
    const struct cf_error *error = &r->rq->error;
    if (phase == AUDIT_OUTCOME) {
        /* What was recorded before did not come about, or nobody knows. */
        add_text(r, "outcome",
                 error->status == CF_UNKNOWN_OUTCOME ? CF_SLICE("unknown") : CF_SLICE("no effect"));
    }
    if (error->status != CF_OK && error->message[0] != '\0') {
        add_text(r, "error", cf_slice_str(error->message));
    } else if (error->status != CF_OK && error->status != CF_NOT_FOUND) {
        add_text(r, "error", cf_slice_str(cf_status_text(error->status)));
    }
}

void audit_write_record(struct cf_buf *to, const struct audit_entry *entry,
                        const struct audit_table *table, enum audit_phase phase,
                        const struct request *rq)
{
    struct record r = {.to = to, .entry = entry, .table = table, .rq = rq};
    cf_buf_add_slice(to, entry->prefix);
    json_out_init(&r.out, to);
    json_out_object(&r.out);
    add_time(&r, "time", cf_wall_ns(cf_host_clock()));
    add_text(&r, "type", phase == AUDIT_REQUEST ? CF_SLICE("request") : CF_SLICE("response"));
    add_auth(&r);
    add_request(&r);
    if (phase != AUDIT_REQUEST && rq->error.status == CF_OK) {
        add_response(&r);
    }
    add_error(&r, phase);
    if (phase == AUDIT_REQUEST) {
        add_text(&r, "forwarded_from", rq->forwarded_from);
    } else if (rq->is_forwarded) {
        json_out_key(&r.out, "forwarded");
        json_out_bool(&r.out, true);
    }
    json_out_object_end(&r.out);
    json_out_end(&r.out);
    cf_buf_add_byte(to, '\n');
}

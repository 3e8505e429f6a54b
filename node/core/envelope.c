/* node/core/envelope.c: the body of an answer. */
#include "node/core/envelope.h"

#include "node/core/token.h"
#include "node/format/timefmt.h"

static bool has_content(const struct response *rs)
{
    return rs->data != NULL || rs->auth != NULL || rs->wrap != NULL || rs->warnings != NULL ||
           rs->raw.size != 0 || rs->lease_id.size != 0;
}

int envelope_status(const struct request *rq)
{
    const struct response *rs = &rq->response;
    if (rq->error.status != CF_OK) {
        return cf_status_http(rq->error.status);
    }
    if (rs->status != 0) {
        return rs->status;
    }
    return has_content(rs) ? 200 : 204;
}

void envelope_error(const char *message, struct cf_buf *to)
{
    struct json_out out;
    json_out_init(&out, to);
    json_out_object(&out);
    json_out_key(&out, "errors");
    json_out_array(&out);
    if (message[0] != '\0') {
        json_out_text(&out, message);
    }
    json_out_array_end(&out);
    json_out_object_end(&out);
    json_out_end(&out);
}

static void write_list(struct json_out *out, const struct cf_slice *items, size_t count)
{
    json_out_array(out);
    for (size_t i = 0; i < count; i++) {
        json_out_string(out, items[i]);
    }
    json_out_array_end(out);
}

/* Both lists are sorted. */
static void write_united(struct json_out *out, const struct cf_slice *a, size_t a_count,
                         const struct cf_slice *b, size_t b_count)
{
    json_out_array(out);
    for (size_t i = 0, k = 0; i < a_count || k < b_count;) {
        int order = i == a_count ? 1 : k == b_count ? -1 : cf_slice_cmp(a[i], b[k]);
        json_out_string(out, order <= 0 ? a[i] : b[k]);
        i += order <= 0;
        k += order >= 0;
    }
    json_out_array_end(out);
}

static void write_auth(struct json_out *out, const struct auth_result *auth)
{
    const struct token_entry *token = auth->token;
    if (token == NULL) {
        json_out_null(out);
        return;
    }
    json_out_object(out);
    json_out_key(out, "accessor");
    json_out_string(out, auth->accessor);
    json_out_key(out, "client_token");
    json_out_string(out, auth->client_token);
    json_out_key(out, "entity_id");
    json_out_string(out, token->entity_id);
    if (auth->identity_policy_count != 0) {
        json_out_key(out, "identity_policies");
        write_list(out, auth->identity_policies, auth->identity_policy_count);
    }
    json_out_key(out, "lease_duration");
    json_out_int(out, auth->lease_duration_s);
    json_out_key(out, "metadata");
    json_out_node(out, token->metadata);
    json_out_key(out, "mfa_requirement");
    json_out_null(out);
    json_out_key(out, "num_uses");
    json_out_int(out, token->num_uses);
    json_out_key(out, "orphan");
    json_out_bool(out, !token->has_parent);
    json_out_key(out, "policies");
    write_united(out, token->policies, token->policy_count, auth->identity_policies,
                 auth->identity_policy_count);
    json_out_key(out, "renewable");
    json_out_bool(out, auth->renewable);
    json_out_key(out, "token_policies");
    write_list(out, token->policies, token->policy_count);
    json_out_key(out, "token_type");
    json_out_string(out, token->type);
    json_out_object_end(out);
}

static void write_wrap(struct json_out *out, const struct wrap_info *wrap)
{
    json_out_object(out);
    json_out_key(out, "accessor");
    json_out_string(out, wrap->accessor);
    json_out_key(out, "creation_path");
    json_out_string(out, wrap->creation_path);
    json_out_key(out, "creation_time");
    char time[TIMEFMT_SIZE];
    timefmt_text(wrap->creation_ns, time);
    json_out_text(out, time);
    json_out_key(out, "token");
    json_out_string(out, wrap->token);
    json_out_key(out, "ttl");
    json_out_int(out, wrap->ttl_s);
    if (wrap->wrapped_accessor.size != 0 || wrap->is_activation) {
        json_out_key(out, "wrapped_accessor");
        json_out_string(out, wrap->wrapped_accessor);
    }
    json_out_object_end(out);
}

static void write_warnings(struct json_out *out, const struct warning *newest)
{
    const struct warning *all[64];
    size_t count = 0;
    for (const struct warning *at = newest; at != NULL && count < 64; at = at->next) {
        all[count++] = at;
    }
    if (count == 0) {
        json_out_null(out);
        return;
    }
    json_out_array(out);
    while (count-- > 0) {
        json_out_text(out, all[count]->text);
    }
    json_out_array_end(out);
}

static bool is_envelope_key(struct cf_slice key)
{
    static const char *const keys[] = {"request_id", "lease_id", "renewable", "lease_duration",
                                       "data",       "wrap_info", "warnings", "auth"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (cf_slice_is(key, keys[i])) {
            return true;
        }
    }
    return false;
}

void envelope_write(const struct request *rq, struct cf_buf *to)
{
    const struct response *rs = &rq->response;
    struct json_out out;
    json_out_init(&out, to);
    json_out_object(&out);
    json_out_key(&out, "request_id");
    json_out_text(&out, rq->id);
    json_out_key(&out, "lease_id");
    json_out_string(&out, rs->lease_id);
    json_out_key(&out, "renewable");
    json_out_bool(&out, rs->renewable);
    json_out_key(&out, "lease_duration");
    json_out_int(&out, rs->lease_duration_s);
    json_out_key(&out, "data");
    json_out_node(&out, rs->data);
    json_out_key(&out, "wrap_info");
    if (rs->wrap != NULL) {
        write_wrap(&out, rs->wrap);
    } else {
        json_out_null(&out);
    }
    json_out_key(&out, "warnings");
    write_warnings(&out, rs->warnings);
    json_out_key(&out, "auth");
    if (rs->auth != NULL) {
        write_auth(&out, rs->auth);
    } else {
        json_out_null(&out);
    }
    if (rs->data_at_top && json_is(rs->data, JSON_OBJECT)) {
        for (size_t i = 0; i < json_count(rs->data); i++) {
            if (!is_envelope_key(rs->data->members[i].key)) {
                json_out_key_slice(&out, rs->data->members[i].key);
                json_out_node(&out, rs->data->members[i].value);
            }
        }
    }
    json_out_object_end(&out);
    json_out_end(&out);
    cf_buf_add_byte(to, '\n');
}

void envelope_body(const struct request *rq, struct cf_buf *to)
{
    const struct response *rs = &rq->response;
    if (rq->error.status != CF_OK) {
        envelope_error(rq->error.message, to);
        return;
    }
    if (rs->content_type != NULL) {
        cf_buf_add_slice(to, rs->raw);
        return;
    }
    if (!has_content(rs) && rs->status != 200) {
        return;
    }
    if (rs->no_envelope) {
        json_write_sorted(to, rs->data);
        cf_buf_add_byte(to, '\n');
        return;
    }
    envelope_write(rq, to);
}

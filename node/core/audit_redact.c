/* node/core/audit_redact.c: values as an audit device may see them: every string under its HMAC.
 *
 * Keys, numbers and booleans stay, as do times and what stands below keys that the mount names
 * (audit_non_hmac_request_keys, ..._response_keys): the nearest key above a string decides. Text that is JSON already
 * (JSON_RAW) is not parsed: its strings are replaced on the way through. */
#include "node/base/memory.h"
#include "node/core/audit_int.h"
#include "node/crypto/hash.h"
#include "node/format/timefmt.h"

void audit_hash(const struct audit_entry *entry, struct cf_slice text, char to[AUDIT_HASH_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t mac[32];
    hash_hmac_sha256(cf_slice_of(entry->salt, sizeof(entry->salt)), text, mac);
    memcpy(to, "hmac-sha256:", 12);
    for (size_t i = 0; i < sizeof(mac); i++) {
        to[12 + 2 * i] = digits[mac[i] >> 4];
        to[13 + 2 * i] = digits[mac[i] & 15];
    }
}

struct redaction {
    struct cf_buf *to;
    const struct audit_entry *entry;
    struct arena *arena;
    const struct json *plain; /* array of keys, or NULL */
};

static bool is_time(struct cf_slice text)
{
    int64_t ns;
    return text.size >= 20 && text.size <= 35 && text.data[4] == '-' && text.data[10] == 'T' &&
           timefmt_parse(text, &ns, NULL) == CF_OK;
}

static bool is_plain(const struct redaction *r, struct cf_slice key)
{
    for (size_t i = 0; i < json_count(r->plain); i++) {
        struct cf_slice name;
        if (json_string(json_item(r->plain, i), &name) && cf_slice_eq(name, key)) {
            return true;
        }
    }
    return false;
}

static void write_string(const struct redaction *r, struct cf_slice text, struct cf_slice key)
{
    char hash[AUDIT_HASH_SIZE + 2];
    if (r->entry->log_raw || is_time(text) || (r->plain != NULL && is_plain(r, key))) {
        json_write_string(r->to, text);
        return;
    }
    hash[0] = hash[AUDIT_HASH_SIZE + 1] = '"';
    audit_hash(r->entry, text, hash + 1);
    cf_buf_add(r->to, hash, sizeof(hash));
}

/* ---- text that is JSON already ---- */

/* From behind the opening quote: the size of what stands before the closing one. */
static size_t string_size(struct cf_slice text, bool *ret_escaped)
{
    size_t at = 0;
    *ret_escaped = false;
    while (at < text.size && text.data[at] != '"') {
        bool escape = text.data[at] == '\\';
        *ret_escaped = *ret_escaped || escape;
        at += escape ? 2 : 1;
    }
    return at < text.size ? at : text.size;
}

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

/* A string with a colon behind it is a key: nothing else in JSON is. */
static bool is_key(struct cf_slice rest)
{
    size_t at = 0;
    while (at < rest.size && is_blank(rest.data[at])) {
        at++;
    }
    return at < rest.size && rest.data[at] == ':';
}

static void write_raw_string(const struct redaction *r, struct cf_slice quoted, bool escaped)
{
    struct cf_slice inside = cf_slice_of(quoted.data + 1, quoted.size - 2);
    struct json *decoded;
    if (escaped && json_parse(r->arena, quoted, NULL, &decoded, NULL) == CF_OK) {
        cf_ignore(!json_string(decoded, &inside), "a quoted text is a string");
    }
    write_string(r, inside, CF_SLICE_EMPTY);
}

static void write_raw(const struct redaction *r, struct cf_slice text)
{
    size_t at = 0;
    while (at < text.size) {
        if (text.data[at] != '"') {
            size_t from = at;
            while (at < text.size && text.data[at] != '"' && !is_blank(text.data[at])) {
                at++;
            }
            cf_buf_add(r->to, text.data + from, at - from);
            at += at < text.size && is_blank(text.data[at]) ? 1 : 0;
            continue;
        }
        bool escaped;
        size_t size = string_size(cf_slice_from(text, at + 1), &escaped) + 2;
        struct cf_slice quoted = cf_slice_first(cf_slice_from(text, at), size);
        at += quoted.size;
        if (quoted.size < size) {
            return; /* cut off: no JSON, and nothing of it may be shown */
        }
        if (is_key(cf_slice_from(text, at))) {
            cf_buf_add_slice(r->to, quoted);
        } else {
            write_raw_string(r, quoted, escaped);
        }
    }
}

/* ---- trees ---- */

static void write_node(const struct redaction *r, const struct json *node, struct cf_slice key)
{
    static const struct json_limits limits = {
        .depth = 400, .keys = 200000, .items = 200000, .nodes = 2000000, .string = 64u << 20};
    struct json *parsed;
    switch (node->type) {
    case JSON_STRING:
        write_string(r, node->text, key);
        return;
    case JSON_RAW:
        /* Which key stands above a string is not known without a tree. */
        if (json_count(r->plain) != 0 &&
            json_parse(r->arena, node->text, &limits, &parsed, NULL) == CF_OK) {
            write_node(r, parsed, key);
        } else {
            write_raw(r, node->text);
        }
        return;
    case JSON_ARRAY:
        cf_buf_add_byte(r->to, '[');
        for (size_t i = 0; i < node->count; i++) {
            cf_buf_add(r->to, ",", i != 0);
            write_node(r, node->items[i], key);
        }
        cf_buf_add_byte(r->to, ']');
        return;
    case JSON_OBJECT:
        cf_buf_add_byte(r->to, '{');
        for (size_t i = 0; i < node->count; i++) {
            cf_buf_add(r->to, ",", i != 0);
            json_write_string(r->to, node->members[i].key);
            cf_buf_add_byte(r->to, ':');
            write_node(r, node->members[i].value, node->members[i].key);
        }
        cf_buf_add_byte(r->to, '}');
        return;
    case JSON_NULL:
    case JSON_BOOL:
    case JSON_NUMBER:
        json_write(r->to, node);
        return;
    }
}

void audit_write_value(struct cf_buf *to, const struct audit_entry *entry, struct arena *arena,
                       const struct json *value, struct cf_slice key, const struct json *plain)
{
    struct redaction r = {to, entry, arena, plain};
    write_node(&r, value != NULL ? value : json_null(), key);
}

/* tests/unit/node/core/test_revoked.c: threads that write while what allows them to is taken away: once that is
 * acknowledged, no write of theirs is ever applied (design 3.2). Run under the thread sanitizer, too. */
#include <pthread.h>
#include <stdatomic.h>

#include "bench.h"
#include "node/base/memory.h"
#include "tests/lib/test.h"

#define WRITERS 4
#define WRITES_BEFORE 40 /* acknowledged, before it is taken away */
#define TRIES_AFTER 6    /* of each writer, begun after that was acknowledged */
#define WRITES_MAX 900   /* of each writer: the bench's log holds 4,096 entries */
#define REFUSED_MAX 500000
#define ROUNDS 6

static struct bench *b;
static unsigned conflicts; /* of all rounds */
static char text[512];
static char token[64], other[512]; /* of the writers; what the case needs besides */

static struct {
    _Atomic unsigned acknowledged, refused_after[WRITERS];
    _Atomic bool is_over;       /* the change is acknowledged */
    _Atomic uint64_t last;      /* index of the newest acknowledged write */
    _Atomic int late;           /* status of a write that began afterwards and was let through */
    const char *path;           /* "s/" or a mount in a namespace */
} shared;

static void pause_us(long us)
{
    struct timespec pause = {0, us * 1000};
    (void)nanosleep(&pause, NULL);
}

static void note_write(uint64_t index)
{
    uint64_t last = atomic_load(&shared.last);
    while (index > last && !atomic_compare_exchange_weak(&shared.last, &last, index)) {
    }
    atomic_fetch_add(&shared.acknowledged, 1);
}

static void *write_on(void *arg)
{
    unsigned self = (unsigned)(uintptr_t)arg;
    for (unsigned n = 0, refused = 0; n < WRITES_MAX && refused < REFUSED_MAX;) {
        char path[128];
        bool begins_after = atomic_load(&shared.is_over);
        (void)snprintf(path, sizeof(path), "%sw%u/%u", shared.path, self, n % 5);
        CF_OWNED(call) call = bench_start(b, token, n % 7 == 6 ? "DELETE" : "POST", path, "{\"x\":\"1\"}");
        call_wait(call);
        if (call->status < 300) {
            n++;
            note_write(call->rq.index);
            if (begins_after) {
                atomic_store(&shared.late, call->status);
            }
            continue;
        }
        refused++;
        if (begins_after && atomic_fetch_add(&shared.refused_after[self], 1) + 1 >= TRIES_AFTER) {
            break;
        }
        pause_us(50); /* it is applied, and its acknowledgement is on its way */
    }
    return NULL;
}

/* ---- what is taken away ---- */

static void must(int want, const char *operation, const char *path, const char *body,
                 const char *dotted)
{
    int status = bench_call(b, NULL, operation, path, body, dotted, text);
    ck_assert_msg(status == want, "%s %s: %d \"%s\"", operation, path, status, text);
}

#define ALLOWS                                                                                     \
    "{\"policy\":\"path \\\"s/*\\\" { capabilities = [\\\"create\\\",\\\"update\\\",\\\"delete\\\"] }\"}"

static void set_up(void)
{
    b = bench_new();
    memset(&shared, 0, sizeof(shared));
    shared.path = "s/";
    must(204, "POST", "sys/mounts/s", "{\"type\":\"kv\"}", "errors.0");
    must(204, "POST", "sys/policies/acl/p", ALLOWS, "errors.0");
}

static void plain_token(void)
{
    bench_token(b, "{\"policies\":[\"p\"],\"ttl\":\"1h\"}", token);
}

static void child_token(void)
{
    char mother[64];
    bench_token(b, "{\"policies\":[\"p\",\"root\"],\"ttl\":\"1h\"}", mother);
    ck_assert_int_eq(bench_call(b, mother, "POST", "auth/token/create", "{\"policies\":[\"p\"]}",
                                "auth.client_token", text),
                     200);
    (void)snprintf(token, sizeof(token), "%.63s", text);
    (void)snprintf(other, sizeof(other), "%s", mother);
}

/* A login: its token has an entity, whose id is in `other`. */
static void log_in(const char *policies)
{
    char body[256];
    must(204, "POST", "sys/auth/ap", "{\"type\":\"approle\"}", "errors.0");
    (void)snprintf(body, sizeof(body),
                   "{\"bind_secret_id\":false,\"token_bound_cidrs\":[\"127.0.0.0/8\"],"
                   "\"token_ttl\":\"1h\",\"token_policies\":\"%s\"}",
                   policies);
    must(204, "POST", "auth/ap/role/r", body, "errors.0");
    must(200, "GET", "auth/ap/role/r/role-id", NULL, "data.role_id");
    (void)snprintf(body, sizeof(body), "{\"role_id\":\"%.60s\"}", text);
    CF_OWNED(call) call = bench_start(b, "", "POST", "auth/ap/login", body);
    call_wait(call);
    ck_assert_int_eq(call->status, 200);
    (void)snprintf(token, sizeof(token), "%.63s", call_at(call, "auth.client_token"));
    (void)snprintf(other, sizeof(other), "%s", call_at(call, "auth.entity_id"));
}

static void login_token(void)
{
    log_in("p");
}

static void group_token(void)
{
    char body[256];
    log_in("default");
    (void)snprintf(body, sizeof(body),
                   "{\"name\":\"g\",\"policies\":[\"p\"],\"member_entity_ids\":[\"%.60s\"]}", other);
    must(200, "POST", "identity/group", body, "errors.0");
}

static void tenant_token(void)
{
    must(200, "POST", "sys/namespaces/team", "{}", "errors.0");
    must(204, "POST", "team/sys/mounts/s", "{\"type\":\"kv\"}", "errors.0");
    must(204, "POST", "team/sys/policies/acl/p", ALLOWS, "errors.0");
    must(200, "POST", "team/auth/token/create", "{\"policies\":[\"p\"],\"ttl\":\"1h\"}",
         "auth.client_token");
    (void)snprintf(token, sizeof(token), "%.63s", text);
    shared.path = "team/s/";
}

/* $T: the token, $O: what the preparation put into `other`, $A: the token's accessor. */
static const struct loss {
    const char *name;
    void (*prepare)(void);
    const char *operation, *path, *body;
} losses[] = {
    {"the token is revoked", plain_token, "POST", "auth/token/revoke", "{\"token\":\"$T\"}"},
    {"by accessor", plain_token, "POST", "auth/token/revoke-accessor", "{\"accessor\":\"$A\"}"},
    {"alone", plain_token, "POST", "auth/token/revoke-orphan", "{\"token\":\"$T\"}"},
    {"its parent is revoked", child_token, "POST", "auth/token/revoke", "{\"token\":\"$O\"}"},
    {"its lease's prefix", plain_token, "POST", "sys/leases/revoke-prefix/auth/token/create", "{}"},
    {"by force", login_token, "POST", "sys/leases/revoke-force/auth/ap", "{}"},
    {"the policy says deny", plain_token, "POST", "sys/policies/acl/p",
     "{\"policy\":\"path \\\"s/*\\\" { capabilities = [\\\"deny\\\"] }\"}"},
    {"the policy is gone", plain_token, "DELETE", "sys/policies/acl/p", NULL},
    {"the mount is gone", plain_token, "DELETE", "sys/mounts/s", NULL},
    {"the entity is disabled", login_token, "POST", "identity/entity/id/$O", "{\"disabled\":true}"},
    {"the entity is gone", login_token, "DELETE", "identity/entity/id/$O", NULL},
    {"the group has no policy", group_token, "POST", "identity/group/name/g", "{\"policies\":[]}"},
    {"the group has no member", group_token, "POST", "identity/group/name/g",
     "{\"member_entity_ids\":[]}"},
    {"the group is gone", group_token, "DELETE", "identity/group/name/g", NULL},
    {"the auth method is gone", login_token, "DELETE", "sys/auth/ap", NULL},
    {"the namespace is locked", tenant_token, "POST", "sys/namespaces/api-lock/lock/team", "{}"},
    {"the namespace is gone", tenant_token, "DELETE", "sys/namespaces/team", NULL},
};

/* Replaces the marks. */
static const char *filled(const char *pattern, char *to, size_t size)
{
    size_t at = 0;
    for (const char *c = pattern; *c != '\0' && at + 1 < size; c++) {
        const char *with = *c != '$' ? NULL : c[1] == 'T' ? token : other;
        if (with == NULL) {
            to[at++] = *c;
            continue;
        }
        at += (size_t)snprintf(to + at, size - at, "%s", with);
        c++;
    }
    to[at] = '\0';
    return to;
}

static void take_away(const struct loss *loss, uint64_t *ret_index)
{
    char path[256], body[512];
    if (loss->body != NULL && strstr(loss->body, "$A") != NULL) {
        ck_assert_int_eq(
            bench_call(b, token, "GET", "auth/token/lookup-self", NULL, "data.accessor", other), 200);
    }
    CF_OWNED(call)
    call = bench_start(b, NULL, loss->operation, filled(loss->path, path, sizeof(path)),
                       loss->body != NULL ? filled(loss->body, body, sizeof(body)) : NULL);
    call_wait(call);
    atomic_store(&shared.is_over, true);
    ck_assert_msg(call->status < 300, "%s: %d \"%s\"", loss->name, call->status,
                  call_at(call, "errors.0"));
    *ret_index = call->rq.index;
    ck_assert_uint_ne(*ret_index, 0);
}

/* Secrets that entry `index` writes. */
static unsigned secrets_in(uint64_t index)
{
    unsigned count = 0;
    CF_OWNED(arena) arena = arena_new(8192);
    struct command command = bench_entry(b, index, arena);
    for (size_t i = 0; i < command.op_count; i++) {
        const struct op *op = &command.ops[i];
        struct cf_slice name = op->key.name; /* "d/<mount>/.../w0/3" */
        count += op->kind == OP_PUT && op->key.class == CLASS_REPLICATED &&
                 cf_slice_starts(name, CF_SLICE(AREA_DATA)) && name.data[name.size - 2] == '/' &&
                 name.data[name.size - 4] == 'w';
    }
    return count;
}

static void lose(const struct loss *loss, bool asks)
{
    pthread_t threads[WRITERS];
    uint64_t index = 0;
    set_up();
    loss->prepare();
    b->asks = asks;
    bench_threads_start(b);
    for (uintptr_t i = 0; i < WRITERS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, write_on, (void *)i), 0);
    }
    for (int i = 0; i < 30000 && atomic_load(&shared.acknowledged) < WRITES_BEFORE; i++) {
        pause_us(200);
    }
    take_away(loss, &index);
    for (size_t i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_msg(atomic_load(&shared.refused_after[i]) >= TRIES_AFTER,
                      "%s: writer %zu was refused %u times", loss->name, i,
                      atomic_load(&shared.refused_after[i]));
    }
    bench_threads_stop(b);
    conflicts += b->conflicts;
    ck_assert_uint_ge(atomic_load(&shared.acknowledged), WRITES_BEFORE);
    ck_assert_msg(atomic_load(&shared.late) == 0, "%s: %d for a write that began afterwards",
                  loss->name, atomic_load(&shared.late));
    ck_assert_msg(atomic_load(&shared.last) < index, "%s at %llu: a write at %llu", loss->name,
                  (unsigned long long)index, (unsigned long long)atomic_load(&shared.last));
    unsigned before = 0, after = 0;
    for (uint64_t i = 1; i <= b->appended; i++) {
        *(i <= index ? &before : &after) += secrets_in(i);
    }
    ck_assert_uint_ge(before, 20); /* the count sees what the writers do */
    ck_assert_msg(after == 0, "%s: %u secrets were written after it", loss->name, after);
    bench_free(b);
    b = NULL;
}

START_TEST(no_write_lands_after_what_allowed_it)
{
    for (size_t i = 0; i < ROUNDS * CF_LENGTH(losses); i++) {
        lose(&losses[i % CF_LENGTH(losses)], i / CF_LENGTH(losses) % 2 == 1);
    }
    /* Writes were under way when it was taken away, and the check at append refused them. */
    ck_assert_uint_ge(conflicts, ROUNDS);
}
END_TEST

TEST_MAIN("node/core/revoked", no_write_lands_after_what_allowed_it)

/* tests/unit/replication/driver/fake.c: clusters in memory behind struct repl_host. */
#include "fake.h"

#include <time.h>

#include "node/base/arena.h"
#include "proto/message.h"
#include "proto/repl.pb-c.h"

struct loop *fake_loop;
struct ca *fake_ca;
static struct loop_timer *guard, *poll;
static bool (*poll_is)(const void *arg);
static const void *poll_arg;

static void give_up(void *arg)
{
    (void)arg;
    ck_abort_msg("the loop did not come to an end");
}

static void on_poll(void *arg)
{
    (void)arg;
    if (poll_is(poll_arg)) {
        loop_stop(fake_loop);
    } else {
        loop_timer_set_in(poll, 1000);
    }
}

void fake_until(bool (*is)(const void *arg), const void *arg)
{
    poll_is = is;
    poll_arg = arg;
    loop_timer_set_in(guard, 60000000);
    loop_timer_set_in(poll, 0);
    loop_run(fake_loop);
}

struct node_tls *fake_tls(struct ca *ca, const char *role, const char *id)
{
    struct node_tls *tls;
    ck_ok(ca_issue(ca, cf_slice_str(role), cf_slice_str(id), time(NULL), 0, &tls, &err_));
    return tls;
}

void fake_set_up(void)
{
    loop_process_init();
    ck_ok(loop_new(&fake_loop, &err_));
    guard = loop_timer_new(fake_loop, give_up, NULL);
    poll = loop_timer_new(fake_loop, on_poll, NULL);
    ck_ok(ca_new(CF_SLICE("set-1"), time(NULL), &fake_ca, &err_));
}

void fake_tear_down(void)
{
    loop_timer_free(guard);
    loop_timer_free(poll);
    ca_free(fake_ca);
    loop_free(fake_loop);
}

void fake_append(struct fake *fake, const char *text)
{
    ck_assert_uint_lt(fake->last, FAKE_LOG_MAX);
    fake->entries[fake->last++] = cf_strdup(text);
    repl_driver_advanced(fake->driver, fake->last);
}

void fake_full(const struct fake *fake, struct cf_buf *ret)
{
    for (uint64_t i = 0; i < fake->last; i++) {
        cf_buf_add_str(ret, fake->entries[i]);
    }
}

/* ---- the host ---- */

static void h_lineage(void *ctx, enum repl_kind kind, struct repl_lineage *ret)
{
    (void)kind;
    *ret = ((struct fake *)ctx)->lineage;
}
static void h_claim_sign(void *ctx, enum repl_kind kind, struct cf_buf *proof)
{
    (void)kind;
    cf_buf_add_str(proof, ((struct fake *)ctx)->proof);
}
static bool h_claim_verify(void *ctx, enum repl_kind kind, const struct repl_lineage *lineage,
                           struct cf_slice proof)
{
    (void)ctx;
    (void)kind;
    (void)lineage;
    return cf_slice_is(proof, "proof");
}
static void h_fence(void *ctx, enum repl_kind kind, const struct repl_lineage *lineage,
                    struct cf_slice proof, const char *by)
{
    struct fake *fake = ctx;
    (void)kind;
    (void)lineage;
    (void)proof;
    fake->fences++;
    snprintf(fake->fenced_by, sizeof(fake->fenced_by), "%s", by);
}
static void h_alarm(void *ctx, enum repl_kind kind, const char *text)
{
    struct fake *fake = ctx;
    (void)kind;
    fake->alarms++;
    snprintf(fake->alarm, sizeof(fake->alarm), "%s", text);
}
static void h_own_addresses(void *ctx, enum repl_kind kind, struct repl_address_list *ret)
{
    (void)kind;
    (void)repl_address_add(ret, cf_slice_str(((struct fake *)ctx)->own_address));
}
static void h_peer_addresses(void *ctx, enum repl_kind kind, struct repl_address_list *ret)
{
    const struct fake *fake = ctx;
    (void)kind;
    (void)repl_address_add(ret, fake->peer_address[0] != '\0' ? cf_slice_str(fake->peer_address)
                                                              : CF_SLICE("https://127.0.0.1:1"));
}
static void h_learned(void *ctx, enum repl_kind kind, const char *id,
                      const struct repl_address_list *addresses,
                      const struct repl_address_list *peers)
{
    struct fake *fake = ctx;
    (void)kind;
    (void)id;
    snprintf(fake->learned, sizeof(fake->learned), "%s",
             addresses->count > 0 ? addresses->text[0] : "");
    snprintf(fake->learned_peer, sizeof(fake->learned_peer), "%s",
             peers->count > 0 ? peers->text[0] : "");
}
static cf_status h_authorise(void *ctx, enum repl_kind kind, const char *id,
                             const uint8_t fingerprint[32], struct cf_error *err)
{
    (void)kind;
    (void)fingerprint;
    return ((struct fake *)ctx)->revoked
               ? cf_fail(err, CF_DENIED, "secondary \"%s\" is revoked", id)
               : CF_OK;
}
static void h_places(void *ctx, enum repl_kind kind, struct repl_places *ret)
{
    const struct fake *fake = ctx;
    (void)kind;
    ret->is_active = fake->redirect[0] == '\0';
    ret->may_serve = fake->may_serve;
    snprintf(ret->active, sizeof(ret->active), "%s", fake->redirect);
    if (fake->standby != NULL) {
        ret->standby_count = 1;
        ret->holds_to[0] = fake->standby->last;
        snprintf(ret->standbys[0], sizeof(ret->standbys[0]), "%s", fake->standby->own_address);
    }
}

static void h_peer_changed(void *ctx, enum repl_kind kind)
{
    (void)kind;
    ((struct fake *)ctx)->peer_changes++;
}

static struct repl_position here(const struct fake *fake, uint64_t index)
{
    struct repl_position at = {.epoch = repl_lineage_current(&fake->lineage)};
    at.term = index > 0;
    at.index = index;
    return at;
}

static void h_applied(void *ctx, enum repl_kind kind, struct repl_position *ret, int64_t *stamp_ns)
{
    const struct fake *fake = ctx;
    (void)kind;
    *ret = here(fake, fake->last);
    *stamp_ns = 0;
}
/* A promoted one translates one to one here: its log is the old one, continued. */
static bool h_position_known(void *ctx, enum repl_kind kind, const char *id,
                             const struct repl_position *position)
{
    const struct fake *fake = ctx;
    (void)kind;
    (void)id;
    return position->index >= fake->compacted && position->index <= fake->last;
}
static cf_status h_read_batch(void *ctx, enum repl_kind kind, const char *id,
                              const struct repl_position *from, size_t max_bytes,
                              struct repl_batch *ret, struct cf_error *err)
{
    const struct fake *fake = ctx;
    if (!h_position_known(ctx, kind, id, from)) {
        return cf_fail(err, CF_NOT_FOUND, "compacted");
    }
    uint64_t index = from->index;
    while (index < fake->last && ret->bytes.size < max_bytes) {
        if (fake->entries[index][0] != '-') { /* filtered */
            cf_buf_add_str(&ret->bytes, fake->entries[index]);
        }
        ret->entries++;
        index++;
    }
    if (index > from->index) {
        ret->to = here(fake, index);
    }
    ret->keyring_version = fake->keyring_version;
    return CF_OK;
}
static cf_status h_snapshot_open(void *ctx, enum repl_kind kind, const char *id,
                                 struct repl_snapshot *ret, struct cf_error *err)
{
    struct fake *fake = ctx;
    (void)kind;
    (void)id;
    (void)err;
    cf_buf_reset(&fake->snapshot);
    fake_full(fake, &fake->snapshot);
    ret->id = ++fake->snapshots;
    ret->position = here(fake, fake->last);
    ret->keys = fake->last;
    ret->bytes = fake->snapshot.size;
    fake->open = true;
    return CF_OK;
}
static void h_snapshot_read(void *ctx, enum repl_kind kind, const struct repl_page_query *query,
                            repl_page_fn fn, void *arg)
{
    struct fake *fake = ctx;
    struct repl_page page = {0};
    struct cf_error err = {0};
    (void)kind;
    if (!fake->open || query->snapshot != fake->snapshots) {
        fn(arg, cf_fail(&err, CF_NOT_FOUND, "no such snapshot"), &page, &err);
        return;
    }
    uint64_t at = query->cursor.size == 8 ? cf_get_u64(query->cursor.data) : 0;
    struct cf_slice rest = cf_slice_from(cf_buf_slice(&fake->snapshot), (size_t)at);
    cf_buf_add_slice(&page.data, cf_slice_first(rest, query->max_bytes));
    cf_buf_add_u64(&page.next, at + page.data.size);
    page.size = page.data.size;
    page.keys = 1;
    page.done = page.data.size == rest.size;
    page.same = query->hash.size == 32 && query->hash.data[0] == (uint8_t)page.size;
    if (page.same) {
        cf_buf_reset(&page.data);
    }
    fake->pages++;
    fake->same += page.same;
    fn(arg, CF_OK, &page, &err);
    cf_buf_done(&page.data);
    cf_buf_done(&page.next);
}
static void h_snapshot_close(void *ctx, enum repl_kind kind, uint64_t snapshot)
{
    (void)kind;
    (void)snapshot;
    ((struct fake *)ctx)->open = false;
}
static cf_status h_keyring(void *ctx, enum repl_kind kind, const char *id,
                           struct cf_slice public_key, struct cf_buf *ret, uint64_t *version,
                           struct cf_error *err)
{
    (void)kind;
    (void)id;
    (void)err;
    ck_slice(public_key, "public");
    cf_buf_add_str(ret, "keyring");
    *version = ((struct fake *)ctx)->keyring_version;
    return CF_OK;
}
static void h_serve_call(void *ctx, enum repl_kind kind, const char *id, struct cf_slice bytes,
                         uint64_t deadline_us, struct repl_reply *reply)
{
    struct fake *fake = ctx;
    (void)kind;
    (void)deadline_us;
    fake->calls++;
    ck_assert_str_eq(id, "s1");
    if (fake->not_leader) {
        repl_reply_not_leader(reply, fake->redirect);
    } else if (cf_slice_is(bytes, "fail")) {
        struct cf_error err = {0};
        (void)cf_fail(&err, CF_DENIED, "permission denied");
        repl_reply_fail(reply, &err);
    } else {
        CF_BUF(answer) = {0};
        cf_buf_addf(&answer, "answer to %.*s", CF_SHOW(bytes));
        repl_reply_ok(reply, cf_buf_slice(&answer));
    }
}
static cf_status h_last_position(void *ctx, enum repl_kind kind, struct repl_position *ret,
                                 struct cf_error *err)
{
    (void)kind;
    (void)err;
    *ret = ((struct fake *)ctx)->position;
    return CF_OK;
}
static void h_propose_batch(void *ctx, enum repl_kind kind, const struct repl_position *from,
                            const struct repl_position *to, struct cf_slice bytes,
                            repl_done_fn done, void *arg)
{
    struct fake *fake = ctx;
    struct cf_error err = {0};
    (void)kind;
    if (fake->fail_proposals) {
        (void)cf_fail(&err, CF_NOT_LEADER, "not the leader");
    } else if (!repl_position_equal(from, &fake->position)) {
        (void)cf_fail(&err, CF_CONFLICT, "a batch behind a gap");
    }
    if (err.status != CF_OK) {
        done(arg, err.status, &err);
        return;
    }
    fake->proposals++;
    cf_buf_add_slice(&fake->state, bytes);
    fake->position = *to;
    done(arg, CF_OK, &err); /* inside the call: allowed */
}
static void h_adopt(void *ctx, enum repl_kind kind, const struct repl_lineage *lineage,
                    struct cf_slice proof, repl_done_fn done, void *arg)
{
    struct fake *fake = ctx;
    static const struct cf_error fine;
    (void)kind;
    fake->lineage = *lineage;
    snprintf(fake->proof, sizeof(fake->proof), "%.*s", CF_SHOW(proof));
    fake->adoptions++;
    done(arg, CF_OK, &fine);
}
static bool h_stage_load(void *ctx, enum repl_kind kind, struct repl_stage *ret)
{
    struct fake *fake = ctx;
    (void)kind;
    if (fake->kept.is.snapshot_id == 0) {
        return false;
    }
    ret->is = fake->kept.is;
    memcpy(ret->address, fake->kept.address, sizeof(ret->address));
    cf_buf_add(&ret->cursor, fake->kept_cursor, fake->kept_size);
    return true;
}
static void h_stage_begin(void *ctx, enum repl_kind kind, repl_done_fn done, void *arg)
{
    struct fake *fake = ctx;
    static const struct cf_error fine;
    (void)kind;
    fake->stage_begins++;
    cf_buf_reset(&fake->stage);
    done(arg, CF_OK, &fine);
}
/* As if the first page were there from an earlier snapshot: its "hash" begins with its size. */
static bool h_stage_known(void *ctx, enum repl_kind kind, struct cf_slice cursor, uint8_t hash[32],
                          struct cf_slice *until)
{
    struct fake *fake = ctx;
    (void)kind;
    *until = CF_SLICE_EMPTY;
    hash[0] = (uint8_t)fake->known.size;
    return cursor.size == 0 && fake->known.size != 0;
}
static void h_stage_page(void *ctx, enum repl_kind kind, struct cf_buf *bytes, bool same,
                         const struct repl_stage *behind, repl_done_fn done, void *arg)
{
    struct fake *fake = ctx;
    static const struct cf_error fine;
    (void)kind;
    cf_buf_add_slice(&fake->stage, same ? cf_buf_slice(&fake->known) : cf_buf_slice(bytes));
    fake->kept = *behind;
    fake->kept_size = behind->is.cursor.size;
    memcpy(fake->kept_cursor, behind->is.cursor.data, fake->kept_size);
    done(arg, CF_OK, &fine);
}
static void h_stage_switch(void *ctx, enum repl_kind kind, const struct repl_position *position,
                           const struct repl_lineage *lineage, struct cf_slice proof,
                           repl_done_fn done, void *arg)
{
    struct fake *fake = ctx;
    static const struct cf_error fine;
    (void)kind;
    (void)proof;
    cf_buf_reset(&fake->state);
    cf_buf_add_slice(&fake->state, cf_buf_slice(&fake->stage));
    fake->position = *position;
    fake->lineage = *lineage;
    fake->switches++;
    fake->last_kept = fake->kept;
    fake->kept.is.snapshot_id = 0; /* there is no copy under way any more */
    done(arg, CF_OK, &fine);
}
static void h_install_keyring(void *ctx, enum repl_kind kind, struct cf_slice sealed,
                              repl_done_fn done, void *arg)
{
    static const struct cf_error fine;
    (void)kind;
    ck_slice(sealed, "keyring");
    ((struct fake *)ctx)->installs++;
    done(arg, CF_OK, &fine);
}
static void h_public_key(void *ctx, enum repl_kind kind, struct cf_buf *ret)
{
    (void)ctx;
    (void)kind;
    cf_buf_add_str(ret, "public");
}

static bool h_has_data(void *ctx, enum repl_kind kind)
{
    (void)kind;
    return ((struct fake *)ctx)->has_data;
}
static void h_repair_begin(void *ctx, enum repl_kind kind, uint64_t snapshot,
                           const struct repl_lineage *lineage, struct cf_slice proof)
{
    struct fake *fake = ctx;
    (void)kind;
    (void)proof;
    fake->repair_begins++;
    fake->repair_snapshot = snapshot;
    if (snapshot != 0) {
        fake->lineage = *lineage;
    }
}
static void h_repair_step(void *ctx, enum repl_kind kind, struct cf_slice answer,
                          repl_question_fn done, void *arg)
{
    struct fake *fake = ctx;
    Coffer__Repl__Repair question = COFFER__REPL__REPAIR__INIT;
    struct cf_error err = {0};
    CF_BUF(bytes) = {0};
    (void)kind;
    if (fake->repair_fails) {
        done(arg, cf_fail(&err, CF_TOO_LARGE, "too much differs"), CF_SLICE_EMPTY, &err);
        return;
    }
    if (answer.size == 0) {
        question.id = fake->repair_snapshot;
        question.root = message_bytes(CF_SLICE("root"));
        message_pack(&question.base, &bytes);
        done(arg, CF_OK, cf_buf_slice(&bytes), &err);
        return;
    }
    if (fake->repair_snapshot != 0) {
        CF_OWNED(arena) arena = arena_new(4096);
        Coffer__Repl__Repaired *told;
        ck_ok(message_unpack(coffer__repl__repaired, answer, arena, &told, &err_));
        ck_ok(repl_position_decode(message_slice(told->position), &fake->position, &err_));
        cf_buf_reset(&fake->state);
        cf_buf_add_slice(&fake->state, message_slice(told->records));
    }
    fake->repairs++;
    done(arg, CF_OK, CF_SLICE_EMPTY, &err);
}
static void h_repair_end(void *ctx, enum repl_kind kind)
{
    (void)kind;
    ((struct fake *)ctx)->repair_ends++;
}
static void h_serve_repair(void *ctx, enum repl_kind kind, const char *id, uint64_t snapshot,
                           struct cf_slice question, struct repl_reply *reply)
{
    struct fake *fake = ctx;
    Coffer__Repl__Repaired told = COFFER__REPL__REPAIRED__INIT;
    struct repl_position at = here(fake, fake->last);
    CF_BUF(full) = {0};
    CF_BUF(position) = {0};
    CF_BUF(bytes) = {0};
    (void)kind;
    (void)snapshot;
    ck_assert_str_eq(id, "s1");
    ck_assert_uint_gt(question.size, 0);
    fake->questions++;
    if (fake->holds_answers) {
        fake->held_reply = reply;
        return;
    }
    fake_full(fake, &full);
    repl_position_encode(&at, &position);
    told.position = message_bytes(cf_buf_slice(&position));
    told.records = message_bytes(cf_buf_slice(&full));
    message_pack(&told.base, &bytes);
    repl_reply_ok(reply, cf_buf_slice(&bytes));
}

static const struct repl_host table = {
    .lineage = h_lineage,
    .claim_sign = h_claim_sign,
    .claim_verify = h_claim_verify,
    .fence = h_fence,
    .alarm = h_alarm,
    .own_addresses = h_own_addresses,
    .learned = h_learned,
    .authorise = h_authorise,
    .places = h_places,
    .peer_changed = h_peer_changed,
    .applied = h_applied,
    .position_known = h_position_known,
    .read_batch = h_read_batch,
    .snapshot_open = h_snapshot_open,
    .snapshot_read = h_snapshot_read,
    .snapshot_close = h_snapshot_close,
    .serve_repair = h_serve_repair,
    .has_data = h_has_data,
    .repair_begin = h_repair_begin,
    .repair_step = h_repair_step,
    .repair_end = h_repair_end,
    .keyring = h_keyring,
    .peer_addresses = h_peer_addresses,
    .serve_call = h_serve_call,
    .last_position = h_last_position,
    .propose_batch = h_propose_batch,
    .adopt = h_adopt,
    .stage_load = h_stage_load,
    .stage_begin = h_stage_begin,
    .stage_known = h_stage_known,
    .stage_page = h_stage_page,
    .stage_switch = h_stage_switch,
    .install_keyring = h_install_keyring,
    .public_key = h_public_key,
};

struct fake *fake_new(bool founding)
{
    struct fake *fake = cf_new(struct fake);
    struct repl_host host = table;
    host.ctx = fake;
    fake->may_serve = true;
    fake->keyring_version = 1;
    struct rpc_config config = {fake_loop, random_system(), "1", "", "https://api:8200"};
    fake->rpc = rpc_new(&config);
    ck_ok(rpc_listen(fake->rpc, CF_SLICE("127.0.0.1:0"), &err_));
    snprintf(fake->own_address, sizeof(fake->own_address), "%s", rpc_listen_address(fake->rpc));
    rpc_set_addresses(fake->rpc, fake->own_address, "https://api:8200");
    struct repl_driver_config driver = {.loop = fake_loop,
                                        .rpc = fake->rpc,
                                        .clock = cf_host_clock(),
                                        .random = random_system(),
                                        .host = &host,
                                        .batch_bytes = 64,
                                        .page_bytes = 16};
    fake->driver = repl_driver_new(&driver);
    if (founding) {
        struct repl_epoch first = {.number = 1, .id = {1}};
        ck_ok(repl_lineage_raise(&fake->lineage, &first, NULL, &err_));
    }
    return fake;
}

void fake_free(struct fake *fake)
{
    if (fake == NULL) {
        return;
    }
    repl_secondary_free(fake->secondary);
    repl_primary_free(fake->primary);
    repl_driver_free(fake->driver); /* ends the links that it served */
    rpc_free(fake->rpc);
    for (uint64_t i = 0; i < fake->last; i++) {
        cf_free(fake->entries[i]);
    }
    cf_buf_done(&fake->state);
    cf_buf_done(&fake->stage);
    cf_buf_done(&fake->snapshot);
    cf_free(fake);
}

void fake_serve(struct fake *fake, enum repl_kind kind)
{
    CF_OWNED(node_tls) tls = fake_tls(fake_ca, IDENTITY_PRIMARY, "p");
    struct repl_primary_config config = {kind, tls};
    ck_ok(repl_primary_new(fake->driver, &config, &fake->primary, &err_));
}

void fake_follow(struct fake *fake, enum repl_kind kind, struct ca *ca, const char *id,
                 const struct fake *first, const struct fake *second)
{
    CF_OWNED(node_tls) tls = fake_tls(ca, IDENTITY_SECONDARY, id);
    struct repl_address_list list = {0};
    CF_BUF(url) = {0};
    cf_buf_addf(&url, "https://%s", first->own_address);
    ck_assert(repl_address_add(&list, cf_buf_slice(&url)));
    if (second != NULL) {
        ck_assert(repl_address_add(&list, cf_slice_str(second->own_address)));
    }
    struct repl_secondary_config config = {
        .kind = kind, .set_id = "set-1", .tls = tls, .addresses = &list};
    ck_ok(repl_secondary_new(fake->driver, &config, &fake->secondary, &err_));
}

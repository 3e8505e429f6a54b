/* tests/unit/node/engines/test_kv_races.c: two requests that saw the same state: the second one of
 * them must not be appended (design 3.2). Both run on one view; the window decides. */
#include "kv_help.h"
#include "node/core/mount.h"
#include "node/core/route.h"

struct race {
    struct arena *arena;
    struct view *view;
    struct core *core;
    uint64_t index;
};

static struct race race_begin(struct fixture *f)
{
    return (struct race){arena_new(4096), core_view(fixture_core(f)), fixture_core(f),
                         fixture_index(f)};
}

static void race_end(struct race *race)
{
    view_unref(race->view);
    arena_free(race->arena);
}

/* Runs the handler as the frame does and offers what it wrote at the next index. */
static cf_status offer(struct race *race, enum operation operation, const char *relative,
                       const char *body)
{
    struct cf_error err = {0};
    struct request *rq = arena_new_object(race->arena, struct request);
    rq->core = race->core;
    rq->arena = race->arena;
    rq->view = race->view;
    rq->txn = txn_new(race->arena, race->view);
    rq->mount = mount_table_find(race->view->mounts, CF_SLICE("kv/"));
    ck_assert_ptr_nonnull(rq->mount);
    rq->operation = operation;
    rq->relative = cf_slice_str(relative);
    rq->route =
        route_find(rq->mount->ops->select(rq->mount), operation, rq->relative, rq->captures);
    if (body != NULL) {
        ck_ok(json_parse(race->arena, cf_slice_str(body), NULL, &rq->body, &err));
    }
    ck_ok(route_handler_of(rq->route, operation)(rq, &err));
    ck_assert(txn_has_writes(rq->txn));
    struct proposal proposal = {.claim = txn_claim(rq->txn)};
    ck_ok(txn_encode(rq->txn, &proposal.payload, &err));
    cf_status status = core_admit(race->core, &proposal, race->index + 1);
    if (status == CF_OK) {
        race->index++;
    }
    cf_buf_done(&proposal.payload);
    txn_release(rq->txn);
    return status;
}

START_TEST(one_of_two_creations_wins)
{
    CF_OWNED(fixture) f = kv_fixture("2");
    struct race race = race_begin(f);
    const char *body = "{\"options\":{\"cas\":0},\"data\":{\"v\":1}}";
    ck_status(offer(&race, OPERATION_UPDATE, "data/a", body), CF_OK);
    ck_status(offer(&race, OPERATION_UPDATE, "data/a", body), CF_CONFLICT);
    ck_status(offer(&race, OPERATION_UPDATE, "data/b", body), CF_OK); /* another secret */
    race_end(&race);
}
END_TEST

START_TEST(writes_without_cas_are_serial_too)
{
    CF_OWNED(fixture) f = kv_fixture("2");
    ck_call(200, f, "POST", "kv/data/a", "{\"data\":{\"v\":1}}");
    struct race race = race_begin(f);
    ck_status(offer(&race, OPERATION_UPDATE, "data/a", "{\"data\":{\"v\":2}}"), CF_OK);
    ck_status(offer(&race, OPERATION_UPDATE, "data/a", "{\"data\":{\"v\":3}}"), CF_CONFLICT);
    ck_status(offer(&race, OPERATION_PATCH, "data/a", "{\"data\":{\"w\":3}}"), CF_CONFLICT);
    ck_status(offer(&race, OPERATION_DELETE, "data/a", NULL), CF_CONFLICT);
    ck_status(offer(&race, OPERATION_UPDATE, "destroy/a", "{\"versions\":[1]}"), CF_CONFLICT);
    race_end(&race);
}
END_TEST

/* A setting of the mount that a write has read counts as well. */
START_TEST(a_changed_setting_stops_a_write)
{
    CF_OWNED(fixture) f = kv_fixture("2");
    struct race race = race_begin(f);
    ck_status(offer(&race, OPERATION_UPDATE, "config", "{\"cas_required\":true}"), CF_OK);
    ck_status(offer(&race, OPERATION_UPDATE, "data/a", "{\"data\":{\"v\":1}}"), CF_CONFLICT);
    race_end(&race);
}
END_TEST

TEST_MAIN("node/engines/kv_races", one_of_two_creations_wins, writes_without_cas_are_serial_too,
          a_changed_setting_stops_a_write)

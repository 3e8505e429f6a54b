/* tests/unit/node/server/test_set.c: the records of replication sets, written and read back. */
#include "node/base/memory.h"
#include "repl_world.h"

static const struct set_kind_name {
    const char *name;
    enum set_kind kind;
} names[] = {{"performance", SET_PERFORMANCE}, {"dr", SET_DR}};

#define BYTES CF_SLICE("\x00\x01\xff key \n")

START_TEST(kinds_by_name)
{
    enum set_kind kind;
    for (size_t i = 0; i < CF_LENGTH(names); i++) {
        ck_assert(set_kind_of(cf_slice_str(names[i].name), &kind));
        ck_assert_int_eq((int)kind, (int)names[i].kind);
    }
    ck_assert(!set_kind_of(CF_SLICE(""), &kind));
    ck_assert(!set_kind_of(CF_SLICE("DR"), &kind));
    ck_assert(!set_kind_of(CF_SLICE("dr\0"), &kind));
}
END_TEST

/* By design 3.4: what DR secondaries need to carry on with is class cluster, the rest stays here.
 */
START_TEST(classes)
{
    ck_assert_int_eq(set_prefix(SET_PERFORMANCE).class, CLASS_CLUSTER);
    ck_assert_int_eq(set_prefix(SET_DR).class, CLASS_OWN);
    ck_assert_int_eq(set_position_key(SET_PERFORMANCE).class, CLASS_CLUSTER);
    ck_assert_int_eq(set_position_key(SET_DR).class, CLASS_OWN);
    /* Of the set's epochs, DR secondaries of its primary carry on; of a line's, its members alone. */
    ck_assert_int_eq(set_lineage_key(SET_PERFORMANCE).class, CLASS_CLUSTER);
    ck_assert_int_eq(set_proof_key(SET_PERFORMANCE).class, CLASS_CLUSTER);
    ck_assert_int_eq(set_line_key(SET_PERFORMANCE).class, CLASS_CLUSTER);
    ck_assert_int_eq(set_line_public_key(SET_PERFORMANCE).class, CLASS_REPLICATED);
    ck_assert_int_eq(set_line_key(SET_DR).class, CLASS_CLUSTER);
    ck_assert_int_eq(set_line_public_key(SET_DR).class, CLASS_CLUSTER);
    ck_assert(!cf_slice_eq(set_line_key(SET_DR).name, set_line_key(SET_PERFORMANCE).name));
    const struct key own[] = {set_lineage_key(SET_DR),          set_fence_key(),
                              set_jwt_key(),                    set_proof_key(SET_DR),
                              set_former_key(),                 set_enroll_key(SET_DR),
                              set_enroll_key(SET_PERFORMANCE)};
    for (size_t i = 0; i < CF_LENGTH(own); i++) {
        ck_assert_int_eq(own[i].class, CLASS_OWN);
        for (size_t j = 0; j < i; j++) {
            ck_assert(!cf_slice_eq(own[i].name, own[j].name));
        }
    }
    /* Positions change with every batch: below AREA_REPL each would look like a change of a link.
     */
    ck_assert(!cf_slice_starts(set_position_key(SET_DR).name, CF_SLICE(AREA_REPL)));
}
END_TEST

static cf_status all_absent(struct request *rq, struct cf_error *err)
{
    struct set_primary primary;
    struct set_secondary secondary;
    struct set_link link;
    struct txn_names ids;
    struct cf_slice bytes;
    for (enum set_kind kind = 0; kind < SET_KINDS; kind++) {
        ck_status(set_read_primary(rq, kind, &primary, NULL), CF_NOT_FOUND);
        ck_status(set_read_secondary(rq, kind, CF_SLICE("b"), &secondary, NULL), CF_NOT_FOUND);
        ck_status(set_read_link(rq, kind, &link, NULL), CF_NOT_FOUND);
        ck_status(set_read_bytes(rq, set_position_key(kind), &bytes, NULL), CF_NOT_FOUND);
        CF_TRY(set_list_secondaries(rq, kind, &ids, err));
        ck_assert_uint_eq(ids.count, 0);
    }
    ck_status(set_read_bytes(rq, set_lineage_key(SET_DR), &bytes, NULL), CF_NOT_FOUND);
    return CF_OK;
}

static cf_status write_all(struct request *rq, struct cf_error *err)
{
    (void)err;
    struct cf_slice addresses[] = {CF_SLICE("a:1"), CF_SLICE("b:2"), CF_SLICE("")};
    for (enum set_kind kind = 0; kind < SET_KINDS; kind++) {
        struct cf_slice own = cf_slice_str(set_names[kind]);
        struct set_primary primary = {own, CF_SLICE("PEM"), CF_SLICE("h:8201"), BYTES};
        set_write_primary(rq, kind, &primary);
        struct set_secondary secondary = {.id = CF_SLICE("b"),
                                          .state = CF_SLICE("pending"),
                                          .jti = own,
                                          .bound_to = CF_SLICE("\"quoted\""),
                                          .cert = CF_SLICE("cert"),
                                          .key = BYTES,
                                          .created_ns = INT64_MAX,
                                          .expires_ns = -1};
        set_write_secondary(rq, kind, &secondary);
        secondary.id = CF_SLICE("a");
        secondary.key = CF_SLICE_EMPTY;
        set_write_secondary(rq, kind, &secondary);
        struct set_link link = {.set_id = own,
                                .secondary_id = CF_SLICE("me"),
                                .cert = CF_SLICE("cert"),
                                .ca = CF_SLICE("ca"),
                                .key = BYTES,
                                .box_key = CF_SLICE("0123456789abcdef0123456789abcdef"),
                                .state = CF_SLICE("bootstrapping"),
                                .addresses = addresses,
                                .address_count = CF_LENGTH(addresses),
                                .started_ns = 1764000000123456789};
        set_write_link(rq, kind, &link);
    }
    return CF_OK;
}

static cf_status check_kind(struct request *rq, enum set_kind kind, struct cf_error *err)
{
    struct set_primary primary;
    struct set_secondary secondary;
    struct set_link link;
    struct txn_names ids;
    CF_TRY(set_read_primary(rq, kind, &primary, err));
    ck_slice(primary.id, set_names[kind]);
    ck_slice(primary.ca, "PEM");
    ck_slice(primary.primary_cluster_addr, "h:8201");
    ck_assert(cf_slice_eq(primary.ca_key, BYTES));
    CF_TRY(set_read_secondary(rq, kind, CF_SLICE("b"), &secondary, err));
    ck_slice(secondary.id, "b");
    ck_slice(secondary.state, "pending");
    ck_slice(secondary.jti, set_names[kind]);
    ck_slice(secondary.bound_to, "\"quoted\"");
    ck_slice(secondary.cert, "cert");
    ck_assert(cf_slice_eq(secondary.key, BYTES));
    ck_assert(secondary.created_ns == INT64_MAX && secondary.expires_ns == -1);
    CF_TRY(set_read_secondary(rq, kind, CF_SLICE("a"), &secondary, err));
    ck_assert_uint_eq(secondary.key.size, 0);
    CF_TRY(set_list_secondaries(rq, kind, &ids, err));
    ck_assert_uint_eq(ids.count, 2);
    ck_slice(ids.names[0], "a");
    ck_slice(ids.names[1], "b");
    CF_TRY(set_read_link(rq, kind, &link, err));
    ck_slice(link.set_id, set_names[kind]);
    ck_slice(link.secondary_id, "me");
    ck_slice(link.cert, "cert");
    ck_slice(link.ca, "ca");
    ck_assert(cf_slice_eq(link.key, BYTES));
    ck_slice(link.box_key, "0123456789abcdef0123456789abcdef");
    ck_slice(link.state, "bootstrapping");
    ck_assert_uint_eq(link.address_count, 3);
    ck_slice(link.addresses[1], "b:2");
    ck_slice(link.addresses[2], "");
    ck_assert(link.started_ns == 1764000000123456789);
    return CF_OK;
}

static cf_status check_all(struct request *rq, struct cf_error *err)
{
    CF_TRY(check_kind(rq, SET_PERFORMANCE, err));
    return check_kind(rq, SET_DR, err);
}

/* One kind's definition goes with its registry; its link and the other kind stay. */
static cf_status delete_dr(struct request *rq, struct cf_error *err)
{
    struct set_primary primary;
    struct set_link link;
    struct txn_names ids;
    set_delete_primary(rq, SET_DR);
    ck_status(set_read_primary(rq, SET_DR, &primary, NULL), CF_NOT_FOUND);
    CF_TRY(set_list_secondaries(rq, SET_DR, &ids, err));
    ck_assert_uint_eq(ids.count, 0);
    CF_TRY(set_read_link(rq, SET_DR, &link, err));
    set_delete_link(rq, SET_DR);
    ck_status(set_read_link(rq, SET_DR, &link, NULL), CF_NOT_FOUND);
    return check_kind(rq, SET_PERFORMANCE, err);
}

START_TEST(round_trip)
{
    world_begin();
    ck_run(all_absent);
    ck_run(write_all);
    ck_run(check_all);
    ck_run(delete_dr);
    world_end();
}
END_TEST

/* ---- the role: what views carry ---- */

static enum cluster_role wanted;
static const struct line_id line = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

static cf_status write_role(struct request *rq, struct cf_error *err)
{
    (void)err;
    set_write_role(rq, wanted, &line);
    return CF_OK;
}

START_TEST(role_reaches_views)
{
    world_begin();
    ck_assert_int_eq(world_role(), ROLE_ALONE_OR_PRIMARY);
    wanted = ROLE_PERFORMANCE_SECONDARY;
    ck_run(write_role);
    struct view *view = core_view(fixture_core(world));
    ck_assert_int_eq(view->role, ROLE_PERFORMANCE_SECONDARY);
    ck_assert(memcmp(view->line.bytes, line.bytes, sizeof(line.bytes)) == 0);
    view_unref(view);
    wanted = ROLE_FENCED;
    ck_run(write_role);
    ck_assert_int_eq(world_role(), ROLE_FENCED);
    /* Fenced: an ordinary call is refused; the call that marks itself fit for any role is not. */
    ck_assert_int_ne(world_post("sys/policies/acl/p", "{\"policy\":\"\"}"), 204);
    wanted = ROLE_ALONE_OR_PRIMARY;
    ck_run(write_role);
    ck_assert_int_eq(world_role(), ROLE_ALONE_OR_PRIMARY);
    world_end();
}
END_TEST

TEST_MAIN("node/server/replication/set", kinds_by_name, classes, round_trip, role_reaches_views)

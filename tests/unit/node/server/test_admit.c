/* tests/unit/node/server/test_admit.c: what a join is bound to, and whose path it is. */
#include "node/server/admit.h"

#include "node/barrier/seal.h"
#include "node/base/memory.h"
#include "node/crypto/random.h"
#include "node/server/cluster.h"
#include "node/server/join.h"
#include "tests/lib/test.h"

static const uint8_t hash_a[32] = {1}, hash_b[32] = {[31] = 1};

START_TEST(identity_names_everything)
{
    CF_OWNED(arena) arena = arena_new(1024);
    const struct cf_slice name = CF_SLICE("n1"), address = CF_SLICE("h:8201");
    struct cf_slice all[] = {join_identity(arena, name, 1, address, hash_a),
                             join_identity(arena, CF_SLICE("n2"), 1, address, hash_a),
                             join_identity(arena, name, 2, address, hash_a),
                             join_identity(arena, name, UINT64_MAX, address, hash_a),
                             join_identity(arena, name, 1, CF_SLICE("h:8202"), hash_a),
                             join_identity(arena, name, 1, address, hash_b),
                             join_identity(arena, CF_SLICE(""), 1, address, hash_a),
                             join_identity(arena, name, 1, CF_SLICE(""), hash_a)};
    for (size_t i = 0; i < CF_LENGTH(all); i++) {
        for (size_t j = 0; j < i; j++) {
            ck_assert(!cf_slice_eq(all[i], all[j]));
        }
    }
    ck_assert(cf_slice_eq(all[0], join_identity(arena, name, 1, address, hash_a)));
}
END_TEST

/* The proof holds for one unseal key and one identity: whoever stands between gains nothing. */
START_TEST(proof_is_of_one_node)
{
    CF_OWNED(arena) arena = arena_new(1024);
    CF_OWNED(secret) key = seal_new_key(random_system());
    CF_OWNED(secret) other = seal_new_key(random_system());
    CF_BUF(challenge) = {0};
    uint8_t expected[32], answer[32];
    struct cf_slice mine = join_identity(arena, CF_SLICE("n1"), 1, CF_SLICE("h:8201"), hash_a);
    struct cf_slice theirs = join_identity(arena, CF_SLICE("n1"), 1, CF_SLICE("h:8201"), hash_b);
    ck_ok(seal_challenge_new(secret_slice(key), mine, random_system(), &challenge, expected, NULL));
    ck_ok(seal_challenge_answer(secret_slice(key), mine, cf_buf_slice(&challenge), answer, NULL));
    ck_assert(seal_challenge_check(expected, cf_slice_of(answer, sizeof(answer))));
    ck_assert(!seal_challenge_check(expected, cf_slice_of(answer, sizeof(answer) - 1)));
    cf_status status =
        seal_challenge_answer(secret_slice(key), theirs, cf_buf_slice(&challenge), answer, NULL);
    ck_assert(status != CF_OK ||
              !seal_challenge_check(expected, cf_slice_of(answer, sizeof(answer))));
    ck_status(
        seal_challenge_answer(secret_slice(other), mine, cf_buf_slice(&challenge), answer, NULL),
        CF_INVALID);
}
END_TEST

START_TEST(other_paths_are_not_ours)
{
    static const char *const paths[] = {"", "sys/storage/raft/bootstrap",
                                        "sys/storage/raft/bootstrap/challenge/",
                                        "sys/storage/raft/bootstrap/answers", "sys/health"};
    for (size_t i = 0; i < CF_LENGTH(paths); i++) {
        /* Left alone: neither the node nor the exchange is looked at. */
        ck_assert(!cluster_handle_bootstrap(NULL, NULL, cf_slice_str(paths[i])));
    }
    struct admissions *admissions = admissions_new();
    ck_assert_ptr_nonnull(admissions);
    admissions_free(admissions);
    admissions_free(NULL);
}
END_TEST

TEST_MAIN("node/server/admit", identity_names_everything, proof_is_of_one_node,
          other_paths_are_not_ours)

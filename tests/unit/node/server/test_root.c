/* tests/unit/node/server/test_root.c: merkle_root is equal exactly when the shipped data is. */
#include "state.h"

struct roots {
    char text[REPL_KIND_COUNT][ROOT_TEXT_SIZE];
};

static struct roots roots_of(const struct state *state)
{
    struct roots roots;
    for (enum repl_kind kind = 0; kind < REPL_KIND_COUNT; kind++) {
        state_root(state, kind, roots.text[kind]);
        ck_assert_uint_eq(strlen(roots.text[kind]), ROOT_TEXT_SIZE - 1);
        ck_assert_uint_eq(strspn(roots.text[kind], "0123456789abcdef"), ROOT_TEXT_SIZE - 1);
    }
    return roots;
}

static bool same(const struct roots *a, const struct roots *b, enum repl_kind kind)
{
    return strcmp(a->text[kind], b->text[kind]) == 0;
}

START_TEST(equal_data)
{
    struct state a, b;
    state_begin(&a, 1, 1);
    state_begin(&b, 0xfffffff0,
                123456789012345); /* other generations, other modification indexes */
    struct roots empty = roots_of(&a), empty_b = roots_of(&b);
    ck_assert(same(&empty, &empty_b, REPL_DR) && same(&empty, &empty_b, REPL_PERFORMANCE));
    state_fill(&a);
    for (size_t i = CF_LENGTH(state_pairs); i-- > 0;) { /* written in another order */
        state_put(&b, state_pairs[i].key, CF_SLICE("first another value"));
        state_put(&b, state_pairs[i].key, state_pairs[i].value);
    }
    /* What other generations hold is no part of the data. */
    state_put_at(&b, KEY(CLASS_REPLICATED, 0, "zzz"), b.view.generation[0] - 1, CF_SLICE("old"));
    state_put_at(&b, KEY(CLASS_REPLICATED, 0, "zzz"), b.view.generation[0] + 1, CF_SLICE("stage"));
    struct roots ra = roots_of(&a), rb = roots_of(&b);
    ck_assert(same(&ra, &rb, REPL_DR) && same(&ra, &rb, REPL_PERFORMANCE));
    ck_assert(!same(&ra, &empty, REPL_DR) && !same(&ra, &empty, REPL_PERFORMANCE));
    ck_assert_str_ne(ra.text[REPL_DR], ra.text[REPL_PERFORMANCE]);
    state_end(&a);
    state_end(&b);
}
END_TEST

/* `state` differs from `before` in what this kind ships, as told. */
static void ck_differs(struct state *state, const struct roots *before, bool performance, bool dr)
{
    struct roots after = roots_of(state);
    ck_assert(same(before, &after, REPL_PERFORMANCE) == !performance);
    ck_assert(same(before, &after, REPL_DR) == !dr);
}

START_TEST(differences)
{
    struct state state;
    state_begin(&state, 1, 1);
    state_fill(&state);
    struct roots before = roots_of(&state);
    for (size_t i = 0; i < CF_LENGTH(state_pairs); i++) {
        const struct state_pair *pair = &state_pairs[i];
        bool r = pair->key.class == CLASS_REPLICATED, c = pair->key.class == CLASS_CLUSTER;
        CF_BUF(value) = {0};
        cf_buf_add_slice(&value, pair->value);
        if (value.size != 0) { /* one bit */
            value.data[value.size - 1] ^= 1;
            state_put(&state, pair->key, cf_buf_slice(&value));
            ck_differs(&state, &before, r, r || c);
            value.data[value.size - 1] ^= 1;
        }
        cf_buf_add_byte(&value, 0); /* one byte more */
        state_put(&state, pair->key, cf_buf_slice(&value));
        ck_differs(&state, &before, r, r || c);
        state_delete(&state, pair->key); /* the key is missing */
        ck_differs(&state, &before, r, r || c);
        state_put(&state, pair->key, pair->value);
        ck_differs(&state, &before, false, false);
    }
    state_end(&state);
}
END_TEST

/* Where a key ends and its value begins matters, and so does the namespace. */
START_TEST(boundaries)
{
    static const struct state_pair alike[] = {
        {{CLASS_REPLICATED, 0, CF_SLICE("ab")}, CF_SLICE("c")},
        {{CLASS_REPLICATED, 0, CF_SLICE("a")}, CF_SLICE("bc")},
        {{CLASS_REPLICATED, 0, CF_SLICE("abc")}, CF_SLICE("")},
        {{CLASS_REPLICATED, 'a', CF_SLICE("b")}, CF_SLICE("c")},
        {{CLASS_CLUSTER, 0, CF_SLICE("ab")}, CF_SLICE("c")},
    };
    struct roots roots[CF_LENGTH(alike)];
    for (size_t i = 0; i < CF_LENGTH(alike); i++) {
        struct state state;
        state_begin(&state, 1, 1);
        state_put(&state, alike[i].key, alike[i].value);
        roots[i] = roots_of(&state);
        for (size_t j = 0; j < i; j++) {
            ck_assert(!same(&roots[i], &roots[j], REPL_DR));
        }
        state_end(&state);
    }
}
END_TEST

TEST_MAIN("node/server/replication/root", equal_data, differences, boundaries)

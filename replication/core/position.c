/* replication/core/position.c: positions as bytes, as text, compared. */
#include "replication/core/position.h"

#include "replication/core/mutant.h"

enum { POSITION_VERSION = 1, EPOCH_OF_SET = 1 };

const char *repl_kind_name(enum repl_kind kind)
{
    return kind == REPL_DR ? "dr" : "performance";
}

int repl_epoch_cmp(const struct repl_epoch *a, const struct repl_epoch *b)
{
    if (a->number != b->number) {
        return a->number < b->number ? -1 : 1;
    }
    return memcmp(a->id, b->id, sizeof(a->id));
}

bool repl_epoch_equal(const struct repl_epoch *a, const struct repl_epoch *b)
{
    return repl_epoch_cmp(a, b) == 0;
}

bool repl_position_equal(const struct repl_position *a, const struct repl_position *b)
{
    /* The beginning is the same in every epoch. */
    return a->index == b->index &&
           (a->index == 0 || (a->term == b->term && repl_epoch_equal(&a->epoch, &b->epoch)));
}

bool repl_position_before(const struct repl_position *a, const struct repl_position *b)
{
    if (a->index == 0 || b->index == 0) {
        return a->index < b->index;
    }
    return repl_epoch_equal(&a->epoch, &b->epoch) && a->index < b->index;
}

bool repl_position_reached(const struct repl_position *until, const struct repl_position *here)
{
    int order = repl_epoch_cmp(&until->epoch, &here->epoch);
    return order == 0 ? here->index >= until->index
                      : order < 0 || REPL_MUTATED(REPL_MUTANT_OTHER_EPOCH_REACHED);
}

void repl_position_encode(const struct repl_position *position, struct cf_buf *out)
{
    cf_buf_add_byte(out, POSITION_VERSION);
    cf_buf_add_byte(out, EPOCH_OF_SET);
    cf_buf_add_u32(out, position->epoch.number);
    cf_buf_add(out, position->epoch.id, sizeof(position->epoch.id));
    cf_buf_add_u64(out, position->term);
    cf_buf_add_u64(out, position->index);
}

cf_status repl_position_decode(struct cf_slice bytes, struct repl_position *ret,
                               struct cf_error *err)
{
    if (bytes.size < 2) {
        return cf_fail(err, CF_CORRUPT, "a position of %zu bytes", bytes.size);
    }
    if (bytes.data[0] != POSITION_VERSION || bytes.data[1] != EPOCH_OF_SET) {
        return cf_fail(err, CF_UNSUPPORTED, "a position of version %u, kind %u", bytes.data[0],
                       bytes.data[1]);
    }
    if (bytes.size != REPL_POSITION_SIZE) {
        return cf_fail(err, CF_CORRUPT, "a position of %zu bytes", bytes.size);
    }
    struct repl_position position = {.epoch.number = cf_get_u32(bytes.data + 2),
                                     .term = cf_get_u64(bytes.data + 22),
                                     .index = cf_get_u64(bytes.data + 30)};
    memcpy(position.epoch.id, bytes.data + 6, sizeof(position.epoch.id));
    /* Indexes and terms of Raft begin with 1; the beginning alone has neither. */
    if ((position.index == 0) != (position.term == 0) || position.index == UINT64_MAX ||
        (position.index != 0 && position.epoch.number == 0)) {
        return cf_fail(err, CF_CORRUPT, "an impossible position");
    }
    *ret = position;
    return CF_OK;
}

void repl_position_text(const struct repl_position *position, char text[REPL_POSITION_TEXT_SIZE])
{
    CF_BUF(out) = {.max = REPL_POSITION_TEXT_SIZE - 1};
    if (position->index == 0) {
        cf_buf_add_str(&out, "the beginning");
    } else {
        const uint8_t *id = position->epoch.id;
        cf_buf_addf(&out, "%u:%02x%02x%02x%02x:%llu/%llu", position->epoch.number, id[0], id[1],
                    id[2], id[3], (unsigned long long)position->term,
                    (unsigned long long)position->index);
    }
    memcpy(text, out.data, out.size);
    text[out.size] = '\0';
}

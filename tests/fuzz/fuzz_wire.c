/* tests/fuzz/fuzz_wire.c: frames of consensus (consensus/driver/wire.c). What is read has sound entries, and packs again
 * to a frame that says the same. */
#include "consensus/driver/wire.h"
#include "fuzz.h"

static void same_entries(const struct raft_msg *a, const struct raft_msg *b)
{
    FUZZ_CHECK(a->entry_count == b->entry_count);
    for (size_t i = 0; i < a->entry_count; i++) {
        const struct raft_entry *x = a->entries[i], *y = b->entries[i];
        FUZZ_CHECK(x->index == y->index && x->term == y->term && x->type == y->type && x->flags == y->flags);
        FUZZ_CHECK(cf_slice_eq(x->payload, y->payload));
    }
}

static void pack_again(const struct raft_frame *frame)
{
    struct raft_frame again;
    struct raft_wire_room room;
    CF_BUF(first) = {0};
    CF_BUF(second) = {0};
    raft_wire_pack(frame, &first);
    FUZZ_CHECK(raft_wire_unpack(cf_buf_slice(&first), &again, &room, NULL) == CF_OK);
    FUZZ_CHECK(again.kind == frame->kind && again.msg.from == frame->msg.from && again.msg.to == frame->msg.to);
    FUZZ_CHECK(again.msg.term == frame->msg.term && again.msg.commit == frame->msg.commit);
    FUZZ_CHECK(again.msg.log_index == frame->msg.log_index && again.msg.reject == frame->msg.reject);
    FUZZ_CHECK(again.identity.recovery_epoch == frame->identity.recovery_epoch);
    FUZZ_CHECK(cf_slice_eq(again.snap.data, frame->snap.data) && cf_slice_eq(again.snap.key, frame->snap.key));
    same_entries(&again.msg, &frame->msg);
    raft_wire_pack(&again, &second);
    FUZZ_CHECK(cf_slice_eq(cf_buf_slice(&first), cf_buf_slice(&second)));
    raft_wire_done(&room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct raft_frame frame;
    struct raft_wire_room room;
    struct cf_error err = {0};
    if (raft_wire_unpack(cf_slice_of(data, size), &frame, &room, &err) == CF_OK) {
        FUZZ_CHECK(raft_entries_check(frame.msg.entries, frame.msg.entry_count, NULL) == CF_OK);
        pack_again(&frame);
    } else {
        FUZZ_CHECK(err.message[0] != '\0');
    }
    raft_wire_done(&room);
    return 0;
}

/* consensus/driver/digest.c
 *
 * Silent divergence is found (P-9, consensus.md 13.4). The leader names an index in its heartbeats;
 * each node takes a snapshot of its state when it has applied exactly that, sums a hash over all
 * records in a thread of its own, and says the sum in its heartbeat replies. The leader compares.
 * A copy that differs from a majority of the voters is closed by its own node: it neither leads nor
 * answers reads, also after a restart, until an operator has it fetched anew. Without a majority
 * nobody is right: the alarm stays up, writes are refused, and nothing is picked.
 *
 * The sum does not depend on the order of the records, so an applier that keeps a sum up stands in for
 * the scan: what a comparison costs then grows with what changed, not with what there is, and a node
 * whose apply went another way is found within a round however large the state. Only a scan meets
 * bytes that changed on the disk, so such an applier has to read everything now and then itself.
 *
 * An index is summed once. In an idle cluster the index moves all the same: the leader's clock is an entry
 * (node/server/tick.c). A user of this driver without one would not see what changed since the last write.
 */
#include <inttypes.h>

#include "consensus/driver/driver_int.h"
#include "consensus/driver/store_int.h"
#include "node/base/log.h"
#include "node/base/map.h"

#define DIGEST_WAIT_US ((uint64_t)3 * 1000 * 1000) /* for an index to be reached */
#define DIGEST_REST 50                           /* a scan takes a fiftieth of the time ... */
#define DIGEST_DUE_US ((uint64_t)55 * 1000 * 1000) /* ... unless a difference would be told later than that */
#define DIGEST_REST_LEAST 4                      /* and never more than a fifth */
#define DIVERGED_RECORD "diverged"

/* ---- the sum; the digest's own thread */

uint64_t digest_rest_us(uint64_t least_us, uint64_t took_us)
{
    uint64_t rest = cf_max(least_us, DIGEST_REST * took_us);
    uint64_t due = DIGEST_DUE_US > took_us ? DIGEST_DUE_US - took_us : 0;
    return cf_max(cf_min(rest, due), DIGEST_REST_LEAST * took_us);
}

/* By reading everything there is; false when it can't be read, or is no longer wanted. */
static bool scan(struct digest *digest, struct digest_sum *ret)
{
    static const uint8_t seed[16] = "coffer-digest-1";
    struct kv_view view = {digest->kv, digest->snapshot};
    static const uint8_t past_reserved[1] = {RAFT_STATE_RESERVED + 1};
    struct kv_range range = {.lower = cf_slice_of(past_reserved, 1), .bulk = true};
    CF_OWNED(kv_iterator) it = kv_iterator_new(view, digest->family, range);
    *ret = (struct digest_sum){.index = digest->captured};
    for (kv_seek_first(it); kv_valid(it) && !atomic_load(&digest->stop); kv_next(it)) {
        uint8_t key[16];
        cf_put_u64(key, cf_siphash(seed, kv_key(it)));
        cf_put_u64(key + 8, kv_key(it).size);
        ret->sum += cf_siphash(key, kv_bytes(it)); /* of key and value; any order */
        ret->records++;
    }
    return !atomic_load(&digest->stop) && kv_iterator_check(it, NULL) == CF_OK;
}

static void digest_run(struct raft_job *job)
{
    struct digest *digest = cf_container(job, struct digest, job);
    const struct applier *applier = digest->applier;
    struct digest_sum kept = {.index = digest->captured};
    uint64_t began = loop_now_us();
    digest->result_ok = applier->sum != NULL &&
                        applier->sum(applier->context, kept.index, &kept.sum, &kept.records, NULL) ==
                            CF_OK;
    digest->result = kept;
    struct digest_sum read = {.index = digest->captured};
    struct kv_view view = {digest->kv, digest->snapshot};
    if (!digest->result_ok && applier->scan != NULL) {
        digest->result_ok = applier->scan(applier->context, view, digest->family, &digest->stop, &read.sum,
                                          &read.records, NULL) == CF_OK;
        digest->result = read;
    } else if (!digest->result_ok) {
        digest->result_ok = scan(digest, &digest->result);
    }
    digest->result_us = loop_now_us() - began;
}

static void release(struct digest *digest)
{
    kv_snapshot_free(digest->snapshot);
    kv_family_unref(digest->family);
    digest->snapshot = NULL;
    digest->family = NULL;
}

static void digest_done(struct raft_job *job)
{
    struct digest *digest = cf_container(job, struct digest, job);
    release(digest);
    digest->busy = false;
    digest->took_us = digest->result_us;
    atomic_store(&digest->wants, 0);
    if (digest->result_ok) {
        digest->own = digest->result;
        digest->count++;
    }
}

/* ---- the applier: a snapshot at exactly that index */

uint64_t digest_bound(struct raft_driver *driver, uint64_t at, uint64_t target)
{
    uint64_t wanted = atomic_load(&driver->digest.wants);
    return wanted > at && wanted < target ? wanted : target;
}

void digest_capture(struct raft_driver *driver, struct kv_family *state, uint64_t at)
{
    struct digest *digest = &driver->digest;
    if (atomic_load(&digest->wants) != at || at == 0 || atomic_load(&digest->is_captured)) {
        return;
    }
    digest->snapshot = kv_snapshot_new(raft_store_kv(driver->store));
    digest->family = kv_family_ref(state);
    digest->captured = at;
    if (driver->applier.capture != NULL) {
        driver->applier.capture(driver->applier.context, at);
    }
    atomic_store(&digest->is_captured, true);
}

/* ---- the loop */

/* Asks this node for a digest at an index, when it is not busy with another. */
static void want(struct raft_driver *driver, uint64_t index)
{
    struct digest *digest = &driver->digest;
    if (!digest->busy && !atomic_load(&digest->is_captured) && index > digest->own.index &&
        index != atomic_load(&digest->wants) && index >= atomic_load(&driver->applied)) {
        atomic_store(&digest->wants, index);
        apply_wake(driver); /* it may be there already */
    }
}

static void close_copy(struct raft_driver *driver, uint64_t index)
{
    struct digest *digest = &driver->digest;
    if (digest->is_diverged) {
        return;
    }
    digest->is_diverged = true;
    cf_err("raft",
           "the state of this node differs from that of the others at entry %" PRIu64
           ": it takes no more part. Keep its data directory for examination, and let the node join "
           "with an empty one",
           index);
    cf_ignore(raft_store_put_record(driver->store, DIVERGED_RECORD, CF_SLICE("1"), NULL),
              "the next comparison finds it again");
    driver_leadership(driver);
}

/* Leader: what a majority of the voters has at our latest index; 0 votes: there is none yet. */
static void compare(struct raft_driver *driver)
{
    struct digest *digest = &driver->digest;
    const struct raft_membership *members = raft_membership(driver->raft);
    struct digest_sum sums[RAFT_MEMBERS_MAX];
    unsigned voters = 0, heard = 0, best = 0, best_votes = 0;
    bool differ = false;
    for (uint32_t i = 0; i < members->count; i++) {
        const struct raft_member *member = &members->members[i];
        if ((member->role & RAFT_VOTER) == 0) {
            continue;
        }
        voters++;
        struct digest_sum sum = digest->own;
        if (member->id != driver->identity.node_id) {
            sum = (struct digest_sum){0};
            for (size_t n = 0; n < CF_LENGTH(digest->peers); n++) {
                sum = digest->peers[n].id == member->id ? digest->peers[n].sum : sum;
            }
        }
        if (sum.index == digest->own.index && sum.index != 0) {
            sums[heard++] = sum;
        }
    }
    for (unsigned i = 0; i < heard; i++) {
        unsigned votes = 0;
        for (unsigned n = 0; n < heard; n++) {
            votes += sums[n].sum == sums[i].sum;
        }
        differ |= votes < heard;
        best = votes > best_votes ? i : best;
        best_votes = votes > best_votes ? votes : best_votes;
    }
    if (differ && digest->alarm_index != digest->own.index) {
        digest->alarm_index = digest->own.index;
        digest->mismatches++;
        cf_err("raft", "the states of the nodes differ at entry %" PRIu64, digest->own.index);
    }
    bool majority = heard > 0 && 2 * best_votes > voters;
    digest->is_split = differ && !majority;
    if (majority) {
        digest->verdict = sums[best];
        if (sums[best].sum != digest->own.sum) {
            close_copy(driver, digest->own.index);
        }
    }
}

void digest_heard(struct raft_driver *driver, const struct raft_frame *frame)
{
    struct digest *digest = &driver->digest;
    struct digest_sum sum = {.index = frame->digest_index, .sum = frame->digest_sum};
    if (frame->kind == RAFT_MSG_HEARTBEAT && frame->msg.from == driver->soft.leader &&
        frame->msg.term == driver->soft.term) {
        want(driver, frame->digest_ask);
        if (sum.index != 0 && sum.index == digest->own.index && sum.sum != digest->own.sum) {
            close_copy(driver, sum.index);
        }
    } else if (frame->kind == RAFT_MSG_HEARTBEAT_R && driver->soft.role == RAFT_LEADER) {
        size_t at = 0;
        while (at + 1 < CF_LENGTH(digest->peers) && digest->peers[at].id != frame->msg.from &&
               digest->peers[at].id != 0) {
            at++;
        }
        digest->peers[at].id = frame->msg.from;
        digest->peers[at].sum = sum;
        compare(driver);
    }
}

void digest_tell(struct raft_driver *driver, struct raft_frame *frame)
{
    const struct digest *digest = &driver->digest;
    bool leads = frame->kind == RAFT_MSG_HEARTBEAT;
    if (leads || frame->kind == RAFT_MSG_HEARTBEAT_R) {
        const struct digest_sum *sum = leads ? &digest->verdict : &digest->own;
        frame->digest_ask = leads ? digest->ask : 0;
        frame->digest_index = sum->index;
        frame->digest_sum = sum->sum;
    }
}

/* A new round, a little ahead of what is being written: everybody is to stop there for a moment. */
static void begin_round(struct raft_driver *driver, uint64_t now_us, uint64_t last_index)
{
    struct digest *digest = &driver->digest;
    /* What half a second brings, going by the last tick. */
    digest->ask = last_index + 5 * (last_index - cf_min(digest->seen_index, last_index));
    digest->asked_us = now_us;
    want(driver, digest->ask);
}

void digest_tick(struct raft_driver *driver, uint64_t now_us)
{
    struct digest *digest = &driver->digest;
    if (!digest->busy && atomic_load(&digest->is_captured)) {
        digest->busy = true;
        digest->kv = raft_store_kv(driver->store);
        digest->applier = &driver->applier;
        digest->job = (struct raft_job){.run = digest_run, .done = digest_done};
        raft_worker_push(digest->worker, &digest->job);
        atomic_store(&digest->is_captured, false);
    }
    if (driver->soft.role != RAFT_LEADER) {
        digest->seen_index = UINT64_MAX;
        digest->ask = 0;
        digest->is_split = false;
        return;
    }
    uint64_t rest = digest_rest_us(driver->options.digest_us, digest->took_us);
    bool reached = digest->own.index >= digest->ask && digest->ask != 0;
    uint64_t wait = reached || digest->ask == 0 ? rest : DIGEST_WAIT_US;
    struct raft_status status;
    raft_status(driver->raft, &status);
    bool others = raft_membership(driver->raft)->count > 1;
    if (others && atomic_load(&driver->accepting) && now_us - digest->asked_us >= wait && !digest->busy) {
        atomic_store(&digest->wants, 0);
        begin_round(driver, now_us, status.last_index);
    }
    digest->seen_index = status.last_index;
}

void digest_start(struct raft_driver *driver)
{
    struct digest *digest = &driver->digest;
    digest->worker = raft_worker_new(driver->loop, "raft-digest");
    KV_VALUE(value) = {0};
    digest->is_diverged =
        raft_store_get_record(driver->store, DIVERGED_RECORD, &value, NULL) == CF_OK &&
        !store_is_alone(driver->store);
    if (digest->is_diverged) {
        cf_err("raft", "the state of this node was found to differ from that of the others: it takes "
                       "no part. Let it join again with an empty data directory");
    }
}

void digest_stop(struct raft_driver *driver)
{
    atomic_store(&driver->digest.stop, true);
    raft_worker_free(driver->digest.worker);
    release(&driver->digest);
}

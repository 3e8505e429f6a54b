/* node/server/snapshot/common.c: what is under way, waiting for a view, the body of a restore. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/cluster/loop.h"
#include "node/server/snapshot/restore_int.h"

#define BODY_MAX ((size_t)1 << 40)
#define SPARE_BYTES ((uint64_t)512 << 20) /* of the disk, that a body leaves alone */
#define WAIT_US ((uint64_t)20 * 1000000)

struct snapshots *snapshots_new(struct node *node)
{
    struct snapshots *snapshots = cf_new(struct snapshots);
    snapshots->node = node;
    pthread_mutex_init(&snapshots->lock, NULL);
    pthread_cond_init(&snapshots->wake, NULL);
    return snapshots;
}

void snapshots_free(struct snapshots *snapshots)
{
    if (snapshots != NULL) {
        pthread_mutex_destroy(&snapshots->lock);
        pthread_cond_destroy(&snapshots->wake);
        cf_free(snapshots);
    }
}

bool snapshots_enter(struct snapshots *snapshots, unsigned most)
{
    pthread_mutex_lock(&snapshots->lock);
    bool enters = !atomic_load(&snapshots->is_stopping) && snapshots->running < most;
    snapshots->running += enters;
    pthread_mutex_unlock(&snapshots->lock);
    return enters;
}

void snapshots_leave(struct snapshots *snapshots)
{
    pthread_mutex_lock(&snapshots->lock);
    snapshots->running--;
    pthread_cond_broadcast(&snapshots->wake);
    pthread_mutex_unlock(&snapshots->lock);
}

bool snapshots_stopping(const struct snapshots *snapshots)
{
    return atomic_load(&snapshots->is_stopping);
}

void snapshots_stop(struct snapshots *snapshots)
{
    atomic_store(&snapshots->is_stopping, true);
    pthread_mutex_lock(&snapshots->lock);
    while (snapshots->running != 0) {
        pthread_cond_wait(&snapshots->wake, &snapshots->lock);
    }
    pthread_mutex_unlock(&snapshots->lock);
}

bool snapshot_admits(struct node *node, const struct proposal *proposal)
{
    return !atomic_load_explicit(&node->snapshots->holds_writes, memory_order_acquire) ||
           proposal->is_restore;
}

/* ---- waiting, on a thread that may ---- */

struct view_wait {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct read_wait read;
    struct index_wait index;
    bool is_done, is_reached;
    cf_status status;
    uint64_t at;
};

static void read_done(struct read_wait *read, cf_status status, uint64_t index)
{
    struct view_wait *wait = cf_container(read, struct view_wait, read);
    pthread_mutex_lock(&wait->lock);
    wait->status = status;
    wait->at = index;
    wait->is_done = true;
    pthread_cond_signal(&wait->wake);
    pthread_mutex_unlock(&wait->lock);
}

static void index_done(struct index_wait *index, bool reached)
{
    struct view_wait *wait = cf_container(index, struct view_wait, index);
    pthread_mutex_lock(&wait->lock);
    wait->is_reached = reached;
    wait->is_done = true;
    pthread_cond_signal(&wait->wake);
    pthread_mutex_unlock(&wait->lock);
}

static void wait_done(struct view_wait *wait)
{
    pthread_mutex_lock(&wait->lock);
    while (!wait->is_done) {
        pthread_cond_wait(&wait->wake, &wait->lock);
    }
    wait->is_done = false;
    pthread_mutex_unlock(&wait->lock);
}

struct view *snapshot_fresh_view(struct node *node, struct cf_error *err)
{
    struct view_wait wait = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};
    const struct proposer *proposer = node_proposer(node);
    wait.read = (struct read_wait){.done = read_done, .deadline_us = loop_now_us() + WAIT_US};
    proposer->read_index(proposer->context, &wait.read);
    wait_done(&wait);
    if (wait.status != CF_OK) {
        cf_fail(err, wait.status, "%s", cf_status_text(wait.status));
        return NULL;
    }
    wait.index = (struct index_wait){.index = wait.at, .run = index_done};
    core_wait_index(node->core, &wait.index);
    wait_done(&wait);
    struct view *view = wait.is_reached ? core_view(node->core) : NULL;
    if (view != NULL && view->keyring == NULL) {
        view_unref(view);
        view = NULL;
    }
    if (view == NULL) {
        cf_fail(err, CF_SEALED, "Vault is sealed");
    }
    return view;
}

/* ---- the body of a restore ---- */

static void spool_write(struct http_sink *sink, struct cf_slice bytes)
{
    struct spool *spool = cf_container(sink, struct spool, sink);
    while (spool->fd >= 0 && bytes.size != 0 && spool->status == CF_OK) {
        ssize_t put = write(spool->fd, bytes.data, bytes.size);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            spool->status = errno == ENOSPC || errno == EDQUOT ? CF_NO_SPACE : CF_IO;
            return;
        }
        bytes = cf_slice_from(bytes, (size_t)put);
    }
}

static void spool_free(struct http_sink *sink)
{
    struct spool *spool = cf_container(sink, struct spool, sink);
    if (spool->fd >= 0) {
        (void)close(spool->fd);
    }
    cf_free(spool);
}

/* A file without a name: whatever happens, nothing of it stays. */
static void open_spool(struct node *node, struct spool *spool)
{
    uint64_t left = 0, total = 0;
    if (kv_space(node->kv, &left, &total, NULL) == CF_OK) {
        uint64_t room = left > SPARE_BYTES ? left - SPARE_BYTES : 0;
        /* The file, then the same in the log and in the state. */
        spool->sink.body_max = room / 3 < BODY_MAX ? (size_t)(room / 3) : BODY_MAX;
    }
    spool->fd = open(node->config->path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (spool->fd < 0) {
        spool->status = CF_IO;
        cf_err("snapshot", "cannot make a file in \"%s\": errno %d", node->config->path, errno);
    }
}

static bool may_restore(struct node *node, struct http_exchange *x, struct cf_slice path)
{
    struct cf_slice token = CF_SLICE_EMPTY, bearer;
    if (!http_header(x, CF_SLICE("X-Vault-Token"), &token) &&
        http_header(x, CF_SLICE("Authorization"), &bearer) &&
        cf_slice_starts(bearer, CF_SLICE("Bearer "))) {
        token = cf_slice_from(bearer, 7);
    }
    struct request rq = {.core = node->core,
                         .arena = arena_new(4096),
                         .operation = OPERATION_UPDATE,
                         .path = path,
                         .token = token,
                         .is_write_method = true,
                         .random = core_random(),
                         .remote_address = http_peer_address(x)};
    bool allowed = core_would_allow(node->core, &rq);
    arena_free(rq.arena);
    return allowed;
}

struct http_sink *snapshot_sink_for(void *context, struct http_exchange *x)
{
    struct node *node = context;
    struct cf_slice path = cf_slice_from(http_path(x), 4);
    bool writes = http_method(x) == HTTP_POST || http_method(x) == HTTP_PUT;
    if (!writes || !cf_slice_starts(http_path(x), CF_SLICE("/v1/")) ||
        (!cf_slice_is(path, "sys/storage/raft/snapshot") &&
         !cf_slice_is(path, "sys/storage/raft/snapshot-force"))) {
        return NULL;
    }
    struct spool *spool = cf_new(struct spool);
    spool->sink = (struct http_sink){BODY_MAX, spool_write, spool_free};
    spool->fd = -1;
    const struct proposer *proposer = node_proposer(node);
    if (node->config->storage == STORAGE_RAFT && proposer->is_active(proposer->context) &&
        may_restore(node, x, path)) {
        open_spool(node, spool);
    }
    return &spool->sink;
}

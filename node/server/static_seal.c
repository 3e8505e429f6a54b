/* node/server/static_seal.c: the keys of a static seal, and how one replaces the other. */
#include "node/server/static_seal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/system.h"
#include "node/server/seal.h"

#define KEY_FILE_MAX ((size_t)1024)
#define LOOK_US ((uint64_t)1000 * 1000)

struct static_seal {
    struct node *node;
    const char *key_id; /* the configuration's */
    struct loop_timer *look;
    bool is_busy, has_failed; /* has_failed: said so already */
    bool has_written;
    cf_status status;
    struct cf_error err;
};

/* ---- the keys ---- */

static cf_status read_key_text(const char *source, struct cf_buf *to, struct cf_error *err)
{
    static const char scheme[] = "file://";
    if (strncmp(source, scheme, sizeof(scheme) - 1) != 0) {
        cf_buf_add_str(to, source);
        return CF_OK;
    }
    const char *path = source + sizeof(scheme) - 1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return cf_fail(err, CF_INVALID, "cannot read seal key file \"%s\": %s", path,
                       strerror(errno));
    }
    struct stat info;
    if (fstat(fd, &info) == 0 && (info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        cf_warn("server", "seal key file \"%s\" is open to others than its owner: chmod 0600 it",
                path);
    }
    ssize_t got = 1;
    while (got > 0 && cf_buf_reserve(to, 256)) {
        got = read(fd, to->data + to->size, 256);
        to->size += got > 0 ? (size_t)got : 0;
    }
    (void)close(fd);
    return got == 0 ? CF_OK
                    : cf_fail(err, CF_INVALID, "cannot read seal key file \"%s\"", path);
}

static cf_status read_key(const char *source, const char *what, struct secret **ret, struct cf_error *err)
{
    struct cf_buf text;
    cf_buf_init_secret(&text, KEY_FILE_MAX + 256);
    cf_status status = read_key_text(source, &text, err);
    if (status == CF_OK) {
        status = seal_static_key(cf_buf_slice(&text), ret, err);
    }
    cf_buf_done(&text);
    return status == CF_OK ? CF_OK : cf_error_prefix(err, status, "seal \"static\" %s", what);
}

cf_status static_seal_read(const struct config *config, struct secret **ret_current, struct secret **ret_previous,
                           struct cf_error *err)
{
    const struct config_seal *seal = config_auto_seal(config);
    CF_OWNED(secret) current = NULL;
    *ret_current = *ret_previous = NULL;
    if (seal == NULL || seal->type != SEAL_STATIC) {
        return CF_OK;
    }
    CF_TRY(read_key(seal->key, "current_key", &current, err));
    if (seal->previous_key != NULL) {
        CF_TRY(read_key(seal->previous_key, "previous_key", ret_previous, err));
    }
    *ret_current = secret_take(&current);
    return CF_OK;
}

/* ---- from the previous key to the current one ---- */

static cf_status put_wrapped(struct request *rq, struct key key, const struct secret *under,
                             const struct secret *inner, struct cf_error *err)
{
    CF_BUF(bytes) = {0};
    CF_TRY(seal_wrap_root(secret_slice(under), secret_slice(inner), &bytes, err));
    txn_put_plain(rq->txn, key, cf_buf_slice(&bytes));
    return CF_OK;
}

static struct secret *copy_of(struct node *node, struct secret *const *key)
{
    pthread_mutex_lock(&node->seal_lock);
    struct secret *copy = *key != NULL ? secret_copy(secret_slice(*key)) : NULL;
    pthread_mutex_unlock(&node->seal_lock);
    return copy;
}

static bool opens(const struct secret *key, struct cf_slice root)
{
    return key != NULL && seal_verify(secret_slice(key), root, NULL) == CF_OK;
}

cf_status static_seal_write(struct request *rq, struct node *node, const char *key_id, struct cf_error *err)
{
    struct seal_config config;
    struct cf_slice bytes, wrapped;
    CF_BUF(dump) = {0};
    CF_OWNED(secret) root = NULL;
    CF_OWNED(secret) current = copy_of(node, &node->pending_key);
    CF_OWNED(secret) previous = copy_of(node, &node->previous_key);
    CF_TRY(seal_read_plain(rq, SEAL_KEY_CONFIG, &bytes, err));
    CF_TRY(seal_config_load(bytes, &config, err));
    if (config.type != SEAL_STATIC || strcmp(config.key_id, key_id) == 0) {
        return CF_OK; /* another node was faster */
    }
    CF_TRY(seal_read_plain(rq, SEAL_KEY_ROOT, &wrapped, err));
    if (current == NULL || (!opens(current, wrapped) && !opens(previous, wrapped))) {
        return cf_fail(err, CF_INVALID,
                       "the seal has the key \"%s\", which is neither current_key nor previous_key of this node's "
                       "configuration",
                       config.key_id);
    }
    CF_TRY(seal_root_key(node, &root, err));
    memset(config.key_id, 0, sizeof(config.key_id));
    memcpy(config.key_id, key_id, cf_min(strlen(key_id), SEAL_KEY_ID_MAX));
    CF_TRY(seal_config_dump(&config, &dump, err));
    txn_put_plain(rq->txn, SEAL_KEY_CONFIG, cf_buf_slice(&dump));
    CF_TRY(put_wrapped(rq, SEAL_KEY_ROOT, current, root, err));
    return put_wrapped(rq, SEAL_KEY_UNSEAL, root, current, err); /* for nodes that are open, and admit others */
}

static cf_status run(struct request *rq, void *context, struct cf_error *err)
{
    struct static_seal *is = context;
    CF_TRY(static_seal_write(rq, is->node, is->key_id, err));
    is->has_written = txn_has_writes(rq->txn);
    return CF_OK;
}

static void end(void *arg)
{
    struct static_seal *is = arg;
    is->is_busy = false;
    if (is->status == CF_OK && is->has_written) {
        cf_info("server",
                "the static seal has the key \"%s\" now: once every node was restarted with it as current_key, "
                "previous_key can go from their configurations",
                is->key_id);
    } else if (is->status != CF_OK && is->status != CF_NOT_LEADER && is->status != CF_SEALED && !is->has_failed) {
        cf_err("server", "the key of the static seal cannot be replaced: %s", is->err.message);
    }
    is->has_failed = is->status != CF_OK;
}

static void done(void *context, cf_status status, uint64_t index, const struct cf_error *err)
{
    struct static_seal *is = context;
    (void)index;
    is->status = status;
    is->err = *err;
    loop_post(is->node->loop, end, is);
}

/* Again and again, not once: a restored snapshot may bring the previous key back. */
static void on_look(void *arg)
{
    struct static_seal *is = arg;
    struct node *node = is->node;
    struct seal_config config = {.type = SEAL_SHAMIR};
    loop_timer_set_in(is->look, LOOK_US);
    if (is->is_busy || atomic_load(&node->is_sealed) || seal_config_of(node, &config, NULL) != CF_OK ||
        config.type != SEAL_STATIC || strcmp(config.key_id, is->key_id) == 0 ||
        !node_proposer(node)->is_active(node)) {
        return;
    }
    is->is_busy = true;
    is->has_written = false;
    struct system_work work = {run, done, is};
    system_submit(node->core, &work);
}

struct static_seal *static_seal_new(struct node *node)
{
    const struct config_seal *seal = config_auto_seal(node->config);
    if (seal == NULL || seal->type != SEAL_STATIC || seal->previous_key == NULL) {
        return NULL;
    }
    struct static_seal *is = cf_new(struct static_seal);
    is->node = node;
    is->key_id = seal->key_id;
    is->look = loop_timer_new(node->loop, on_look, is);
    loop_timer_set_in(is->look, LOOK_US);
    return is;
}

void static_seal_free(struct static_seal *static_seal)
{
    if (static_seal != NULL) {
        loop_timer_free(static_seal->look);
        cf_free(static_seal);
    }
}

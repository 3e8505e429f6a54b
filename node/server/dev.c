/* node/server/dev.c: server -dev, once it is unsealed: kv v2 at secret/, the root token that was asked for, and the
 * token file of the command line. */
#include "node/server/dev.h"

#include <stdio.h>

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/core/mount.h"
#include "node/core/system.h"
#include "node/core/token.h"
#include "tools/cli/token_file.h"

struct dev_setup {
    struct node *node;
    char root_token[64];
};

static cf_status dev_fill(struct request *rq, void *context, struct cf_error *err)
{
    struct dev_setup *setup = context;
    struct mount *mount = arena_new_object(rq->arena, struct mount);
    mount->type = CF_SLICE("kv");
    mount->ops = engine_find(core_engines(rq->core), ENGINE_SECRETS, mount->type);
    mount->path = CF_SLICE("secret/");
    mount->description = CF_SLICE("key/value secret storage");
    mount->options = json_object_new(rq->arena);
    json_set_text(rq->arena, mount->options, "version", "2");
    mount_identify(mount, rq);
    txn_put(rq->txn, mount_key(mount), record_encode(rq->arena, mount_to_record(rq->arena, mount)));
    const char *wanted = setup->node->config->dev_root_token;
    if (wanted == NULL || wanted[0] == '\0') {
        return CF_OK;
    }
    const struct token_entry *old;
    static struct cf_slice root = {(const uint8_t *)"root", 4};
    struct token_spec spec = {.id = cf_slice_str(wanted),
                              .entry = {.display_name = CF_SLICE("root"),
                                        .path = CF_SLICE("auth/token/root"),
                                        .type = CF_SLICE("service"),
                                        .policies = &root,
                                        .policy_count = 1,
                                        .is_root = true}};
    struct token_entry *entry;
    struct cf_slice id;
    CF_TRY(token_lookup(rq->txn, rq->arena, cf_slice_str(setup->root_token), &old, err));
    CF_TRY(token_revoke(rq->txn, rq->arena, old, true, err));
    return token_create(rq, &spec, &id, &entry, err);
}

/* So that commands of the same user need not be told. */
static void store_token(const struct node *node, const char *token)
{
    struct cf_error failed = {0};
    CF_OWNED(arena) arena = arena_new(512);
    if (!node->config->dev_keeps_token) {
        return;
    }
    if (token_file_write(arena, cf_slice_str(token), &failed) != CF_OK) {
        cf_warn("server", "dev mode: the root token is not stored for commands: %s", failed.message);
    }
}

static void dev_filled(void *context, cf_status status, uint64_t index, const struct cf_error *err)
{
    struct dev_setup *setup = context;
    const char *wanted = setup->node->config->dev_root_token;
    (void)index;
    if (status != CF_OK) {
        cf_err("server", "dev mode: cannot set up: %s", err->message);
    } else {
        const char *token = wanted != NULL && wanted[0] != '\0' ? wanted : setup->root_token;
        store_token(setup->node, token);
        (void)printf("Root Token: %s\n\nDevelopment mode should NOT be used in production "
                     "installations!\n\n",
                     token);
        (void)fflush(stdout);
    }
    cf_wipe(setup, sizeof(*setup));
    cf_free(setup);
}

void dev_set_up(struct node *node, struct cf_slice root_token)
{
    struct dev_setup *setup = cf_new(struct dev_setup);
    setup->node = node;
    (void)snprintf(setup->root_token, sizeof(setup->root_token), "%.*s", CF_SHOW(root_token));
    struct system_work work = {dev_fill, dev_filled, setup};
    system_submit(node->core, &work);
}

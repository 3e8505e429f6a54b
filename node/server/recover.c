/* node/server/recover.c: recovery of a lost quorum, on a stopped node. */
#include "node/server/recover.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "consensus/driver/recover.h"
#include "node/base/memory.h"
#include "node/core/core.h"
#include "node/crypto/random.h"
#include "node/server/config.h"
#include "node/server/recover_file.h"

#define FILE_MAX ((size_t)1 << 20)

struct recovering {
    struct arena *arena;
    struct config *config;
    const char *peers_path; /* NULL: none */
    struct recover_file file;
    struct kv *kv;
    struct raft_store *store;
    struct raft_recovery plan;
    const char *name, *address;
};

/* ---- the file of habit ---- */

static cf_status read_text(const char *path, struct cf_buf *to, struct cf_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return cf_fail(err, CF_INVALID, "cannot read \"%s\"", path);
    }
    ssize_t got = 1;
    while (got > 0 && cf_buf_reserve(to, 4096)) {
        got = read(fd, to->data + to->size, 4096);
        to->size += got > 0 ? (size_t)got : 0;
    }
    (void)close(fd);
    return got == 0 ? CF_OK : cf_fail(err, CF_INVALID, "cannot read \"%s\"", path);
}

static bool is_there(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

/* What -peers names, else raft/peers.json or peers.json of the data directory. */
static cf_status find_file(struct recovering *is, const char *given, struct cf_error *err)
{
    CF_BUF(text) = {.max = FILE_MAX + 4096};
    is->peers_path = given;
    for (size_t i = 0; i < 2 && is->peers_path == NULL; i++) {
        const char *path = i == 0 ? arena_printf(is->arena, "%s/raft/peers.json", is->config->path)
                                  : arena_printf(is->arena, "%s/peers.json", is->config->path);
        is->peers_path = is_there(path) ? path : NULL;
    }
    if (is->peers_path == NULL) {
        return CF_OK;
    }
    CF_TRY(read_text(is->peers_path, &text, err));
    cf_status status = recover_file_parse(cf_buf_slice(&text), is->arena, &is->file, err);
    return status == CF_OK ? CF_OK : cf_error_prefix(err, status, "\"%s\"", is->peers_path);
}

/* ---- what will be done ---- */

static const char *bare(const char *address)
{
    const char *end = strstr(address, "://");
    return end != NULL ? end + 3 : address;
}

static cf_status open_store(struct recovering *is, struct cf_error *err)
{
    const struct config *config = is->config;
    struct kv_options options = {.must_exist = true};
    if (config->storage != STORAGE_RAFT) {
        return cf_fail(err, CF_INVALID, "only storage \"raft\" can be recovered");
    }
    const char *path = arena_printf(is->arena, "%s/db", config->path);
    cf_status status = kv_open(path, &options, &is->kv, err);
    if (status == CF_EXISTS) {
        return cf_fail(err, CF_INVALID, "the node still runs (\"%s\" is in use): stop it first",
                       path);
    }
    CF_TRY(status);
    return raft_store_open(is->kv, &is->store, err);
}

static cf_status make_plan(struct recovering *is, struct cf_error *err)
{
    is->name = is->config->node_id;
    is->address = bare(is->config->cluster_addr);
    if (is->peers_path != NULL) {
        struct raft_identity identity = raft_store_identity(is->store);
        const char *id =
            arena_printf(is->arena, "%016llx", (unsigned long long)identity.node_id);
        const struct recover_peer *self =
            recover_file_find(&is->file, is->name, id, is->address);
        if (self == NULL || self->is_non_voter) {
            return cf_fail(err, CF_INVALID, "\"%s\" does not name this node (\"%s\") as a voter: "
                                            "run the recovery on the node that is to survive",
                           is->peers_path, is->name);
        }
        is->address = self->address;
    }
    return raft_recovery_plan(is->store, core_random(), is->address, is->name, &is->plan, err);
}

static void show_members(const struct recovering *is, FILE *out)
{
    const struct raft_recovery *plan = &is->plan;
    for (uint32_t i = 0; i < plan->members.count; i++) {
        const struct raft_member *member = &plan->members.members[i];
        bool self = member->id == plan->identity.node_id;
        (void)fprintf(out, "  %-16s %016llx  %-22s %-9s %s\n", member->name,
                      (unsigned long long)member->id, member->address,
                      member->role == RAFT_LEARNER ? "non-voter" : "voter",
                      self ? "stays" : "goes: remove its data directory, then let it join again");
    }
}

static void show(const struct recovering *is, FILE *out)
{
    const struct raft_recovery *plan = &is->plan;
    unsigned long long open = plan->last_index - plan->commit;
    (void)fprintf(out, "Node \"%s\" (%016llx), data in %s\n\nMembers as this node knows them:\n",
                  is->name, (unsigned long long)plan->identity.node_id, is->config->path);
    show_members(is, out);
    (void)fprintf(out,
                  "\nIts log ends at index %llu (term %llu); the state has applied %llu; known to be "
                  "committed: %llu.\n",
                  (unsigned long long)plan->last_index, (unsigned long long)plan->last_term,
                  (unsigned long long)plan->applied, (unsigned long long)plan->commit);
    if (open != 0) {
        (void)fprintf(out,
                      "%llu entries at its end are not known to be committed: they will take effect "
                      "now, whether their clients were told so or not.\n",
                      open);
    }
    (void)fprintf(out,
                  "What the others acknowledged behind index %llu without this node is LOST. If another "
                  "node survives whose log ends later, recover that one instead.\n\n"
                  "Will write: a configuration with this node (%s) alone at index %llu, term %llu; "
                  "recovery epoch %llx (now %llx).\nNodes of the old epoch are refused from then "
                  "on.\n",
                  (unsigned long long)plan->last_index, is->address,
                  (unsigned long long)plan->entry_index, (unsigned long long)plan->entry_term,
                  (unsigned long long)plan->epoch,
                  (unsigned long long)plan->identity.recovery_epoch);
}

/* The file of habit has had its effect: it must not have it again. */
static void put_away(const struct recovering *is, FILE *err)
{
    if (is->peers_path != NULL &&
        rename(is->peers_path, arena_printf(is->arena, "%s.done", is->peers_path)) != 0) {
        (void)fprintf(err, "Remove \"%s\": it was used.\n", is->peers_path);
    }
}

static cf_status run(struct recovering *is, const struct tools_recovery *asked, FILE *out,
                     FILE *err_out, struct cf_error *err)
{
    CF_TRY(config_load(&asked->config, 1, &is->config, err));
    CF_TRY(open_store(is, err));
    CF_TRY(find_file(is, asked->peers, err));
    CF_TRY(make_plan(is, err));
    show(is, out);
    if (asked->dry_run) {
        (void)fprintf(out, "\nNothing was written (-dry-run).\n");
        return CF_OK;
    }
    CF_TRY(raft_recovery_write(is->store, &is->plan, err));
    put_away(is, err_out);
    (void)fprintf(out, "\nDone. Start this node, unseal it, check the data; then let new nodes join.\n");
    return CF_OK;
}

int recover_run(const struct tools_recovery *asked, FILE *out, FILE *err_out)
{
    struct recovering is = {.arena = arena_new(4096)};
    struct cf_error err = {0};
    cf_status status = run(&is, asked, out, err_out, &err);
    raft_store_free(is.store);
    kv_close(is.kv);
    config_free(is.config);
    arena_free(is.arena);
    if (status != CF_OK) {
        (void)fprintf(err_out, "Cannot recover: %s%s%s\n", err.message,
                      err.detail[0] != '\0' ? ". " : "", err.detail);
    }
    return status == CF_OK ? 0 : 1;
}

/* node/server/config/derive.c: what a configuration leaves to be said by the rest of it; and that of server -dev. */
#include "node/server/config/config_int.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/base/memory.h"

/* The same host, some ports further. */
static const char *beside(struct config *config, const char *scheme, struct cf_slice host,
                          const char *address, int port_offset)
{
    const char *colon = strrchr(address, ':');
    long port = (colon != NULL ? strtol(colon + 1, NULL, 10) : 8200) + port_offset;
    return arena_printf(config->arena, "%s%.*s:%ld", scheme, CF_SHOW(host), port);
}

static struct cf_slice host_of(const char *address)
{
    const char *colon = strrchr(address, ':');
    return cf_slice_of(address, colon != NULL ? (size_t)(colon - address) : strlen(address));
}

/* "0.0.0.0:8200" as others reach it: loopback for the unspecified address. */
static const char *reachable(struct config *config, const char *scheme, const char *address)
{
    struct cf_slice host = host_of(address);
    if (host.size == 0 || cf_slice_is(host, "0.0.0.0") || cf_slice_is(host, "[::]")) {
        host = CF_SLICE("127.0.0.1");
    }
    return beside(config, scheme, host, address, 0);
}

/* The folders that the configuration was read from, and the usual one. */
void config_derive_audit(struct config *config, const char *const *paths, size_t count)
{
    if (config->audit_directories != NULL) {
        return;
    }
    const char **list = arena_alloc(config->arena, (count + 2) * sizeof(*list));
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        char *whole = realpath(paths[i], NULL);
        struct stat info;
        if (whole == NULL) {
            continue;
        }
        char *slash = strrchr(whole, '/');
        if (stat(whole, &info) == 0 && !S_ISDIR(info.st_mode) && slash != NULL && slash != whole) {
            *slash = '\0';
        }
        list[at++] = arena_printf(config->arena, "%s", whole);
        free(whole);
    }
    list[at] = "/var/log/coffer";
    config->audit_directories = list;
}

void config_derive(struct config *config)
{
    struct config_listener *first = &config->listeners[0];
    for (size_t i = 0; i < config->listener_count; i++) {
        struct config_listener *listener = &config->listeners[i];
        listener->allow_unauthed_rekey |= (config->open_ceremonies & 1u) != 0;
        listener->allow_unauthed_generate_root |= (config->open_ceremonies & 2u) != 0;
        if (listener->cluster_address == NULL) {
            /* To listen on, so the unspecified address stays what it is. */
            listener->cluster_address =
                beside(config, "", host_of(listener->address), listener->address, 1);
        }
    }
    if (config->api_addr == NULL) {
        config->api_addr =
            reachable(config, first->tls_disable ? "http://" : "https://", first->address);
    }
    if (config->cluster_addr == NULL) {
        config->cluster_addr = reachable(config, "https://", first->cluster_address);
    }
    if (config->node_id == NULL) {
        char host[256] = "node";
        cf_ignore(gethostname(host, sizeof(host) - 1) != 0, "the default will do");
        config->node_id = arena_printf(config->arena, "%s", host);
    }
}

struct config *config_dev(const char *root_token, const char *listen_address)
{
    struct config *config = config_new();
    config->is_dev = true;
    config->dev_root_token = root_token;
    config->dev_keeps_token = true;
    config->storage = STORAGE_INMEM;
    config->disable_mlock = true;
    config->node_id = "dev";
    config->listener_count = 1;
    config->listeners[0] = (struct config_listener){
        .address = listen_address, .tls_disable = true, .allow_unauthed_rekey = true,
        .allow_unauthed_generate_root = true};
    config->audit_by_api = true; /* in the working directory */
    config_derive(config);
    char *here = getcwd(NULL, 0);
    const char *const folders[] = {here};
    config_derive_audit(config, folders, here != NULL ? 1 : 0);
    free(here);
    return config;
}

/* node/server/about.c: loggers, host, configuration. */
#include "node/server/about.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "node/base/log.h"
#include "node/base/memory.h"
#include "node/format/timefmt.h"

static struct node *node_of(struct request *rq)
{
    return core_host_context(rq->core);
}

/* ---- sys/loggers: of this node alone, until it is restarted or reloaded ---- */

const struct field about_logger_fields[] = {
    {"level", FIELD_STRING, "trace, debug, info, warn or error."},
    {"name", FIELD_STRING, "The component."},
    FIELD_END};

cf_status about_loggers_read(struct request *rq, struct cf_error *err)
{
    struct cf_slice wanted = rq->captures[0];
    const char *name;
    (void)err;
    for (size_t i = 0; (name = cf_log_component(i)) != NULL; i++) {
        enum cf_log_level level;
        if ((wanted.size == 0 || cf_slice_is(wanted, name)) &&
            cf_log_component_level(cf_slice_str(name), &level)) {
            json_set_text(rq->arena, response_data(rq), name, cf_log_level_name(level));
        }
    }
    core_host_done(rq, rq->response.data != NULL ? CF_OK : request_absent(&rq->error));
    return CF_OK;
}

static cf_status set_levels(struct request *rq, enum cf_log_level level, struct cf_error *err)
{
    struct cf_slice name = rq->captures[0];
    if (name.size == 0) {
        cf_log_set_level(level);
    } else if (!cf_log_set_component(name, level)) {
        return cf_fail(err, CF_INVALID, "logger \"%.*s\" not found: sys/loggers lists them",
                       CF_SHOW(cf_slice_first(name, 60)));
    }
    cf_info("server", "log level of %.*s is now %s", name.size != 0 ? (int)name.size : 3,
            name.size != 0 ? (const char *)name.data : "all", cf_log_level_name(level));
    core_host_done(rq, CF_OK);
    return CF_OK;
}

cf_status about_loggers_write(struct request *rq, struct cf_error *err)
{
    struct cf_slice text;
    enum cf_log_level level;
    CF_TRY(request_string(rq, "level", &text, err));
    if (text.size == 0) {
        return cf_fail(err, CF_INVALID, "level is required");
    }
    if (!cf_log_parse_level(text, &level)) {
        return cf_fail(err, CF_INVALID, "invalid level provided: unknown log level: %.*s",
                       CF_SHOW(cf_slice_first(text, 60)));
    }
    return set_levels(rq, level, err);
}

cf_status about_loggers_delete(struct request *rq, struct cf_error *err)
{
    return set_levels(rq, node_of(rq)->config->log_level, err);
}

/* ---- sys/in-flight-req ---- */

struct flight {
    struct request *rq;
    struct json *data;
};

static const char *const methods[OPERATION_COUNT] = {
    [OPERATION_READ] = "GET",     [OPERATION_LIST] = "LIST",   [OPERATION_SCAN] = "SCAN",
    [OPERATION_CREATE] = "PUT",   [OPERATION_UPDATE] = "PUT",  [OPERATION_PATCH] = "PATCH",
    [OPERATION_DELETE] = "DELETE", [OPERATION_HELP] = "GET",
};

static void each_flight(void *context, const struct core_flight *flight)
{
    struct flight *to = context;
    struct arena *arena = to->rq->arena;
    struct json *one = json_object_new(arena);
    char time[TIMEFMT_SIZE];
    timefmt_text(flight->start_ns, time);
    json_set_text(arena, one, "start_time", time);
    json_set_string(arena, one, "client_remote_address", flight->remote_address);
    json_set_string(arena, one, "request_path", flight->path);
    json_set_text(arena, one, "request_method", methods[flight->operation]);
    json_set_text(arena, one, "client_id", "");
    json_object_set(arena, to->data, cf_slice_str(flight->id), one);
}

cf_status about_in_flight(struct request *rq, struct cf_error *err)
{
    struct flight to = {rq, response_data(rq)};
    (void)err;
    core_flights(rq->core, each_flight, &to);
    rq->response.no_envelope = true;
    core_host_done(rq, CF_OK);
    return CF_OK;
}

/* ---- sys/host-info ---- */

static void add_memory(struct request *rq)
{
    struct sysinfo info;
    struct json *memory = json_object_new(rq->arena);
    if (sysinfo(&info) != 0) {
        response_warn(rq, "cannot tell the memory of the host");
        return;
    }
    uint64_t unit = info.mem_unit;
    json_set(rq->arena, memory, "total", json_from_uint(rq->arena, info.totalram * unit));
    json_set(rq->arena, memory, "free", json_from_uint(rq->arena, info.freeram * unit));
    json_set(rq->arena, memory, "buffers", json_from_uint(rq->arena, info.bufferram * unit));
    json_set(rq->arena, memory, "shared", json_from_uint(rq->arena, info.sharedram * unit));
    json_set(rq->arena, memory, "swapTotal", json_from_uint(rq->arena, info.totalswap * unit));
    json_set(rq->arena, memory, "swapFree", json_from_uint(rq->arena, info.freeswap * unit));
    json_set(rq->arena, response_data(rq), "memory", memory);
}

static void add_host(struct request *rq)
{
    struct utsname name;
    struct sysinfo info = {0};
    struct json *host = json_object_new(rq->arena);
    if (uname(&name) != 0) {
        response_warn(rq, "cannot tell the name of the host");
        return;
    }
    cf_ignore(sysinfo(&info) != 0, "shown as 0");
    json_set_text(rq->arena, host, "hostname", name.nodename);
    json_set_text(rq->arena, host, "os", "linux");
    json_set_text(rq->arena, host, "kernelVersion", name.release);
    json_set_text(rq->arena, host, "kernelArch", name.machine);
    json_set_int(rq->arena, host, "uptime", info.uptime);
    json_set_int(rq->arena, host, "procs", info.procs);
    json_set(rq->arena, response_data(rq), "host", host);
}

static void add_cpus(struct request *rq)
{
    double load[3];
    struct json *cpu = json_array_new(rq->arena);
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    for (long i = 0; i < count; i++) {
        struct json *one = json_object_new(rq->arena);
        json_set_int(rq->arena, one, "cpu", i);
        json_array_add(rq->arena, cpu, one);
    }
    json_set(rq->arena, response_data(rq), "cpu", cpu);
    if (getloadavg(load, 3) == 3) {
        struct json *average = json_array_new(rq->arena);
        for (size_t i = 0; i < 3; i++) {
            const char *text = arena_printf(rq->arena, "%.2f", load[i]);
            json_array_add(rq->arena, average, json_from_number(rq->arena, cf_slice_str(text)));
        }
        json_set(rq->arena, response_data(rq), "load_average", average);
    }
}

/* The file system of the data alone: others are nobody's business here. */
static void add_disk(struct request *rq)
{
    const struct config *config = node_of(rq)->config;
    struct statvfs info;
    struct json *disks = json_array_new(rq->arena), *disk = json_object_new(rq->arena);
    if (config->storage == STORAGE_INMEM) {
        return;
    }
    if (statvfs(config->path, &info) != 0) {
        response_warn(rq, "cannot tell the space of the data directory");
        return;
    }
    uint64_t total = (uint64_t)info.f_blocks * info.f_frsize;
    uint64_t available = (uint64_t)info.f_bavail * info.f_frsize;
    json_set_text(rq->arena, disk, "path", config->path);
    json_set(rq->arena, disk, "total", json_from_uint(rq->arena, total));
    json_set(rq->arena, disk, "free", json_from_uint(rq->arena, available));
    json_set(rq->arena, disk, "used", json_from_uint(rq->arena, total - available));
    json_array_add(rq->arena, disks, disk);
    json_set(rq->arena, response_data(rq), "disk", disks);
}

cf_status about_host(struct request *rq, struct cf_error *err)
{
    char now[TIMEFMT_SIZE];
    (void)err;
    timefmt_text(cf_wall_ns(cf_host_clock()), now);
    json_set_text(rq->arena, response_data(rq), "timestamp", now);
    add_host(rq);
    add_cpus(rq);
    add_memory(rq);
    add_disk(rq);
    core_host_done(rq, CF_OK);
    return CF_OK;
}

/* ---- sys/config/state/sanitized: what an allow-list names; keys and paths of keys are not in it ---- */

static struct json *listener_json(struct request *rq, const struct config_listener *listener)
{
    struct json *one = json_object_new(rq->arena), *config = json_object_new(rq->arena);
    json_set_text(rq->arena, config, "address", listener->address);
    json_set_text(rq->arena, config, "cluster_address", listener->cluster_address);
    json_set_bool(rq->arena, config, "tls_disable", listener->tls_disable);
    json_set_text(rq->arena, one, "type", "tcp");
    json_set(rq->arena, one, "config", config);
    return one;
}

static struct json *seal_json(struct arena *arena, enum seal_type type, bool disabled)
{
    struct json *seal = json_object_new(arena);
    json_set_text(arena, seal, "type", seal_type_name(type));
    json_set_bool(arena, seal, "disabled", disabled);
    return seal;
}

cf_status about_configuration(struct request *rq, struct cf_error *err)
{
    const struct config *config = node_of(rq)->config;
    struct arena *arena = rq->arena;
    struct json *data = response_data(rq), *listeners = json_array_new(arena);
    struct json *storage = json_object_new(arena), *seals = json_array_new(arena);
    (void)err;
    for (size_t i = 0; i < config->seal_count; i++) {
        json_array_add(arena, seals, seal_json(arena, config->seals[i].type, config->seals[i].disabled));
    }
    if (config->seal_count == 0) {
        json_array_add(arena, seals, seal_json(arena, SEAL_SHAMIR, false));
    }
    for (size_t i = 0; i < config->listener_count; i++) {
        json_array_add(arena, listeners, listener_json(rq, &config->listeners[i]));
    }
    json_set_text(arena, storage, "type", storage_type_name(config->storage));
    json_set_text(arena, storage, "cluster_addr", config->cluster_addr);
    json_set_text(arena, storage, "redirect_addr", config->api_addr);
    json_set_bool(arena, storage, "disable_clustering", config->storage != STORAGE_RAFT);
    json_set_text(arena, data, "api_addr", config->api_addr);
    json_set_text(arena, data, "cluster_addr", config->cluster_addr);
    json_set_text(arena, data, "cluster_name", node_cluster_name(node_of(rq)));
    json_set_int(arena, data, "default_lease_ttl", config->default_lease_ttl_s);
    json_set_int(arena, data, "max_lease_ttl", config->max_lease_ttl_s);
    json_set_bool(arena, data, "disable_mlock", config->disable_mlock);
    json_set_bool(arena, data, "enable_ui", config->ui);
    json_set_bool(arena, data, "raw_storage_endpoint", config->raw_storage_endpoint);
    json_set_text(arena, data, "log_level", cf_log_level_name(config->log_level));
    json_set_text(arena, data, "log_format", config->log_json ? "json" : "standard");
    json_set_text(arena, data, "pid_file", config->pid_file != NULL ? config->pid_file : "");
    json_set(arena, data, "listeners", listeners);
    json_set(arena, data, "storage", storage);
    json_set(arena, data, "seals", seals);
    core_host_done(rq, CF_OK);
    return CF_OK;
}

cf_status about_absent(struct request *rq, struct cf_error *err)
{
    (void)rq;
    return cf_fail(err, CF_UNSUPPORTED,
                   "this server has no profiler in it: use perf, or gdb, on the process");
}

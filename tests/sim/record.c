/* tests/sim/record.c: a run as a scenario: what happens, line by line. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "tests/sim/script.h"

static void add_line(struct world *w, const char *fmt, va_list args)
{
    char line[SCRIPT_LINE_MAX];
    (void)vsnprintf(line, sizeof(line), fmt, args);
    cf_buf_addf(w->record, "%s\n", line);
}

void world_record(struct world *w, const char *fmt, ...)
{
    if (w->record == NULL) {
        return;
    }
    if (w->engine.now_us != w->recorded_us) {
        cf_buf_addf(w->record, "wait %" PRIu64 "\n", w->engine.now_us - w->recorded_us);
        w->recorded_us = w->engine.now_us;
    }
    va_list args;
    va_start(args, fmt);
    add_line(w, fmt, args);
    va_end(args);
}

/* Puts another line in the place of the last one, which began at `at` (or behind a wait there). */
void world_record_as(struct world *w, size_t at, const char *fmt, ...)
{
    struct cf_buf *record = w->record;
    size_t size = record->size - 1;
    while (size > at && record->data[size - 1] != '\n') {
        size--;
    }
    record->size = size;
    va_list args;
    va_start(args, fmt);
    add_line(w, fmt, args);
    va_end(args);
}

/* What tells a packet from its neighbours and yet stays the same when other lines are left out. */
void script_name_packet(const struct packet *p, char *ret, size_t size)
{
    const struct raft_msg *m = &p->msg;
    if (p->type != PACKET_RAFT) {
        (void)snprintf(ret, size, "%s t=%" PRIu64 " i=%" PRIu64 " c=%u",
                       p->type == PACKET_SNAP ? "snapshot" : "snapshot-reply", m->term,
                       p->base.index, p->chunk);
        return;
    }
    int used = snprintf(ret, size, "%s t=%" PRIu64, raft_msg_kind_name(m->kind), m->term);
    const struct {
        const char *name;
        uint64_t value;
    } fields[] = {{"i", m->log_index},
                  {"n", m->entry_count},
                  {"r", m->kind == RAFT_MSG_APPEND || m->kind == RAFT_MSG_APPEND_R ? 0 : m->round},
                  {"x", m->reject},
                  {"q", m->read_id.seq}};
    for (size_t i = 0; i < CF_LENGTH(fields); i++) {
        if (fields[i].value != 0) {
            used += snprintf(ret + used, size - (size_t)used, " %s=%" PRIu64, fields[i].name,
                             fields[i].value);
        }
    }
}

/* replication/core/secondary_int.h: what secondary.c and secondary_stage.c share. */
#ifndef COFFER_REPLICATION_SECONDARY_INT_H
#define COFFER_REPLICATION_SECONDARY_INT_H

#include "node/base/memory.h"
#include "replication/core/secondary.h"

/* secondary.c */
void secondary_move(struct secondary *s, enum secondary_state next);
/* Closes the connection and waits for the next attempt. */
void secondary_reconnect(struct secondary *s, uint64_t now_ms, struct secondary_update *out);
/* Hello, now or as soon as nothing is under way. */
void secondary_greet(struct secondary *s, struct secondary_update *out);

/* secondary_stage.c */
void secondary_stage_start(struct secondary *s, struct secondary_update *out);
CF_CHECKED cf_status secondary_stage_snapshot(struct secondary *s, const struct secondary_event *ev,
                                              struct secondary_update *out, struct cf_error *err);
CF_CHECKED cf_status secondary_stage_page(struct secondary *s, const struct secondary_event *ev,
                                          struct secondary_update *out, struct cf_error *err);
CF_CHECKED cf_status secondary_stage_staged(struct secondary *s, const struct secondary_event *ev,
                                            struct secondary_update *out, struct cf_error *err);
CF_CHECKED cf_status secondary_stage_repaired(struct secondary *s, const struct secondary_event *ev,
                                              struct secondary_update *out, struct cf_error *err);

#endif

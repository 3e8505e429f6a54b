/* node/core/run_int.h: one request's stay in the frame, and what the files of the frame ask of each other: frame.c
 * takes a run's steps (frame_int.h), run_state.c finds the state that it is answered from, run_effect.c does
 * what it came to, run_end.c ends it. A run is its request's: its functions run on the request's
 * thread, unless they say otherwise. */
#ifndef COFFER_CORE_RUN_INT_H
#define COFFER_CORE_RUN_INT_H

#include "node/core/audit_int.h"
#include "node/core/frame_int.h"

/* What follows once the write set is committed. */
enum next {
    NEXT_ANSWER,  /* it was the request's effect */
    NEXT_HOST,    /* it was a use of the token: the host's handler begins */
    NEXT_PRIMARY, /* as before: the request goes to the primary */
};

/* One request's stay in the frame. */
struct run {
    struct core *core;
    struct request *rq;
    unsigned attempts;
    uint64_t min_index; /* the view must be at least this new */
    bool is_linearized; /* a read index was asked for after the request came, min_index holds it */
    cf_status outcome;  /* the handler's: what is answered once its effect is committed */
    uint64_t ticket;
    struct proposal proposal;
    struct read_wait read;
    struct index_wait wait;
    struct parked parked;
    struct audit_held held;
    struct audit_trail trail;
    void (*recorded)(void *arg); /* what follows once the devices have this run's records */
    bool is_recorded;            /* they have */
    enum next next;
    bool hands_on;    /* to the active node */
    size_t mark;      /* of the write set: what the frame wrote by itself, before the handler */
    cf_status status; /* of the last step, on its way to the request's thread */
    struct session_index session; /* this node has to have seen that */
    uint64_t session_until_us;
    bool may_be_stale; /* a read that need not be linearizable */
    bool is_metered;   /* the rate limits have counted it */
    bool is_forced;    /* to the active node, before anything else is asked */
    bool asked_primary;
    bool is_handled; /* this time the handler has run: a refusal is its own */
    struct json *grant; /* of the primary: the login was carried out there, its token is to be made here */
    unsigned ensured; /* times that the primary said that the entity of this login is there */
    uint64_t grant_until_us; /* so long the entity of the login may be on its way from there */
    struct acl *acl;
    struct flight flight;
};

/* ---- frame.c ---- */

/* From the beginning, on a fresh view. */
void run_once(struct run *run);
void run_again(void *arg); /* the same, for those who call back */
bool run_is_active(const struct run *run);

/* ---- run_state.c: which state it may be answered from ---- */

/* The first run, as soon as there is a state for it; or the answer that there is none. */
void run_start(struct run *run);
/* Runs again once this node has applied `index`; while_active: also once it is no more the active one. */
void run_wait_for(struct run *run, uint64_t index, bool while_active);
/* Runs again once the view is as new as the cluster now. */
void run_ask_read_index(struct run *run);
/* The bound of staleness, and its measure for the client. */
bool run_is_fresh_enough(struct run *run);
/* Ends a run that wrote nothing, or runs it again: without a write set the answer stands only on a view that was the
 * newest when the request came. */
void run_answer(struct run *run, cf_status status);

/* ---- run_effect.c: what it came to ---- */

/* run->status is the handler's, or of the step that refused. */
void run_after_handler(void *arg);
/* Appends the write set; `next` follows when it is applied. */
void run_commit(struct run *run, enum next next);
/* To the active node, or to the primary: the answer comes through core_host_done(). */
void run_forward(struct run *run, bool to_primary);
/* Node-level work answers through core_host_done(). */
void run_start_host(struct run *run);
/* The answer of a host's handler, of the active node or of the primary, in run->status and the request. */
void run_host_ended(void *arg);

/* ---- run_end.c ---- */

/* Of the view and what hangs on it. */
void run_let_go(struct run *run);
/* What rq->error says is what is answered: a look-up that may fail leaves its error behind. */
void run_settle(struct request *rq, cf_status status);
/* Answers; the run is gone. */
void run_finish(struct run *run, cf_status status);
void run_finish_later(struct run *run, cf_status status); /* any thread */
/* A record for the audit devices, to be written together with those that follow. */
void run_record(struct run *run, enum audit_phase phase);
/* Goes on with `then` on the request's thread, which looks at is_recorded. */
void run_when_recorded(struct run *run, void (*then)(void *arg));
/* No device took the records. */
void run_unrecorded(struct run *run, cf_status status);

#endif

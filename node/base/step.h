/* node/base/step.h
 *
 * Places where a crash is of interest: between two steps of something that is more than one. Nothing happens there;
 * the tests link another object in place of step.c (tests/lib/step_kill.c), which ends the process at the place that
 * they name. Thread: any.
 */
#ifndef COFFER_BASE_STEP_H
#define COFFER_BASE_STEP_H

/* Alone in its object. */
void cf_step(const char *name);

#endif

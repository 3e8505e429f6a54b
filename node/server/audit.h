/* node/server/audit.h: the audit devices of the configuration, rotation, and full disks. */
#ifndef COFFER_SERVER_AUDIT_H
#define COFFER_SERVER_AUDIT_H

#include "node/server/node.h"

/* What core_new is given. */
struct audit_options node_audit_options(struct node *node);
/* After core_new: CF_INVALID when a stanza of the configuration makes no sense. Main loop, as all here. */
CF_CHECKED cf_status node_audit_start(struct node *node, struct cf_error *err);
void node_audit_free(struct node *node);
/* This node is active and unsealed: the table in the store is made to agree with the configuration. */
void node_audit_reconcile(struct node *node);
/* The same, after this active node's cluster was promoted, demoted or attached: the table is another one. */
void node_audit_role_changed(struct node *node);
/* Does its configuration name a device at that path, and how many does it name? */
bool node_audit_names(const struct node *node, struct cf_slice path);
size_t node_audit_stanza_count(const struct node *node);
/* SIGHUP: files are opened anew, and the stanzas of `fresh`, which is kept, count from now on. */
void node_audit_reload(struct node *node, struct config *fresh);

#endif

/* node/base/list.h: an intrusive, circular, doubly linked list. Thread: its owner's. */
#ifndef COFFER_BASE_LIST_H
#define COFFER_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "node/base/memory.h"

struct cf_list {
    struct cf_list *next, *prev;
};

static inline void cf_list_init(struct cf_list *list)
{
    list->next = list->prev = list;
}
static inline bool cf_list_empty(const struct cf_list *list)
{
    return list->next == list;
}
static inline void cf_list_add_tail(struct cf_list *list, struct cf_list *node)
{
    node->prev = list->prev;
    node->next = list;
    list->prev->next = node;
    list->prev = node;
}
static inline void cf_list_add_head(struct cf_list *list, struct cf_list *node)
{
    cf_list_add_tail(list->next, node);
}
/* The node is left pointing at itself, so that removing twice is harmless. */
static inline void cf_list_remove(struct cf_list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    cf_list_init(node);
}
/* Moves everything of `from` to the end of `to`. */
static inline void cf_list_splice_tail(struct cf_list *to, struct cf_list *from)
{
    if (!cf_list_empty(from)) {
        from->next->prev = to->prev;
        to->prev->next = from->next;
        from->prev->next = to;
        to->prev = from->prev;
        cf_list_init(from);
    }
}

#define cf_list_for(at, list)                                                                      \
    for (struct cf_list *at = (list)->next; at != (list); at = at->next)
/* The body may remove `at`. */
#define cf_list_for_safe(at, list)                                                                 \
    for (struct cf_list *at = (list)->next, *at##_next = at->next; at != (list);                   \
         at = at##_next, at##_next = at->next)

#endif

/* node/base/own.h
 *
 * The one ownership idiom: CF_OWNED(x) frees at the end of the scope, x_take() hands on.
 * For a module x that has struct x and x_free() (which accepts NULL and half-built objects).
 */
#ifndef COFFER_BASE_OWN_H
#define COFFER_BASE_OWN_H

#include <stddef.h>

#define CF_OWNED(x) __attribute__((cleanup(x##_auto))) struct x *

#define CF_DEFINE_OWNED(x)                                                                         \
    static inline void x##_auto(struct x **owner)                                                  \
    {                                                                                              \
        x##_free(*owner);                                                                          \
    }                                                                                              \
    static inline struct x *x##_take(struct x **owner)                                             \
    {                                                                                              \
        struct x *taken = *owner;                                                                  \
        *owner = NULL;                                                                             \
        return taken;                                                                              \
    }                                                                                              \
    struct x

#endif

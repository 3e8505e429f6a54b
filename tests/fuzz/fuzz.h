/* tests/fuzz/fuzz.h: what a fuzz target includes. It defines the one function that libFuzzer calls;
 * fuzz_main.c calls it too, so that every target is also an ordinary test. */
#ifndef COFFER_FUZZ_H
#define COFFER_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/base/arena.h"
#include "node/base/memory.h"
#include "node/base/slice.h"
#include "node/base/status.h"

/* `data` is an allocation of exactly `size` bytes: a sanitizer sees a read past it. Returns 0.
 * Must not keep state between inputs. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A promise that every input must keep. Stops the process, so that the fuzzer keeps the input. */
#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "%s: broken promise: %s\n", CF_HERE, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif

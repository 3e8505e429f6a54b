/* node/base/step.c: one function, and nothing else: see step.h. */
#include "node/base/step.h"

void cf_step(const char *name)
{
    (void)name;
}

/* node/base/level.c: one function, and nothing else: see level.h. */
#include "node/base/level.h"

unsigned cf_feature_level(void)
{
    return LEVEL_NEWEST;
}

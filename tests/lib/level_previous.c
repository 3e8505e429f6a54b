/* tests/lib/level_previous.c: in place of node/base/level.c: a node that speaks the level before the newest. */
#include "node/base/level.h"

unsigned cf_feature_level(void)
{
    return LEVEL_NEWEST - 1;
}

/* tests/unit/node/server/test_config_reference.c: deploy/configuration.md and the tables of config.c say
 * the same: every key is on the page, in its block, with or without effect; no other is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/memory.h"
#include "node/server/config.h"
#include "tests/lib/test.h"

#define KEYS_MAX 512

struct entry {
    char block[32], key[64];
    bool has_effect, seen;
};

static struct entry page[KEYS_MAX];
static size_t page_count;

static void add(const char *block, const char *key, size_t size, bool has_effect)
{
    ck_assert_uint_lt(page_count, KEYS_MAX);
    struct entry *entry = &page[page_count++];
    (void)snprintf(entry->block, sizeof(entry->block), "%s", block);
    (void)snprintf(entry->key, sizeof(entry->key), "%.*s", (int)size, key);
    entry->has_effect = has_effect;
}

/* "| `key` | ..." is a key; between "Without effect:" and the empty line each `key` is one. */
static void read_page(void)
{
    char line[1024];
    char block[32] = "";
    bool without = false;
    FILE *file = fopen(getenv("COFFER_CONFIGURATION_PAGE"), "re");
    ck_assert_msg(file != NULL, "COFFER_CONFIGURATION_PAGE names no file");
    while (fgets(line, sizeof(line), file) != NULL) {
        (void)sscanf(line, "<!-- keys: %31s -->", block);
        without = (without && line[0] != '\n') || strncmp(line, "Without effect:", 15) == 0;
        if (strncmp(line, "| `", 3) == 0) {
            add(block, line + 3, strcspn(line + 3, "`"), true);
        }
        for (const char *at = without ? strchr(line, '`') : NULL; at != NULL;) {
            size_t size = strcspn(at + 1, "`");
            add(block, at + 1, size, false);
            at = strchr(at + size + 2, '`');
        }
    }
    (void)fclose(file);
}

static void look_up(void *context, const char *block, const char *key, bool has_effect)
{
    size_t *known = context;
    *known += 1;
    for (size_t i = 0; i < page_count; i++) {
        if (strcmp(page[i].block, block) == 0 && strcmp(page[i].key, key) == 0) {
            ck_assert_msg(page[i].has_effect == has_effect,
                          "%s: \"%s\" %s an effect, deploy/configuration.md says otherwise", block, key,
                          has_effect ? "has" : "is without");
            ck_assert_msg(!page[i].seen, "%s: \"%s\" is there twice", block, key);
            page[i].seen = true;
            return;
        }
    }
    ck_abort_msg("%s: \"%s\" is missing in deploy/configuration.md", block, key);
}

START_TEST(the_page_and_the_code_agree)
{
    size_t known = 0;
    read_page();
    config_each_key(look_up, &known);
    ck_assert_uint_gt(known, 100);
    for (size_t i = 0; i < page_count; i++) {
        ck_assert_msg(page[i].seen, "%s: \"%s\" of deploy/configuration.md is no key", page[i].block,
                      page[i].key);
    }
}
END_TEST

TEST_MAIN("server/config_reference", the_page_and_the_code_agree)

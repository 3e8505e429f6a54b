/* node/crypto/bcrypt.c: password hashes through libxcrypt's reentrant calls. */
#include "node/crypto/bcrypt.h"

#include <crypt.h>
#include <stdint.h>
#include <stdio.h>

#include "node/base/memory.h"

#define SETTING_SIZE ((size_t)7) /* "$2b$10$" */

static bool has_nul(struct cf_slice password)
{
    return cf_slice_find(password, 0) != password.size;
}

/* Cost of a well-formed bcrypt hash (`$2a$10$` and 53 characters of its base64), or 0. */
static unsigned cost_of(struct cf_slice hash)
{
    const uint8_t *text = hash.data;
    if (hash.size != BCRYPT_HASH_SIZE || text[0] != '$' || text[1] != '2' ||
        (text[2] != 'a' && text[2] != 'b' && text[2] != 'y') || text[3] != '$' || text[6] != '$' ||
        text[4] < '0' || text[4] > '9' || text[5] < '0' || text[5] > '9') {
        return 0;
    }
    for (size_t i = SETTING_SIZE; i < hash.size; i++) {
        uint8_t c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '.' && c <= '9'))) {
            return 0;
        }
    }
    unsigned cost = (unsigned)(text[4] - '0') * 10 + (unsigned)(text[5] - '0');
    return cost >= BCRYPT_COST_MIN && cost <= BCRYPT_COST_MAX ? cost : 0;
}

/* Runs crypt_rn and puts 60 characters and a NUL to `out`; false when it refuses. Everything that
 * held the password is wiped: the copy with its NUL, and the 32 kB of libxcrypt's work space. */
static bool run(struct cf_slice password, const char *setting, char out[61])
{
    char phrase[BCRYPT_PASSWORD_MAX + 1] = {0};
    if (password.size != 0) {
        memcpy(phrase, password.data, cf_min(password.size, BCRYPT_PASSWORD_MAX));
    }
    struct crypt_data *work = cf_new(struct crypt_data);
    const char *made = crypt_rn(phrase, setting, work, (int)sizeof(*work));
    bool good = made != NULL && made[0] == '$' && strlen(made) == BCRYPT_HASH_SIZE;
    if (good) {
        memcpy(out, made, BCRYPT_HASH_SIZE + 1);
    }
    cf_wipe(work, sizeof(*work));
    cf_free(work);
    cf_wipe(phrase, sizeof(phrase));
    return good;
}

cf_status bcrypt_make(struct cf_slice password, unsigned cost, const struct cf_random *random,
                      char ret[61], struct cf_error *err)
{
    if (password.size > BCRYPT_PASSWORD_MAX) {
        return cf_fail(err, CF_INVALID, "password is longer than %zu bytes", BCRYPT_PASSWORD_MAX);
    }
    if (has_nul(password)) {
        return cf_fail(err, CF_INVALID, "password contains a NUL character");
    }
    if (cost < BCRYPT_COST_MIN || cost > BCRYPT_COST_MAX) {
        return cf_fail(err, CF_INVALID, "bcrypt cost %u is not between %u and %u", cost,
                       BCRYPT_COST_MIN, BCRYPT_COST_MAX);
    }
    char salt[16];
    cf_random_fill(random, salt, sizeof(salt));
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];
    if (crypt_gensalt_rn("$2b$", cost, salt, (int)sizeof(salt), setting, (int)sizeof(setting)) ==
        NULL) {
        return cf_fail(err, CF_INTERNAL, "libcrypt makes no bcrypt salts");
    }
    char made[61];
    if (!run(password, setting, made)) {
        return cf_fail(err, CF_INTERNAL, "libcrypt makes no bcrypt hashes");
    }
    memcpy(ret, made, sizeof(made));
    return CF_OK;
}

cf_status bcrypt_is_hash(struct cf_slice hash, struct cf_error *err)
{
    if (cost_of(hash) == 0) {
        return cf_fail(err, CF_INVALID,
                       "not a bcrypt hash of cost %u to %u (\"$2b$\" and 56 more characters)",
                       BCRYPT_COST_MIN, BCRYPT_COST_MAX);
    }
    return CF_OK;
}

bool bcrypt_check(struct cf_slice password, struct cf_slice hash)
{
    if (cost_of(hash) == 0) {
        return false;
    }
    char setting[61] = {0}, made[61];
    memcpy(setting, hash.data, BCRYPT_HASH_SIZE);
    bool same = run(password, setting, made) && cf_equal_secret(made, setting, BCRYPT_HASH_SIZE);
    return same && password.size <= BCRYPT_PASSWORD_MAX && !has_nul(password);
}

void bcrypt_waste(struct cf_slice password, unsigned cost)
{
    char setting[61], made[61];
    cost = cost < BCRYPT_COST_MIN || cost > BCRYPT_COST_MAX ? BCRYPT_COST_DEFAULT : cost;
    (void)snprintf(setting, sizeof(setting), "$2b$%02u$......................", cost);
    cf_ignore(!run(password, setting, made), "only the time that it takes is wanted");
}

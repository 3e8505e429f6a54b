/* node/barrier/seal_progress.c: the shares of a ceremony as they come in. */
#include <stdio.h>

#include "node/barrier/seal.h"
#include "node/base/memory.h"

#define UUID_SIZE ((size_t)36)

struct seal_progress {
    struct secret *shares[SHAMIR_SHARES_MAX];
    unsigned count;
    char nonce[UUID_SIZE + 1];
};

struct seal_progress *seal_progress_new(void)
{
    return cf_new(struct seal_progress);
}

void seal_progress_reset(struct seal_progress *progress)
{
    for (unsigned i = 0; i < progress->count; i++) {
        secret_free(progress->shares[i]);
        progress->shares[i] = NULL;
    }
    progress->count = 0;
    progress->nonce[0] = '\0';
}

void seal_progress_free(struct seal_progress *seal_progress)
{
    if (seal_progress != NULL) {
        seal_progress_reset(seal_progress);
        cf_free(seal_progress);
    }
}

unsigned seal_progress_count(const struct seal_progress *progress)
{
    return progress->count;
}

const char *seal_progress_nonce(const struct seal_progress *progress)
{
    return progress->nonce;
}

/* RFC 4122 4.4: version 4, variant 10. */
static void draw_nonce(const struct cf_random *random, char nonce[UUID_SIZE + 1])
{
    uint8_t b[16];
    cf_random_fill(random, b, sizeof(b));
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    (void)snprintf(nonce, UUID_SIZE + 1,
                   "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
                   b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
                   b[14], b[15]);
}

/* Shape only, and nothing that tells a right share from a wrong one. */
static cf_status check_share(struct shamir_shape shape, struct cf_slice share, struct cf_error *err)
{
    size_t size = shape.shares == 1 ? SEAL_KEY_SIZE : SEAL_KEY_SIZE + 1;
    if (share.size != size || (shape.shares != 1 && share.data[size - 1] == 0)) {
        return cf_fail(err, CF_INVALID, "invalid key: a key share of this seal has %zu bytes",
                       size);
    }
    return CF_OK;
}

static bool is_known(const struct seal_progress *progress, struct cf_slice share)
{
    bool known = false;
    for (unsigned i = 0; i < progress->count; i++) {
        known |= secret_equal(progress->shares[i], share);
    }
    return known;
}

static cf_status combine(const struct seal_progress *progress, struct secret **ret,
                         struct cf_error *err)
{
    struct cf_slice shares[SHAMIR_SHARES_MAX];
    for (unsigned i = 0; i < progress->count; i++) {
        shares[i] = secret_slice(progress->shares[i]);
    }
    return shamir_combine(shares, progress->count, ret, err);
}

cf_status seal_progress_add(struct seal_progress *progress, struct shamir_shape shape,
                            struct cf_slice share, const struct cf_random *random,
                            struct secret **ret, struct cf_error *err)
{
    CF_TRY(shamir_check(shape, err));
    CF_TRY(check_share(shape, share, err));
    *ret = NULL;
    if (progress->count == 0) {
        draw_nonce(random, progress->nonce);
    }
    /* Cannot run past the end: the progress is emptied at the threshold, and if a rekey lowered
     * that meanwhile (a node learns of it while shares come in), at the next share, known or not. */
    if (!is_known(progress, share)) {
        progress->shares[progress->count++] = secret_copy(share);
    }
    if (progress->count < shape.threshold) {
        return CF_OK;
    }
    cf_status status = combine(progress, ret, err);
    seal_progress_reset(progress);
    return status;
}

/* node/barrier/shamir.c: GF(2^8) arithmetic without tables, splitting and combining. */
#include "node/barrier/shamir.h"

#include "node/base/memory.h"

/* Multiplication modulo x^8 + x^4 + x^3 + x + 1, in the same steps whatever the operands. */
static uint8_t multiply(uint8_t a, uint8_t b)
{
    unsigned product = 0, factor = a;
    for (unsigned bit = 0; bit < 8; bit++) {
        product ^= factor & (0u - ((unsigned)b >> bit & 1u));
        factor = factor << 1 ^ (0x11bu & (0u - (factor >> 7 & 1u)));
    }
    return (uint8_t)product;
}

/* a^254, which is 1/a for every a but 0. */
static uint8_t invert(uint8_t a)
{
    uint8_t result = 1, power = a;
    for (unsigned bit = 1; bit < 8; bit++) {
        power = multiply(power, power);
        result = multiply(result, power);
    }
    return result;
}

cf_status shamir_check(struct shamir_shape shape, struct cf_error *err)
{
    if (shape.shares < 1 || shape.shares > SHAMIR_SHARES_MAX) {
        return cf_fail(err, CF_INVALID, "secret_shares must be between 1 and %u",
                       SHAMIR_SHARES_MAX);
    }
    if (shape.threshold < 1 || shape.threshold > shape.shares) {
        return cf_fail(err, CF_INVALID, "secret_threshold must be between 1 and secret_shares");
    }
    if (shape.shares > 1 && shape.threshold == 1) {
        return cf_fail(err, CF_INVALID,
                       "secret_threshold must be greater than one for multiple shares");
    }
    return CF_OK;
}

/* Uniform in [0, bound), 1 <= bound <= 255, by rejection. */
static uint8_t below(const struct cf_random *random, unsigned bound)
{
    unsigned limit = 256 - 256 % bound;
    uint8_t drawn;
    do {
        cf_random_fill(random, &drawn, 1);
    } while (drawn >= limit);
    return (uint8_t)(drawn % bound);
}

/* The first `count` of a random permutation of 1..255 (Fisher and Yates). */
static void draw_places(const struct cf_random *random, size_t count, uint8_t places[255])
{
    for (unsigned i = 0; i < 255; i++) {
        places[i] = (uint8_t)(i + 1);
    }
    for (unsigned i = 0; i < count; i++) {
        unsigned from = i + below(random, 255 - i);
        uint8_t chosen = places[from];
        places[from] = places[i];
        places[i] = chosen;
    }
}

/* One polynomial a byte of the secret; its value at each share's x (Horner's rule). */
static void fill_shares(struct cf_slice secret, struct shamir_shape shape,
                        const struct cf_random *random, const uint8_t *places,
                        struct secret **shares)
{
    uint8_t polynomial[SHAMIR_SHARES_MAX];
    size_t degree = shape.threshold - 1;
    for (size_t i = 0; i < secret.size; i++) {
        polynomial[0] = secret.data[i];
        cf_random_fill(random, polynomial + 1, degree);
        for (unsigned share = 0; share < shape.shares; share++) {
            uint8_t value = 0;
            for (size_t k = degree + 1; k > 0; k--) {
                value = (uint8_t)(multiply(value, places[share]) ^ polynomial[k - 1]);
            }
            secret_bytes(shares[share])[i] = value;
        }
    }
    cf_wipe(polynomial, sizeof(polynomial));
}

cf_status shamir_split(struct cf_slice secret, struct shamir_shape shape,
                       const struct cf_random *random, struct secret **shares, struct cf_error *err)
{
    CF_TRY(shamir_check(shape, err));
    if (secret.size == 0 || secret.size >= SECRET_SIZE_MAX) {
        return cf_fail(err, CF_INVALID, "cannot split %zu bytes", secret.size);
    }
    if (shape.shares == 1) {
        shares[0] = secret_copy(secret);
        return CF_OK;
    }
    uint8_t places[255];
    draw_places(random, shape.shares, places);
    for (unsigned share = 0; share < shape.shares; share++) {
        shares[share] = secret_new(secret.size + 1);
        secret_bytes(shares[share])[secret.size] = places[share];
    }
    fill_shares(secret, shape, random, places, shares);
    return CF_OK;
}

static cf_status check_shares(const struct cf_slice *shares, size_t count, struct cf_error *err)
{
    bool seen[256] = {false};
    if (count == 0 || count > SHAMIR_SHARES_MAX) {
        return cf_fail(err, CF_INVALID, "cannot combine %zu shares", count);
    }
    size_t size = shares[0].size;
    if (size < (count == 1 ? 1u : 2u) || size > SECRET_SIZE_MAX) {
        return cf_fail(err, CF_INVALID, "a share of %zu bytes is no share", size);
    }
    for (size_t i = 0; count > 1 && i < count; i++) {
        if (shares[i].size != size) {
            return cf_fail(err, CF_INVALID, "all parts must be the same length");
        }
        uint8_t place = shares[i].data[size - 1];
        if (place == 0 || seen[place]) {
            return cf_fail(err, CF_INVALID,
                           place == 0 ? "a part has no place" : "duplicate part detected");
        }
        seen[place] = true;
    }
    return CF_OK;
}

/* Weight of share i in the value at 0 (Lagrange): the product of xj / (xj - xi) over the others. */
static uint8_t weight(const struct cf_slice *shares, size_t count, size_t i)
{
    size_t last = shares[0].size - 1;
    uint8_t above = 1, beneath = 1;
    for (size_t j = 0; j < count; j++) {
        if (j != i) {
            above = multiply(above, shares[j].data[last]);
            beneath = multiply(beneath, shares[j].data[last] ^ shares[i].data[last]);
        }
    }
    return multiply(above, invert(beneath));
}

cf_status shamir_combine(const struct cf_slice *shares, size_t count, struct secret **ret,
                         struct cf_error *err)
{
    CF_TRY(check_shares(shares, count, err));
    if (count == 1) {
        *ret = secret_copy(shares[0]);
        return CF_OK;
    }
    struct secret *made = secret_new(shares[0].size - 1);
    uint8_t *bytes = secret_bytes(made);
    for (size_t i = 0; i < count; i++) {
        uint8_t factor = weight(shares, count, i);
        for (size_t at = 0; at < shares[0].size - 1; at++) {
            bytes[at] ^= multiply(factor, shares[i].data[at]);
        }
    }
    *ret = made;
    return CF_OK;
}

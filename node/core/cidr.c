/* node/core/cidr.c: addresses and networks. */
#include "node/core/cidr.h"

#include <arpa/inet.h>

/* An address as IPv6, IPv4 mapped (RFC 4291 2.5.5.2), and how many of its bits count. */
struct network {
    uint8_t bytes[16];
    unsigned bits;
    bool is_v4;
};

static bool parse_bits(struct cf_slice text, unsigned max, unsigned *ret)
{
    unsigned bits = 0;
    if (text.size == 0 || text.size > 3) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        bits = 10 * bits + (unsigned)(text.data[i] - '0');
    }
    *ret = bits;
    return bits <= max;
}

static bool parse(struct cf_slice text, bool may_have_bits, struct network *ret)
{
    char address[INET6_ADDRSTRLEN];
    size_t slash = cf_slice_find(text, '/');
    bool has_bits = slash < text.size;
    if (slash >= sizeof(address) || (has_bits && !may_have_bits)) {
        return false;
    }
    memcpy(address, text.data, slash);
    address[slash] = '\0';
    if (memchr(address, '\0', slash) != NULL) {
        return false;
    }
    unsigned skipped = 0;
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (inet_pton(AF_INET, address, ret->bytes + 12) == 1) {
        memcpy(ret->bytes, mapped, sizeof(mapped));
        skipped = 96;
    } else if (inet_pton(AF_INET6, address, ret->bytes) != 1) {
        return false;
    }
    ret->is_v4 = memcmp(ret->bytes, mapped, sizeof(mapped)) == 0;
    ret->bits = 128;
    if (has_bits) {
        if (!parse_bits(cf_slice_from(text, slash + 1), 128 - skipped, &ret->bits)) {
            return false;
        }
        ret->bits += skipped;
        ret->is_v4 = ret->is_v4 && ret->bits >= 96; /* "::/0" is no network of IPv4 addresses */
    }
    return true;
}

bool cidr_is_valid(struct cf_slice text)
{
    struct network network;
    return text.size != 0 && parse(text, true, &network);
}

static bool lies_in(const struct network *network, const uint8_t address[16])
{
    unsigned whole = network->bits / 8;
    unsigned rest = network->bits % 8;
    if (memcmp(network->bytes, address, whole) != 0) {
        return false;
    }
    uint8_t mask = (uint8_t)(0xff << (8 - rest));
    return rest == 0 || ((network->bytes[whole] ^ address[whole]) & mask) == 0;
}

bool cidr_contains(const struct cf_slice *networks, size_t count, struct cf_slice address)
{
    struct network where, network;
    if (address.size == 0 || !parse(address, false, &where)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (networks[i].size != 0 && parse(networks[i], true, &network) &&
            network.is_v4 == where.is_v4 && lies_in(&network, where.bytes)) {
            return true;
        }
    }
    return false;
}

bool cidr_within(struct cf_slice network, struct cf_slice other)
{
    struct network inner, outer;
    return parse(network, true, &inner) && parse(other, true, &outer) &&
           inner.is_v4 == outer.is_v4 && inner.bits >= outer.bits && lies_in(&outer, inner.bytes);
}

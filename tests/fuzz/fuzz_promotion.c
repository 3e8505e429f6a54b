/* tests/fuzz/fuzz_promotion.c: what asks for certificates between clusters, and promotion certificates and proofs. */
#include "fuzz.h"
#include "node/base/memory.h"
#include "node/crypto/x509.h"
#include "node/server/replication/promotion.h"
#include "node/server/replication/routes.h"
#include "proto/message.h"
#include "proto/repl.pb-c.h"

static void certificate(struct cf_slice bytes)
{
    CF_OWNED(arena) arena = arena_new(1024);
    struct promotion promotion;
    struct cf_error err = {0};
    if (promotion_read(bytes, arena, &promotion, &err) != CF_OK) {
        FUZZ_CHECK(err.message[0] != '\0');
        return;
    }
    FUZZ_CHECK(promotion.serial != 0 && repl_is_id(promotion.id) && bytes.size <= PROMOTION_MAX);
}

static void renewal(struct cf_slice bytes)
{
    CF_OWNED(arena) arena = arena_new(1024);
    Coffer__Repl__Renewal *message;
    struct x509_info info;
    CF_BUF(public_key) = {0};
    if (message_unpack(coffer__repl__renewal, bytes, arena, &message, NULL) == CF_OK &&
        x509_csr_read(message_slice(message->csr), &info, &public_key, NULL) == CF_OK) {
        FUZZ_CHECK(public_key.size != 0);
    }
}

static void proof(struct cf_slice bytes)
{
    CF_OWNED(arena) arena = arena_new(1024);
    Coffer__Repl__Proof *message;
    if (message_unpack(coffer__repl__proof, bytes, arena, &message, NULL) == CF_OK) {
        for (size_t i = 0; i < message->n_certificates; i++) {
            certificate(message_slice(message->certificates[i]));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cf_slice bytes = cf_slice_of(data, size);
    certificate(bytes);
    renewal(bytes);
    proof(bytes);
    return 0;
}

/* Messages for OpenPGP keys: gpg makes the keys and opens what was encrypted; useless keys are refused. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "node/base/memory.h"
#include "node/crypto/pgp.h"
#include "test.h"

static char home[] = "/tmp/coffer-test-pgp.XXXXXX";

/* Runs a command in the temporary home; true for exit status 0. */
static bool sh(const char *command)
{
    char line[1024];
    (void)snprintf(line, sizeof(line), "cd %s && export GNUPGHOME=%s LC_ALL=C && { %s; } >log 2>&1",
                   home, home, command);
    return system(line) == 0;
}

static void gpg_start(void)
{
    memcpy(home + sizeof(home) - 7, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(home));
}

static void gpg_end(void)
{
    char line[128];
    (void)sh("gpgconf --kill all");
    (void)snprintf(line, sizeof(line), "rm -rf %s", home);
    ck_assert_int_eq(system(line), 0);
}

static void make_key(const char *name, const char *sign, const char *encrypt)
{
    char line[768];
    (void)snprintf(line, sizeof(line),
                   "gpg --batch --passphrase '' --quick-gen-key %s %s sign 0 && "
                   "fp=$(gpg --list-keys --with-colons %s | awk -F: '/^fpr/{print $10;exit}') && "
                   "{ [ -z '%s' ] || gpg --batch --passphrase '' --quick-add-key $fp %s encr 0; } && "
                   "gpg --export $fp > %s.key && gpg --armor --export $fp > %s.asc && printf %%s $fp > %s.fp",
                   name, sign, name, encrypt, encrypt, name, name, name);
    ck_assert_msg(sh(line), "gpg could not make the key %s", name);
}

static void load(const char *name, struct cf_buf *to)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s", home, name);
    FILE *file = fopen(path, "re");
    ck_assert_msg(file != NULL, "no %s", path);
    ck_assert(cf_buf_reserve(to, 1 << 17));
    to->size += fread(to->data, 1, 1 << 17, file);
    (void)fclose(file);
}

static cf_status parse(const char *name, struct pgp_key **ret, struct cf_error *err)
{
    CF_BUF(bytes) = {0};
    load(name, &bytes);
    return pgp_key_parse(cf_buf_slice(&bytes), ret, err);
}

static void refused(const char *name, const char *word)
{
    struct pgp_key *key = NULL;
    struct cf_error err = {0};
    ck_assert_int_eq(parse(name, &key, &err), CF_INVALID);
    ck_assert_ptr_null(key);
    ck_assert_msg(strstr(err.message, word) != NULL, "\"%s\" is not in \"%s\"", word, err.message);
}

static void opens(const char *name, const char *file)
{
    CF_OWNED(pgp_key) key = NULL;
    CF_BUF(message) = {0};
    CF_BUF(plain) = {0};
    char path[128], line[256];
    ck_ok(parse(file, &key, NULL));
    (void)snprintf(path, sizeof(path), "%s.fp", name);
    CF_BUF(fingerprint) = {0};
    load(path, &fingerprint);
    ck_assert_uint_eq(strlen(pgp_key_fingerprint(key)), fingerprint.size);
    for (size_t i = 0; i < fingerprint.size; i++) {
        char c = pgp_key_fingerprint(key)[i];
        ck_assert(!(c >= 'A' && c <= 'F'));
        ck_assert_int_eq(c >= 'a' ? c - 'a' + 'A' : c, fingerprint.data[i]);
    }
    ck_ok(pgp_encrypt(key, CF_SLICE("00ff-share-of-the-key"), &message, NULL));
    ck_assert_ptr_null(memmem(message.data, message.size, "share-of", 8));
    (void)snprintf(path, sizeof(path), "%s/message", home);
    FILE *out = fopen(path, "we");
    ck_assert_ptr_nonnull(out);
    ck_assert_uint_eq(fwrite(message.data, 1, message.size, out), message.size);
    (void)fclose(out);
    (void)snprintf(line, sizeof(line), "rm -f plain && gpg --batch --output plain --decrypt message");
    ck_assert_msg(sh(line), "gpg cannot open the message for %s", name);
    load("plain", &plain);
    ck_slice(cf_buf_slice(&plain), "00ff-share-of-the-key");
}

START_TEST(gpg_opens_what_was_encrypted)
{
    gpg_start();
    make_key("rsa", "rsa2048", "rsa2048");
    opens("rsa", "rsa.key");
    make_key("curve", "ed25519", "cv25519");
    opens("curve", "curve.key");
    opens("curve", "curve.asc");
    gpg_end();
}
END_TEST

START_TEST(keys_of_no_use_are_refused_with_a_reason)
{
    gpg_start();
    make_key("good", "ed25519", "cv25519");
    make_key("signs", "ed25519", "");
    make_key("revoked", "ed25519", "cv25519");
    make_key("expired", "ed25519", "cv25519");
    refused("signs.key", "only sign");
    ck_assert(sh("cat good.key signs.key > two.key"));
    refused("two.key", "2 PGP keys");
    ck_assert(sh("gpg --batch --export-secret-keys good > secret.key"));
    refused("secret.key", "private key");
    ck_assert(sh("fp=$(cat revoked.fp); sed 's/^:---/---/' openpgp-revocs.d/$fp.rev | gpg --batch --import && "
                 "gpg --export $fp > revoked.key"));
    refused("revoked.key", "revoked");
    ck_assert(sh("fp=$(cat expired.fp); gpg --batch --faked-system-time 20200101T000000! --passphrase '' "
                 "--quick-gen-key old ed25519 sign 1d && gpg --export old > expired.key"));
    refused("expired.key", "expired");
    ck_assert(sh("head -c 20 good.key > short.key && printf 'no key' > text.key && : > empty.key && "
                 "head -c 70000 /dev/zero > large.key"));
    refused("short.key", "no OpenPGP public key");
    refused("text.key", "no OpenPGP public key");
    refused("empty.key", "1 to 65536 bytes");
    refused("large.key", "1 to 65536 bytes");
    gpg_end();
}
END_TEST

TEST_MAIN("node/crypto/pgp", gpg_opens_what_was_encrypted, keys_of_no_use_are_refused_with_a_reason)

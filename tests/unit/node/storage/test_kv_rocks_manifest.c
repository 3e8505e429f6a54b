/* tests/unit/node/storage/test_kv_rocks_manifest.c: a manifest whose end a power cut tore, sector by sector, opens with
 * everything that was promised before; damage that is none of a power cut's is refused as it is. */
#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>

#include "node/storage/kv_rocks.h"
#include "tests/unit/node/storage/suite.h"

#define SECTOR 512
#define HEADER 7
#define LATE 1400 /* bytes of the keys that name a table: its record goes over at least three sectors */

static char manifest[256];
static uint8_t *bytes;
static size_t whole, size; /* up to the last promise; of the file */
static char late[2][LATE / 2 + 1];

static void load_manifest(size_t *ret)
{
    char pattern[128];
    glob_t found;
    struct stat info;
    snprintf(pattern, sizeof(pattern), "%s/db/MANIFEST-*", test_dir);
    ck_assert_int_eq(glob(pattern, 0, NULL, &found), 0);
    ck_assert_uint_eq(found.gl_pathc, 1);
    snprintf(manifest, sizeof(manifest), "%s", found.gl_pathv[0]);
    globfree(&found);
    ck_assert_int_eq(stat(manifest, &info), 0);
    *ret = (size_t)info.st_size;
    bytes = realloc(bytes, *ret);
    int fd = open(manifest, O_RDONLY);
    ck_assert_int_eq(read(fd, bytes, *ret), (ssize_t)*ret);
    close(fd);
}

static void write_manifest(const uint8_t *from, size_t count)
{
    int fd = open(manifest, O_WRONLY | O_TRUNC);
    ck_assert_int_eq(write(fd, from, count), (ssize_t)count);
    close(fd);
}

/* A store with one promised value, and a new table as the end of its manifest. */
static void begin(void)
{
    struct kv *kv = NULL;
    CF_OWNED(kv_family) log = NULL;
    CF_OWNED(kv_family) state = NULL;
    ck_ok(kv_open(dir_begin(), NULL, &kv, NULL));
    ck_ok(kv_family_create(kv, "log", &log, NULL));
    CF_OWNED(kv_batch) batch = kv_batch_new(kv);
    kv_batch_put(batch, log, text("promised"), text("1"));
    ck_ok(kv_commit(kv, batch, KV_SYNC, NULL));
    kv_batch_free(kv_batch_take(&batch));
    ck_ok(kv_family_create(kv, "state-1", &state, NULL));
    for (int i = 0; i < 2; i++) {
        memset(late[i], 'a' + i, LATE / 2);
        put(kv, state, late[i], "1");
    }
    load_manifest(&whole);
    ck_ok(kv_flush(state, NULL));
    load_manifest(&size);
    ck_assert_uint_gt(size, whole + LATE);
    kv_family_unref(kv_family_take(&log));
    kv_family_unref(kv_family_take(&state));
    kv_close(kv);
    load_manifest(&size);
}

static void end(void)
{
    free(bytes);
    bytes = NULL;
    dir_end();
}

/* Opens what is there; false: refused. The late table is there only when `complete`. */
static bool opens(bool complete)
{
    struct kv *kv = NULL;
    struct cf_error err = {0};
    if (kv_open(test_dir, &(struct kv_options){.must_exist = true}, &kv, &err) != CF_OK) {
        ck_status(err.status, CF_CORRUPT);
        return false;
    }
    CF_OWNED(kv_family) log = NULL;
    CF_OWNED(kv_family) state = NULL;
    ck_ok(kv_family_open(kv, "log", &log, NULL));
    ck_ok(kv_family_open(kv, "state-1", &state, NULL));
    ck_assert_str_eq(got(kv_now(kv), log, "promised"), "1");
    ck_assert_str_eq(got(kv_now(kv), state, late[0]), complete ? "1" : "");
    kv_family_unref(kv_family_take(&log));
    kv_family_unref(kv_family_take(&state));
    kv_close(kv);
    return true;
}

/* crash.store_crash_loop met it: a prefix of the record in one sector, zeros in the next. */
START_TEST(any_sectors_of_the_end_may_be_missing)
{
    begin();
    size_t first = whole / SECTOR, parts = (size - 1) / SECTOR - first + 1;
    ck_assert_uint_ge(parts, 3);
    end();
    for (unsigned mask = 0; mask < 1U << parts; mask++) {
        begin();
        for (size_t i = 0; i < parts; i++) {
            size_t from = (first + i) * SECTOR, to = from + SECTOR;
            from = from > whole ? from : whole;
            to = to < size ? to : size;
            if ((mask >> i & 1) == 0) {
                memset(bytes + from, 0, to - from);
            }
        }
        write_manifest(bytes, size);
        ck_assert_msg(opens(mask == (1U << parts) - 1), "parts %#x", mask);
        ck_assert(opens(mask == (1U << parts) - 1)); /* and once more */
        end();
    }
}
END_TEST

START_TEST(the_end_may_stop_anywhere)
{
    static const size_t behind[] = {0, 3, HEADER, SECTOR, SECTOR + 5, LATE};
    for (size_t i = 0; i < CF_LENGTH(behind); i++) {
        begin();
        write_manifest(bytes, whole + behind[i]);
        ck_assert(opens(false));
        end();
    }
}
END_TEST

/* One bit is no power cut: nothing says how much of what follows was promised. */
START_TEST(a_flipped_bit_is_refused)
{
    begin();
    bytes[whole + LATE / 2] ^= 0x10;
    write_manifest(bytes, size);
    ck_assert(!opens(true));
    size_t kept = size;
    load_manifest(&size);
    ck_assert_uint_eq(kept, size);
    end();
}
END_TEST

/* Neither is a hole at the start or far from the end. */
START_TEST(holes_elsewhere_are_kept)
{
    begin();
    ck_assert_uint_eq(rocks_manifest_whole(bytes, size), size);
    size_t far = size + ((size_t)600 << 10);
    uint8_t *longer = calloc(1, far);
    memcpy(longer, bytes, size);
    memset(longer + whole, 0, SECTOR);
    memset(longer + size, 'x', far - size);
    ck_assert_uint_eq(rocks_manifest_whole(longer, size), whole);
    ck_assert_uint_eq(rocks_manifest_whole(longer, far), far);
    memset(longer, 0, SECTOR);
    ck_assert_uint_eq(rocks_manifest_whole(longer, size), size);
    ck_assert_uint_eq(rocks_manifest_whole(longer, 0), 0);
    free(longer);
    end();
}
END_TEST

TEST_MAIN("node/storage/kv_rocks_manifest", any_sectors_of_the_end_may_be_missing, the_end_may_stop_anywhere,
          a_flipped_bit_is_refused, holes_elsewhere_are_kept)

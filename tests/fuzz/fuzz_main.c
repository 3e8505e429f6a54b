/* tests/fuzz/fuzz_main.c
 *
 * Runs a fuzz target without libFuzzer: every seed file as it is, then mutations of them, the same
 * ones in every run. This is what the test suite does with each target.
 *     fuzz_x SEEDS [COUNT [PRNG_SEED]]   a folder of seeds, 20,000 mutations unless told
 *     fuzz_x FILE                        one input, for instance one that broke something
 * An input that ends the process is written to fuzz-crash in the current folder.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "node/base/host.h"

#define SEEDS_MAX 4096
#define SEED_SIZE_MAX ((size_t)1 << 20)
#define MUTANT_SIZE_MAX ((size_t)1 << 16)

static struct cf_slice seeds[SEEDS_MAX];
static size_t seed_count;

/* The input that runs, for the signal handler. */
static struct cf_slice current;

static void on_crash(int number)
{
    int file = open("fuzz-crash", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file >= 0) {
        ssize_t written = write(file, current.data, current.size);
        (void)written;
        (void)close(file);
    }
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

static void run(struct cf_slice input)
{
    /* An allocation of just that size, so that a sanitizer sees reads past the end. */
    uint8_t *copy = malloc(cf_max(input.size, 1));
    FUZZ_CHECK(copy != NULL);
    if (input.size != 0) {
        memcpy(copy, input.data, input.size);
    }
    current = cf_slice_of(copy, input.size);
    (void)LLVMFuzzerTestOneInput(copy, input.size);
    current = CF_SLICE_EMPTY;
    free(copy);
}

/* ---- seeds ---- */

static bool load(const char *path)
{
    CF_BUF(buf) = {.max = SEED_SIZE_MAX};
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    for (int byte = fgetc(file); byte != EOF; byte = fgetc(file)) {
        cf_buf_add_byte(&buf, (uint8_t)byte);
    }
    (void)fclose(file);
    if (seed_count < SEEDS_MAX) {
        seeds[seed_count++] = cf_slice_of(cf_memdup(buf.data, buf.size), buf.size);
    }
    return true;
}

static int by_name(const void *a, const void *b)
{
    const char *const *left = a;
    const char *const *right = b;
    return strcmp(*left, *right);
}

/* In the order of names, or mutations would differ from one file system to the next. */
static void load_folder(DIR *folder, const char *path)
{
    char *names[SEEDS_MAX];
    size_t count = 0;
    for (struct dirent *entry; count < SEEDS_MAX && (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] != '.') {
            names[count++] = cf_strdup(entry->d_name);
        }
    }
    qsort(names, count, sizeof(names[0]), by_name);
    for (size_t i = 0; i < count; i++) {
        CF_BUF(full) = {0};
        cf_buf_addf(&full, "%s/%s", path, names[i]);
        cf_free(names[i]);
        if (!load(cf_buf_text(&full))) {
            (void)fprintf(stderr, "cannot read %s: %s\n", cf_buf_text(&full), strerror(errno));
        }
    }
}

/* ---- mutations ---- */

static size_t below(struct cf_prng *prng, size_t bound)
{
    return (size_t)cf_prng_below(prng, bound);
}

/* A piece of some seed. */
static struct cf_slice piece(struct cf_prng *prng, size_t max)
{
    struct cf_slice seed = seeds[below(prng, seed_count)];
    struct cf_slice rest = cf_slice_from(seed, below(prng, seed.size + 1));
    return cf_slice_first(rest, below(prng, cf_min(rest.size, max) + 1));
}

/* Puts `with` in the place of `size` bytes at `at`. */
static void replace(struct cf_buf *buf, size_t at, size_t size, struct cf_slice with)
{
    CF_BUF(next) = {.max = MUTANT_SIZE_MAX};
    cf_buf_add(&next, buf->data, at);
    cf_buf_add_slice(&next, with);
    cf_buf_add_slice(&next, cf_slice_from(cf_buf_slice(buf), at + size));
    cf_buf_reset(buf);
    cf_buf_add_slice(buf, cf_buf_slice(&next));
}

static void mutate(struct cf_prng *prng, struct cf_buf *buf)
{
    static const uint8_t telling[] = {0x00, 0x01, 0x0a, 0x0d, 0x20, 0x7f, 0x80, 0xbf, 0xc0,
                                      0xed, 0xf4, 0xff, '"',  '\\', '{',  '}',  '[',  ']',
                                      '$',  '-',  '.',  '0',  '9',  'e',  '%',  '/',  '='};
    size_t at = below(prng, buf->size + 1), size = cf_min(below(prng, 16), buf->size - at);
    uint8_t byte = telling[below(prng, sizeof(telling))];
    struct cf_slice old = cf_slice_first(cf_slice_from(cf_buf_slice(buf), at), size);
    uint8_t copy[16];
    switch (below(prng, 8)) {
    case 0: /* one bit */
        if (at < buf->size) {
            buf->data[at] ^= (uint8_t)(1u << below(prng, 8));
        }
        break;
    case 1: /* one byte */
        if (at < buf->size) {
            buf->data[at] = byte;
        }
        break;
    case 2:
        replace(buf, at, 0, cf_slice_of(&byte, 1));
        break;
    case 3: /* remove */
        replace(buf, at, size, CF_SLICE_EMPTY);
        break;
    case 4: /* cut short */
        buf->size = at;
        break;
    case 5: /* the same again, elsewhere */
        if (size != 0) {
            memcpy(copy, old.data, size);
        }
        replace(buf, below(prng, buf->size + 1), 0, cf_slice_of(copy, size));
        break;
    case 6:
        replace(buf, at, size, piece(prng, 64));
        break;
    default:
        replace(buf, at, 0, piece(prng, 512));
        break;
    }
}

static void run_mutations(uint64_t count, uint64_t prng_seed)
{
    struct cf_prng prng;
    CF_BUF(buf) = {.max = MUTANT_SIZE_MAX};
    cf_prng_seed(&prng, prng_seed);
    for (uint64_t i = 0; i < count; i++) {
        cf_buf_reset(&buf);
        cf_buf_add_slice(&buf, seeds[below(&prng, seed_count)]);
        for (size_t steps = 1 + below(&prng, 6); steps > 0; steps--) {
            mutate(&prng, &buf);
        }
        run(cf_buf_slice(&buf));
    }
}

int main(int argc, char **argv)
{
    static const int fatal[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 20000;
    uint64_t prng_seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    if (argc < 2) {
        (void)fprintf(stderr, "usage: %s SEEDS [COUNT [PRNG_SEED]]\n", argv[0]);
        return 2;
    }
    for (size_t i = 0; i < CF_LENGTH(fatal); i++) {
        (void)signal(fatal[i], on_crash);
    }
    DIR *folder = opendir(argv[1]);
    if (folder != NULL) {
        load_folder(folder, argv[1]);
        (void)closedir(folder);
    } else if (load(argv[1])) {
        count = 0;
    }
    if (seed_count == 0) {
        (void)fprintf(stderr, "no seeds in %s\n", argv[1]);
        return 1;
    }
    for (size_t i = 0; i < seed_count; i++) {
        run(seeds[i]);
    }
    run_mutations(count, prng_seed);
    for (size_t i = 0; i < seed_count; i++) {
        cf_free((void *)(uintptr_t)seeds[i].data);
    }
    return 0;
}

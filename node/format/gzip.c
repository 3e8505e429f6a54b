/* node/format/gzip.c: the one user of zlib. */
#include "node/format/gzip.h"

#include <limits.h>
#include <zlib.h>

#include "node/base/memory.h"

#define BUFFER ((size_t)256 << 10)
#define WITH_GZIP 16 /* added to the window bits: gzip framing instead of zlib's */

struct gzip_out {
    struct gzip_sink sink;
    z_stream stream;
    uint8_t buffer[BUFFER];
};

static void *allocate(void *unused, unsigned count, unsigned size)
{
    (void)unused;
    return cf_array(count, size);
}

static void release(void *unused, void *memory)
{
    (void)unused;
    cf_free(memory);
}

struct gzip_out *gzip_out_new(const struct gzip_sink *sink)
{
    struct gzip_out *out = cf_new(struct gzip_out);
    out->sink = *sink;
    out->stream.zalloc = allocate;
    out->stream.zfree = release;
    /* Ciphertext does not shrink: level 0 costs a checksum and a copy. */
    int code = deflateInit2(&out->stream, Z_NO_COMPRESSION, Z_DEFLATED, MAX_WBITS + WITH_GZIP, 8,
                            Z_DEFAULT_STRATEGY);
    if (code != Z_OK) {
        out->stream.state = NULL; /* told by the first use */
    }
    return out;
}

void gzip_out_free(struct gzip_out *out)
{
    if (out != NULL) {
        cf_ignore(deflateEnd(&out->stream) != Z_OK, "an unfinished stream is what it is");
        cf_free(out);
    }
}

/* Feeds zlib until it has taken everything and (Z_FINISH) given everything. */
static cf_status drive(struct gzip_out *out, int flush, struct cf_error *err)
{
    int code;
    do {
        out->stream.next_out = out->buffer;
        out->stream.avail_out = (unsigned)sizeof(out->buffer);
        code = deflate(&out->stream, flush);
        if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR) {
            return cf_fail(err, CF_INTERNAL, "cannot make a gzip stream");
        }
        size_t made = sizeof(out->buffer) - out->stream.avail_out;
        if (made != 0) {
            CF_TRY(out->sink.write(out->sink.context, cf_slice_of(out->buffer, made), err));
        }
    } while (flush == Z_FINISH ? code != Z_STREAM_END : out->stream.avail_out == 0);
    return CF_OK;
}

cf_status gzip_out_add(struct gzip_out *out, struct cf_slice bytes, struct cf_error *err)
{
    while (bytes.size != 0) {
        size_t part = cf_min(bytes.size, UINT_MAX / 2);
        out->stream.next_in = (uint8_t *)(uintptr_t)bytes.data; /* zlib does not write to it */
        out->stream.avail_in = (unsigned)part;
        CF_TRY(drive(out, Z_NO_FLUSH, err));
        bytes = cf_slice_from(bytes, part);
    }
    return CF_OK;
}

cf_status gzip_out_end(struct gzip_out *out, struct cf_error *err)
{
    out->stream.next_in = NULL;
    out->stream.avail_in = 0;
    return drive(out, Z_FINISH, err);
}

/* ---- in ---- */

struct gzip_in {
    struct gzip_source source;
    z_stream stream;
    bool at_end, source_ended;
    uint8_t buffer[BUFFER];
};

struct gzip_in *gzip_in_new(const struct gzip_source *source)
{
    struct gzip_in *in = cf_new(struct gzip_in);
    in->source = *source;
    in->stream.zalloc = allocate;
    in->stream.zfree = release;
    int code = inflateInit2(&in->stream, MAX_WBITS + WITH_GZIP);
    if (code != Z_OK) {
        in->stream.state = NULL; /* told by the first use */
    }
    return in;
}

void gzip_in_free(struct gzip_in *in)
{
    if (in != NULL) {
        cf_ignore(inflateEnd(&in->stream) != Z_OK, "nothing depends on it");
        cf_free(in);
    }
}

static cf_status refill(struct gzip_in *in, struct cf_error *err)
{
    size_t got;
    if (in->stream.avail_in != 0 || in->source_ended) {
        return CF_OK;
    }
    CF_TRY(in->source.read(in->source.context, in->buffer, sizeof(in->buffer), &got, err));
    in->stream.next_in = in->buffer;
    in->stream.avail_in = (unsigned)got;
    in->source_ended = got == 0;
    return CF_OK;
}

/* Bytes behind the end belong to nobody: an archive has one beginning and one end. */
static cf_status check_end(struct gzip_in *in, struct cf_error *err)
{
    CF_TRY(refill(in, err));
    return in->stream.avail_in == 0 ? CF_OK
                                    : cf_fail(err, CF_INVALID, "there is more behind the end of "
                                                               "the gzip stream");
}

cf_status gzip_in_read(struct gzip_in *in, void *to, size_t size, size_t *ret, struct cf_error *err)
{
    size_t done = 0;
    while (done < size && !in->at_end) {
        size_t room = cf_min(size - done, UINT_MAX / 2);
        CF_TRY(refill(in, err));
        in->stream.next_out = (uint8_t *)to + done;
        in->stream.avail_out = (unsigned)room;
        int code = inflate(&in->stream, Z_NO_FLUSH);
        done += room - in->stream.avail_out;
        if (code == Z_STREAM_END) {
            in->at_end = true;
            CF_TRY(check_end(in, err));
        } else if (code == Z_BUF_ERROR && in->source_ended) {
            return cf_fail(err, CF_INVALID, "the gzip stream breaks off");
        } else if (code != Z_OK && code != Z_BUF_ERROR) {
            return cf_fail(err, CF_INVALID, "this is no gzip stream, or it is damaged");
        }
    }
    *ret = done;
    return CF_OK;
}

/* tools/load/answer.c: an HTTP/1.1 answer from bytes. */
#include <stdlib.h>
#include <strings.h>

#include "tools/load/answer.h"

void answer_init(struct answer *answer, size_t body_max)
{
    *answer = (struct answer){.state = ANSWER_HEAD};
    cf_buf_init(&answer->line, ANSWER_HEAD_MAX);
    cf_buf_init(&answer->body, body_max);
}

void answer_done(struct answer *answer)
{
    cf_buf_done(&answer->line);
    cf_buf_done(&answer->body);
}

void answer_reset(struct answer *answer)
{
    cf_buf_reset(&answer->line);
    cf_buf_reset(&answer->body);
    answer->state = ANSWER_HEAD;
    answer->left = 0;
    answer->status = 0;
    answer->close = false;
}

static bool name_is(struct cf_slice name, const char *want)
{
    return name.size == strlen(want) && strncasecmp((const char *)name.data, want, name.size) == 0;
}

static struct cf_slice trim(struct cf_slice text)
{
    while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text = cf_slice_from(text, 1);
    }
    while (text.size > 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t' ||
                             text.data[text.size - 1] == '\r')) {
        text.size--;
    }
    return text;
}

/* Digits of `base` only; anything else, or more than fits, is false. */
static bool parse_number(struct cf_slice text, unsigned base, uint64_t *ret)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.size; i++) {
        unsigned digit = 99;
        uint8_t c = text.data[i];
        if (c >= '0' && c <= '9') {
            digit = c - '0';
        } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
            digit = (unsigned)(c | 0x20) - 'a' + 10;
        }
        if (digit >= base || value > (UINT64_MAX >> 5)) {
            return false;
        }
        value = value * base + digit;
    }
    *ret = value;
    return text.size > 0;
}

static struct cf_slice next_line(struct cf_slice *head)
{
    size_t end = cf_slice_find(*head, '\n');
    struct cf_slice line = cf_slice_first(*head, end);
    *head = cf_slice_from(*head, end + 1);
    return line;
}

static cf_status parse_status_line(struct answer *answer, struct cf_slice line,
                                   struct cf_error *err)
{
    uint64_t status = 0;
    if (line.size < 12 || !cf_slice_starts(line, CF_SLICE("HTTP/1.")) ||
        !parse_number(cf_slice_first(cf_slice_from(line, 9), 3), 10, &status)) {
        return cf_fail(err, CF_CORRUPT, "the server does not speak HTTP/1.1");
    }
    answer->status = (int)status;
    answer->close = line.data[7] == '0';
    return CF_OK;
}

static cf_status parse_head(struct answer *answer, struct cf_error *err)
{
    struct cf_slice head = cf_buf_slice(&answer->line);
    bool chunked = false;
    bool has_length = false;
    CF_TRY(parse_status_line(answer, next_line(&head), err));
    while (head.size > 0) {
        struct cf_slice line = next_line(&head);
        size_t colon = cf_slice_find(line, ':');
        struct cf_slice name = cf_slice_first(line, colon);
        struct cf_slice value = trim(cf_slice_from(line, colon + 1));
        if (name_is(name, "content-length")) {
            has_length = true;
            if (!parse_number(value, 10, &answer->left)) {
                return cf_fail(err, CF_CORRUPT, "bad content length from the server");
            }
        } else if (name_is(name, "transfer-encoding")) {
            chunked = name_is(value, "chunked");
        } else if (name_is(name, "connection")) {
            answer->close = name_is(value, "close");
        }
    }
    cf_buf_reset(&answer->line);
    if (answer->status >= 100 && answer->status < 200) {
        answer->state = ANSWER_HEAD; /* an interim answer; the real one follows */
    } else if (answer->status == 204 || answer->status == 304) {
        answer->state = ANSWER_COMPLETE;
    } else if (chunked) {
        answer->state = ANSWER_CHUNK_SIZE;
    } else if (has_length) {
        answer->state = answer->left > 0 ? ANSWER_LENGTH : ANSWER_COMPLETE;
    } else {
        answer->state = ANSWER_UNTIL_CLOSE;
    }
    return CF_OK;
}

/* Collects one line of a chunked body; true when it is whole (without its end). */
static bool collect_line(struct answer *answer, struct cf_slice *in)
{
    size_t end = cf_slice_find(*in, '\n');
    bool whole = end < in->size;
    cf_buf_add_slice(&answer->line, cf_slice_first(*in, end));
    *in = cf_slice_from(*in, whole ? end + 1 : end);
    return whole;
}

static cf_status take_head(struct answer *answer, struct cf_slice *in, struct cf_error *err)
{
    /* Line by line, so that the end of the head is an empty line wherever the reads were cut. */
    size_t end = cf_slice_find(*in, '\n');
    bool whole = end < in->size;
    struct cf_slice part = cf_slice_first(*in, whole ? end + 1 : end);
    cf_buf_add_slice(&answer->line, part);
    *in = cf_slice_from(*in, part.size);
    CF_TRY(cf_buf_check(&answer->line, err));
    struct cf_slice head = cf_buf_slice(&answer->line);
    if (whole &&
        (cf_slice_ends(head, CF_SLICE("\n\r\n")) || cf_slice_ends(head, CF_SLICE("\n\n")))) {
        return parse_head(answer, err);
    }
    return CF_OK;
}

static cf_status take_chunk_line(struct answer *answer, struct cf_slice *in, struct cf_error *err)
{
    bool whole = collect_line(answer, in);
    CF_TRY(cf_buf_check(&answer->line, err));
    if (!whole) {
        return CF_OK;
    }
    struct cf_slice line = trim(cf_buf_slice(&answer->line));
    if (answer->state == ANSWER_CHUNK_SIZE) {
        line = trim(cf_slice_first(line, cf_slice_find(line, ';')));
        if (!parse_number(line, 16, &answer->left)) {
            return cf_fail(err, CF_CORRUPT, "bad chunk size from the server");
        }
        answer->state = answer->left > 0 ? ANSWER_CHUNK : ANSWER_TRAILER;
    } else if (answer->state == ANSWER_CHUNK_END) {
        if (line.size > 0) {
            return cf_fail(err, CF_CORRUPT, "bad end of a chunk from the server");
        }
        answer->state = ANSWER_CHUNK_SIZE;
    } else if (line.size == 0) {
        answer->state = ANSWER_COMPLETE;
    }
    cf_buf_reset(&answer->line);
    return CF_OK;
}

static cf_status take_body(struct answer *answer, struct cf_slice *in, struct cf_error *err)
{
    size_t take = in->size;
    if (answer->state != ANSWER_UNTIL_CLOSE) {
        take = answer->left < take ? (size_t)answer->left : take;
        answer->left -= take;
    }
    cf_buf_add(&answer->body, in->data, take);
    *in = cf_slice_from(*in, take);
    CF_TRY(cf_buf_check(&answer->body, err));
    if (answer->left == 0 && answer->state == ANSWER_LENGTH) {
        answer->state = ANSWER_COMPLETE;
    } else if (answer->left == 0 && answer->state == ANSWER_CHUNK) {
        answer->state = ANSWER_CHUNK_END;
    }
    return CF_OK;
}

cf_status answer_feed(struct answer *answer, struct cf_slice in, size_t *used, struct cf_error *err)
{
    size_t size = in.size;
    while (in.size > 0 && answer->state != ANSWER_COMPLETE) {
        switch (answer->state) {
        case ANSWER_HEAD:
            CF_TRY(take_head(answer, &in, err));
            break;
        case ANSWER_CHUNK_SIZE:
        case ANSWER_CHUNK_END:
        case ANSWER_TRAILER:
            CF_TRY(take_chunk_line(answer, &in, err));
            break;
        case ANSWER_LENGTH:
        case ANSWER_CHUNK:
        case ANSWER_UNTIL_CLOSE:
            CF_TRY(take_body(answer, &in, err));
            break;
        case ANSWER_COMPLETE:
            break;
        }
    }
    *used = size - in.size;
    return CF_OK;
}

cf_status answer_closed(struct answer *answer, struct cf_error *err)
{
    if (answer->state == ANSWER_UNTIL_CLOSE) {
        answer->state = ANSWER_COMPLETE;
        answer->close = true;
        return CF_OK;
    }
    return cf_fail(err, CF_IO, "the server closed the connection");
}

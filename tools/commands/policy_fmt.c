/* tools/commands/policy_fmt.c: policy fmt: the layout of a policy file, comments kept. Lines keep their
 * order; blanks between words become one, each block moves in by two, and the "=" of neighbouring
 * settings stand below each other, as the language's own formatter has it. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "node/format/hcl.h"
#include "tools/commands.h"

struct line {
    struct cf_slice text; /* in its new form, without what moves it in */
    int depth;
    size_t equals; /* where the "=" of a setting stands; 0: none, or it begins several lines */
    bool verbatim; /* within a here-document or a comment of several lines */
};

struct layout {
    struct cli *cli;
    struct line *lines;
    size_t count;
    int depth;
    bool in_comment;
    struct cf_slice heredoc; /* what ends it */
};

/* End of the string that begins at `at`. */
static size_t string_end(struct cf_slice line, size_t at)
{
    for (at++; at < line.size && line.data[at] != '"'; at++) {
        at += line.data[at] == '\\' ? 1 : 0;
    }
    return at < line.size ? at + 1 : line.size;
}

static bool begins_comment(struct cf_slice rest)
{
    return rest.data[0] == '#' || cf_slice_starts(rest, CF_SLICE("//"));
}

static bool is_bracket(uint8_t c, const char *which)
{
    return c != '\0' && strchr(which, c) != NULL;
}

/* One line without a here-document: blanks, brackets and the place of its "=". */
static void scan_line(struct layout *layout, struct cf_slice from, struct line *line,
                      struct cf_buf *out)
{
    int depth = 0;
    int lowest = 0;
    for (size_t at = 0; at < from.size;) {
        uint8_t c = from.data[at];
        struct cf_slice rest = cf_slice_from(from, at);
        size_t size = 1;
        if (begins_comment(rest)) {
            size = rest.size;
        } else if (cf_slice_starts(rest, CF_SLICE("/*"))) {
            const void *end = memmem(rest.data + 2, rest.size - 2, "*/", 2);
            layout->in_comment = end == NULL;
            size = end != NULL ? (size_t)((const uint8_t *)end - rest.data) + 2 : rest.size;
        } else if (c == '"') {
            size = string_end(from, at) - at;
        } else if (is_bracket(c, "{[")) {
            depth++;
        } else if (is_bracket(c, "}]")) {
            depth--;
            lowest = depth < lowest ? depth : lowest;
        }
        bool blank = isspace(c) != 0;
        bool spaced = out->size > 0 && out->data[out->size - 1] == ' ';
        if (c == '=' && line->equals == 0 && depth == 0) {
            cf_buf_add_str(out, spaced ? "" : " ");
            line->equals = out->size;
            cf_buf_add_str(out, "= ");
        } else if (!blank) {
            cf_buf_add(out, rest.data, size);
        } else if (!spaced && out->size > 0) {
            cf_buf_add_byte(out, ' ');
        }
        at += size;
    }
    line->depth = layout->depth + lowest;
    layout->depth += depth;
    line->equals = depth == 0 && lowest == 0 ? line->equals : 0;
}

/* <<EOF or <<-EOF at the end of a line. */
static struct cf_slice heredoc_of(struct cf_slice line)
{
    const uint8_t *at = memmem(line.data, line.size, "<<", 2);
    if (at == NULL) {
        return CF_SLICE_EMPTY;
    }
    struct cf_slice word = cf_slice_from(line, (size_t)(at - line.data) + 2);
    word = word.size > 0 && word.data[0] == '-' ? cf_slice_from(word, 1) : word;
    for (size_t i = 0; i < word.size; i++) {
        if (!isalnum(word.data[i]) && word.data[i] != '_') {
            return CF_SLICE_EMPTY;
        }
    }
    return word;
}

static struct cf_slice trimmed(struct cf_slice text)
{
    while (text.size > 0 && isspace(text.data[text.size - 1])) {
        text.size--;
    }
    while (text.size > 0 && isspace(text.data[0])) {
        text = cf_slice_from(text, 1);
    }
    return text;
}

static void take_line(struct layout *layout, struct cf_slice from)
{
    struct line *line = &layout->lines[layout->count];
    struct cf_slice inner = trimmed(from);
    *line = (struct line){.text = from, .depth = layout->depth, .verbatim = true};
    if (layout->heredoc.size > 0) {
        layout->heredoc = cf_slice_eq(inner, layout->heredoc) ? CF_SLICE_EMPTY : layout->heredoc;
    } else if (layout->in_comment) {
        layout->in_comment = memmem(from.data, from.size, "*/", 2) == NULL;
    } else {
        CF_BUF(out) = {0};
        line->verbatim = false;
        scan_line(layout, inner, line, &out);
        line->text = trimmed(arena_copy(layout->cli->arena, cf_buf_slice(&out)));
        layout->heredoc = heredoc_of(inner);
        bool doubled = line->text.size == 0 &&
                       (layout->count == 0 || layout->lines[layout->count - 1].text.size == 0);
        if (doubled) {
            return;
        }
    }
    layout->count++;
}

/* Where the "=" of the run of settings around `at` belongs. */
static size_t column_of(const struct layout *layout, size_t at)
{
    size_t column = 0;
    size_t first = at;
    const struct line *lines = layout->lines;
    while (first > 0 && lines[first - 1].equals > 0 && lines[first - 1].depth == lines[at].depth) {
        first--;
    }
    for (size_t i = first; i < layout->count && lines[i].equals > 0 &&
                           lines[i].depth == lines[at].depth;
         i++) {
        column = lines[i].equals > column ? lines[i].equals : column;
    }
    return column;
}

static void write_lines(const struct layout *layout, struct cf_buf *out)
{
    size_t count = layout->count;
    while (count > 0 && layout->lines[count - 1].text.size == 0) {
        count--;
    }
    for (size_t i = 0; i < count; i++) {
        const struct line *line = &layout->lines[i];
        int depth = line->verbatim || line->text.size == 0 ? 0 : line->depth;
        for (int in = 0; in < depth; in++) {
            cf_buf_add_str(out, "  ");
        }
        if (line->equals > 0) {
            cf_buf_add(out, line->text.data, line->equals);
            for (size_t pad = line->equals; pad < column_of(layout, i); pad++) {
                cf_buf_add_byte(out, ' ');
            }
            cf_buf_add_slice(out, cf_slice_from(line->text, line->equals));
        } else {
            cf_buf_add_slice(out, line->text);
        }
        cf_buf_add_byte(out, '\n');
    }
}

static void format(struct cli *cli, struct cf_slice text, struct cf_buf *out)
{
    struct layout layout = {.cli = cli};
    size_t lines = 2;
    for (size_t i = 0; i < text.size; i++) {
        lines += text.data[i] == '\n' ? 1 : 0;
    }
    layout.lines = arena_alloc(cli->arena, lines * sizeof(*layout.lines));
    while (text.size > 0) {
        struct cf_slice line = cf_slice_first(text, cf_slice_find(text, '\n'));
        text = cf_slice_from(text, line.size + 1);
        take_line(&layout, line);
    }
    write_lines(&layout, out);
}

/* Written beside and renamed: a full disk leaves the file as it was. */
static cf_status replace(struct cli *cli, const char *path, struct cf_slice text,
                         struct cf_error *err)
{
    const char *next = arena_printf(cli->arena, "%s.tmp%ld", path, (long)getpid());
    int fd = open(next, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) {
        return cf_fail(err, CF_IO, "open %s: %s", next, strerror(errno));
    }
    bool fine = write(fd, text.data, text.size) == (ssize_t)text.size && fsync(fd) == 0;
    int saved = errno;
    (void)close(fd);
    if (!fine || rename(next, path) != 0) {
        saved = fine ? errno : saved;
        (void)unlink(next);
        return cf_fail(err, CF_IO, "write %s: %s", path, strerror(saved));
    }
    return CF_OK;
}

int command_policy_fmt(struct cli *cli, char *const *argv)
{
    struct cf_slice text = CF_SLICE_EMPTY;
    struct cf_error err = {0};
    const struct hcl_value *before = NULL;
    CF_BUF(out) = {0};
    int code = cli_begin(cli, NULL, 0, argv, (struct cli_rule){0, 1, 1});
    if (code != CLI_GO) {
        return code;
    }
    const char *path = cli_arg(cli, 0);
    if (cli_read_file(cli, path, &text, &err) != CF_OK) {
        cli_error(cli, "Error reading source file: %s", err.message);
        return CLI_USAGE;
    }
    if (hcl_parse(cli->arena, text, &before, &err) != CF_OK) {
        cli_error(cli, "Failed to parse policy: %s", err.message);
        return CLI_USAGE;
    }
    if (trimmed(text).size > 0 && trimmed(text).data[0] == '{') {
        cli_error(cli, "%s is JSON, which has no layout of its own here: left as it is", path);
        return CLI_USAGE;
    }
    format(cli, text, &out);
    if (hcl_parse(cli->arena, cf_buf_slice(&out), &before, &err) != CF_OK) {
        cli_error(cli, "Error printing result: %s (the file is unchanged)", err.message);
        return CLI_USAGE;
    }
    if (strcmp(path, "-") == 0) {
        (void)fwrite(out.data, 1, out.size, cli->out);
        return CLI_FINE;
    }
    if (replace(cli, path, cf_buf_slice(&out), &err) != CF_OK) {
        cli_error(cli, "Error writing result: %s", err.message);
        return CLI_USAGE;
    }
    cli_say(cli, "Success! Formatted policy: %s", path);
    return CLI_FINE;
}

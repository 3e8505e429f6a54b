/* tools/cli/table.c: plain tables. */
#include <assert.h>
#include <stdarg.h>
#include <string.h>

#include "node/base/memory.h"
#include "tools/cli/table.h"

#define GAP 4

void table_init(struct table *table, struct arena *arena)
{
    *table = (struct table){.arena = arena};
}

void table_row(struct table *table)
{
    if (table->count == table->room) {
        size_t room = table->room == 0 ? 16 : 2 * table->room;
        struct table_row *rows = arena_alloc(table->arena, room * sizeof(*rows));
        if (table->count > 0) {
            memcpy(rows, table->rows, table->count * sizeof(*rows));
        }
        table->rows = rows;
        table->room = room;
    }
    table->rows[table->count++].count = 0;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

void table_cell(struct table *table, struct cf_slice text)
{
    assert(table->count > 0);
    struct table_row *row = &table->rows[table->count - 1];
    assert(row->count < TABLE_COLUMNS_MAX);
    while (text.size > 0 && is_space(text.data[0])) {
        text = cf_slice_from(text, 1);
    }
    while (text.size > 0 && is_space(text.data[text.size - 1])) {
        text.size--;
    }
    row->cells[row->count++] = text.size > 0 ? arena_copy(table->arena, text) : CF_SLICE("n/a");
}

static void cell_va(struct table *table, const char *fmt, va_list args)
{
    char text[1024];
    int size = vsnprintf(text, sizeof(text), fmt, args);
    size = size < 0 ? 0 : size;
    table_cell(table, cf_slice_of(text, cf_min((size_t)size, sizeof(text) - 1)));
}

void table_cellf(struct table *table, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    cell_va(table, fmt, args);
    va_end(args);
}

void table_pair(struct table *table, const char *name, struct cf_slice value)
{
    table_row(table);
    table_cell(table, cf_slice_str(name));
    table_cell(table, value);
}

void table_pairf(struct table *table, const char *name, const char *fmt, ...)
{
    va_list args;
    table_row(table);
    table_cell(table, cf_slice_str(name));
    va_start(args, fmt);
    cell_va(table, fmt, args);
    va_end(args);
}

size_t table_width(struct cf_slice text)
{
    size_t width = 0;
    for (size_t i = 0; i < text.size; i++) {
        width += (text.data[i] & 0xc0) != 0x80;
    }
    return width;
}

static void pad(FILE *out, size_t count, int with)
{
    for (size_t i = 0; i < count; i++) {
        (void)fputc(with, out);
    }
}

static void print_row(const struct table_row *row, const size_t *widths, bool dashes, FILE *out)
{
    for (size_t i = 0; i < row->count; i++) {
        size_t width = table_width(row->cells[i]);
        if (dashes) {
            pad(out, width, '-');
        } else {
            (void)fwrite(row->cells[i].data, 1, row->cells[i].size, out);
        }
        if (i + 1 < row->count) {
            pad(out, widths[i] - width + GAP, ' ');
        }
    }
    (void)fputc('\n', out);
}

void table_print(const struct table *table, bool heading, FILE *out)
{
    size_t widths[TABLE_COLUMNS_MAX] = {0};
    for (size_t i = 0; i < table->count; i++) {
        for (size_t j = 0; j < table->rows[i].count; j++) {
            widths[j] = cf_max(widths[j], table_width(table->rows[i].cells[j]));
        }
    }
    for (size_t i = 0; i < table->count; i++) {
        print_row(&table->rows[i], widths, false, out);
        if (i == 0 && heading) {
            print_row(&table->rows[0], widths, true, out);
        }
    }
}

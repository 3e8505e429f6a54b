/* tools/cli/table.h
 *
 * Plain tables: columns padded to their widest cell and four blanks apart, the last one not padded,
 * below the heading a line of dashes as wide as each heading. Thread: its owner's.
 */
#ifndef COFFER_CLI_TABLE_H
#define COFFER_CLI_TABLE_H

#include <stdio.h>

#include "node/base/arena.h"
#include "node/base/slice.h"

#define TABLE_COLUMNS_MAX 16

struct table_row {
    struct cf_slice cells[TABLE_COLUMNS_MAX];
    size_t count;
};

struct table {
    struct arena *arena;
    struct table_row *rows; /* the first is the heading */
    size_t count, room;
};

void table_init(struct table *table, struct arena *arena);
/* Begins a row; cells are added to the last row. Surrounding white space goes, as in the originals;
 * an empty cell prints as n/a. Text is copied. */
void table_row(struct table *table);
void table_cell(struct table *table, struct cf_slice text);
void table_cellf(struct table *table, const char *fmt, ...) CF_PRINTF(2, 3);
/* A row of "name", "value". */
void table_pair(struct table *table, const char *name, struct cf_slice value);
void table_pairf(struct table *table, const char *name, const char *fmt, ...) CF_PRINTF(3, 4);
/* heading: with a line of dashes below the first row. */
void table_print(const struct table *table, bool heading, FILE *out);
/* Columns that a text takes on a terminal: code points. */
size_t table_width(struct cf_slice text);

#endif

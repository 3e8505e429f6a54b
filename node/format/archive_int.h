/* node/format/archive_int.h: what reader and writer of archives share. */
#ifndef COFFER_FORMAT_ARCHIVE_INT_H
#define COFFER_FORMAT_ARCHIVE_INT_H

#define ARCHIVE_MAGIC "coffer-state\1"
#define ARCHIVE_MAGIC_SIZE ((size_t)13)
#define ARCHIVE_RECORD_HEADER ((size_t)8)

#endif

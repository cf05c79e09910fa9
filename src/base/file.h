/* Files: read-only mappings, and writing that leaves either the old or the complete new file. */
#ifndef HONE_BASE_FILE_H
#define HONE_BASE_FILE_H

#include "base/status.h"

typedef struct hone_file_map {
    const uint8_t *data; /* NULL: nothing is mapped; never NULL once opened */
    size_t n_bytes;
} hone_file_map;

/** Map a regular file for reading. The file must not be truncated while it is mapped. */
HONE_NODISCARD hone_status hone_file_map_open(const char *path, hone_file_map *out,
                                              hone_error *err);
/** Drop the pages of [data, data + n), which must lie in the mapping, from this process's memory; they
 * are read again when they are touched. */
void hone_file_map_forget(const hone_file_map *f, const void *data, size_t n);
/** [data, data + n) lies in the mapping. */
bool hone_file_map_has(const hone_file_map *f, const void *data, size_t n);
void hone_file_map_close(hone_file_map *f);

/* Writing: begin, put any number of times, then commit; or abort at any point. */
typedef struct hone_file_writer {
    int fd;
    char *path, *temporary; /* the temporary file lies beside the final one */
    uint8_t *buffer;
    size_t n_buffered;
} hone_file_writer;

HONE_NODISCARD hone_status hone_file_begin(hone_file_writer *w, const char *path, hone_error *err);
HONE_NODISCARD hone_status hone_file_put(hone_file_writer *w, const void *bytes, size_t n,
                                         hone_error *err);
/** What was put so far can be read from w->temporary afterwards. */
HONE_NODISCARD hone_status hone_file_flush(hone_file_writer *w, hone_error *err);
/** Flush to the disk and rename into place; on failure the temporary file is removed. */
HONE_NODISCARD hone_status hone_file_commit(hone_file_writer *w, hone_error *err);
/** Drop what was written. No-op after a commit. */
void hone_file_abort(hone_file_writer *w);
/** All in one. */
HONE_NODISCARD hone_status hone_file_write(const char *path, const void *bytes, size_t n,
                                           hone_error *err);

#endif

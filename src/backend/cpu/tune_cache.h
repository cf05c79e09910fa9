/* What tuning measured, kept in a file: docs/tuning.md describes it.
 *
 * The file is read whole and checked; nothing in it is trusted beyond names and numbers. It is
 * replaced, never changed in place, so that readers and other writers always see a complete one. */
#ifndef HONE_BACKEND_CPU_TUNE_CACHE_H
#define HONE_BACKEND_CPU_TUNE_CACHE_H

#include "base/arena.h"

/* A kernel's time for a problem. */
typedef struct hone_tune_time {
    const char *kernel;
    double ms;
} hone_tune_time;

typedef struct hone_tune_entry {
    struct hone_tune_entry *next;
    const char *machine; /* CPU, instruction set, version of hone */
    const char *problem;
    const hone_tune_time *times;
    int n_times;
    bool is_new; /* not in the file */
} hone_tune_entry;

typedef struct hone_tune_cache {
    hone_arena arena;
    const char *path; /* NULL: nothing is kept */
    char machine[128];
    hone_tune_entry *first, **end; /* in the file's order */
    int n_entries;
    bool has_new;
} hone_tune_cache;

/** Read the file, if there is one. `path` NULL: an empty cache without a file. A file that is
 * damaged, or of another version, counts as empty: then the reason is in `err` and the status says
 * so, but the cache may be used. */
HONE_NODISCARD hone_status hone_tune_cache_open(hone_tune_cache *c, const char *path,
                                                hone_error *err);
/** Write what is new, together with what the file holds by now. */
HONE_NODISCARD hone_status hone_tune_cache_save(hone_tune_cache *c, hone_error *err);
void hone_tune_cache_close(hone_tune_cache *c);
/** What is known of a problem on this machine; NULL: nothing. */
const hone_tune_entry *hone_tune_cache_find(const hone_tune_cache *c, const char *problem);
/** Replaces what is known. Nothing happens when memory is out. */
void hone_tune_cache_add(hone_tune_cache *c, const char *problem, const hone_tune_time *times,
                         int n);

#endif

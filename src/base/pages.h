/* Large blocks of memory that are cheap to touch for the first time.
 *
 * A fresh block costs a page fault for every 4 KiB, which for the activations of a network takes
 * longer than many of its layers. Where the system has huge pages on request (Linux,
 * madvise(2) MADV_HUGEPAGE), the whole huge pages inside the block are asked for as such; the
 * request may be refused, which costs time and nothing else. Thread-safe. */
#ifndef HONE_BASE_PAGES_H
#define HONE_BASE_PAGES_H

#include <stddef.h>

/** Zeroed memory straight from the system, which goes back to it when it is unmapped: what free() gets
 * may stay with the process. NULL when there is none. */
void *hone_pages_map(size_t bytes);
/** `bytes` as it was mapped. */
void hone_pages_unmap(void *p, size_t bytes);

/** Uninitialised memory at a multiple of 64 bytes; NULL when there is none. bytes may be 0.
 * Freed with free(). */
void *hone_pages_alloc(size_t bytes);

#endif

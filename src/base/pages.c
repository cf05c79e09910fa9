#include "base/pages.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { LINE_BYTES = 64, HUGE_BYTES = 2 << 20 };

void *hone_pages_map(size_t bytes) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
#ifdef MADV_HUGEPAGE
    if (bytes >= HUGE_BYTES)
        (void)madvise(p, bytes, MADV_HUGEPAGE);
#endif
    return p;
}

void hone_pages_unmap(void *p, size_t bytes) {
    (void)munmap(p, bytes);
}

void *hone_pages_alloc(size_t bytes) {
    if (bytes > SIZE_MAX / 2)
        return NULL;
    size_t align = bytes >= HUGE_BYTES ? HUGE_BYTES : LINE_BYTES;
    size_t padded = (bytes + LINE_BYTES) / LINE_BYTES * LINE_BYTES;
    void *p = aligned_alloc(align, (padded + align - 1) / align * align);
#ifdef MADV_HUGEPAGE
    /* The last page counts when the block fills half of it: what is left of it is resident for
     * nothing. */
    if (p && bytes >= HUGE_BYTES)
        (void)madvise(p, (padded + HUGE_BYTES / 2) / HUGE_BYTES * HUGE_BYTES, MADV_HUGEPAGE);
#endif
    return p;
}

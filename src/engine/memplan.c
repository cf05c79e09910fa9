#include "engine/memplan.h"

#include <stdlib.h>

enum { ALIGN = 64 };

static int by_size(const void *a, const void *b) {
    const hone_mem_block *x = *(hone_mem_block *const *)a, *y = *(hone_mem_block *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return x < y ? -1 : x > y; /* deterministic */
}

/* Insert into the list of placed blocks, which is ordered by offset. */
static void insert_placed(hone_mem_block **placed, int n, hone_mem_block *b) {
    int at = n;
    while (at > 0 && placed[at - 1]->offset > b->offset) {
        placed[at] = placed[at - 1];
        --at;
    }
    placed[at] = b;
}

/* Lowest offset at which b fits between the placed blocks that live at the same time. */
static size_t first_fit(const hone_mem_block *b, hone_mem_block *const *placed, int n) {
    size_t at = 0;
    for (int k = 0; k < n; ++k) {
        const hone_mem_block *p = placed[k];
        if (p->last < b->first || p->first > b->last)
            continue;
        if (p->offset >= at && p->offset - at >= b->bytes)
            break;
        size_t end = (p->offset + p->bytes + ALIGN - 1) / ALIGN * ALIGN;
        if (end > at)
            at = end;
    }
    return at;
}

hone_status hone_memplan(hone_mem_block *blocks, int n, hone_arena *scratch, size_t *total) {
    hone_mem_block **order = HONE_NEW_ARRAY(scratch, hone_mem_block *, n);
    hone_mem_block **placed = HONE_NEW_ARRAY(scratch, hone_mem_block *, n);
    *total = 0;
    if (!order || !placed)
        return HONE_E_NOMEM;
    for (int i = 0; i < n; ++i)
        order[i] = &blocks[i];
    if (n)
        qsort(order, (size_t)n, sizeof *order, by_size);
    for (int i = 0; i < n; ++i) {
        hone_mem_block *b = order[i];
        b->offset = first_fit(b, placed, i);
        size_t end;
        if (!hone_add_size(b->offset, b->bytes, &end) || end > SIZE_MAX / 2)
            return HONE_E_NOMEM;
        if (end > *total)
            *total = end;
        insert_placed(placed, i, b);
    }
    return HONE_OK;
}

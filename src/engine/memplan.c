#include "engine/memplan.h"

#include <stdlib.h>

enum { ALIGN = 64 };

typedef hone_mem_block *const *block_ref; /* what qsort hands to a comparison */

/* Equal blocks keep the order of the list: the result must not depend on the sort. */
static int by_place(const hone_mem_block *x, const hone_mem_block *y) {
    return x < y ? -1 : x > y;
}

static int by_size(const void *a, const void *b) {
    const hone_mem_block *x = *(block_ref)a, *y = *(block_ref)b;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return by_place(x, y);
}

static int by_start(const void *a, const void *b) {
    const hone_mem_block *x = *(block_ref)a, *y = *(block_ref)b;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    return by_size(a, b);
}

static int by_life(const void *a, const void *b) {
    const hone_mem_block *x = *(block_ref)a, *y = *(block_ref)b;
    int life_x = x->last - x->first, life_y = y->last - y->first;
    if (life_x != life_y)
        return life_x > life_y ? -1 : 1;
    return by_size(a, b);
}

static int (*const orders[])(const void *, const void *) = {by_size, by_life, by_start};
enum { N_ORDERS = sizeof orders / sizeof orders[0] };

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

/* Place all blocks in the order given; SIZE_MAX: too large for this machine. */
static size_t place_all(hone_mem_block *const *order, int n, hone_mem_block **placed) {
    size_t total = 0;
    for (int i = 0; i < n; ++i) {
        hone_mem_block *b = order[i];
        b->offset = first_fit(b, placed, i);
        size_t end;
        if (!hone_add_size(b->offset, b->bytes, &end) || end > SIZE_MAX / 2)
            return SIZE_MAX;
        if (end > total)
            total = end;
        insert_placed(placed, i, b);
    }
    return total;
}

hone_status hone_memplan(hone_mem_block *blocks, int n, hone_arena *scratch, size_t *total) {
    hone_mem_block **order = HONE_NEW_ARRAY(scratch, hone_mem_block *, n);
    hone_mem_block **placed = HONE_NEW_ARRAY(scratch, hone_mem_block *, n);
    size_t *best = HONE_NEW_ARRAY(scratch, size_t, n);
    *total = n ? SIZE_MAX : 0;
    if (!order || !placed || !best)
        return HONE_E_NOMEM;
    for (int k = 0; k < N_ORDERS && n; ++k) {
        for (int i = 0; i < n; ++i)
            order[i] = &blocks[i];
        qsort(order, (size_t)n, sizeof *order, orders[k]);
        size_t bytes = place_all(order, n, placed);
        if (bytes >= *total)
            continue;
        *total = bytes;
        for (int i = 0; i < n; ++i)
            best[i] = blocks[i].offset;
    }
    for (int i = 0; i < n; ++i)
        blocks[i].offset = best[i];
    return *total == SIZE_MAX ? HONE_E_NOMEM : HONE_OK;
}

/* Comparisons of a check, for each block: a search of one's own costs about as much. */
enum { CHECKS_EACH = 256 };

/* No two that live at the same time overlap, and they fill the arena. Blocks come by rising first
 * step, as the planner lists them. */
static bool is_placement(const hone_mem_layout *layout) {
    const hone_mem_block *b = layout->blocks;
    int64_t budget = (int64_t)CHECKS_EACH * layout->n;
    size_t total = 0;
    for (int i = 0; i < layout->n; ++i) {
        size_t end = b[i].offset + b[i].bytes;
        total = end > total ? end : total;
        for (int k = i + 1; k < layout->n && b[k].first <= b[i].last; ++k) {
            if (--budget < 0 || (b[k].offset < end && b[i].offset < b[k].offset + b[k].bytes))
                return false;
        }
    }
    return total == layout->total_bytes;
}

bool hone_memplan_reuse(const hone_mem_layout *layout, hone_mem_block *blocks, int n,
                        size_t *total) {
    if (layout->n != n)
        return false;
    for (int i = 0; i < n; ++i) {
        const hone_mem_block *b = &layout->blocks[i];
        if (b->bytes != blocks[i].bytes || b->first != blocks[i].first || b->last != blocks[i].last)
            return false;
    }
    if (!is_placement(layout))
        return false;
    for (int i = 0; i < n; ++i)
        blocks[i].offset = layout->blocks[i].offset;
    *total = layout->total_bytes;
    return true;
}

bool hone_mem_layout_is_safe(const hone_mem_layout *layout) {
    for (int i = 0; i < layout->n; ++i) {
        const hone_mem_block *b = &layout->blocks[i];
        if (b->offset % ALIGN || b->offset > layout->total_bytes ||
            b->bytes > layout->total_bytes - b->offset)
            return false;
    }
    return true;
}

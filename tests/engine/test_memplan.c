/* Placements of random buffers: nothing that lives at the same time overlaps, the arena is no
 * larger than what is needed by much, and a placement is taken over only for the same buffers. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "engine/memplan.h"

enum { MAX_BLOCKS = 120 };

static uint32_t state = 1;

static uint32_t next(uint32_t below) {
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % below;
}

static int make_blocks(hone_mem_block *blocks) {
    int n = (int)next(MAX_BLOCKS);
    for (int i = 0; i < n; ++i) {
        int first = (int)next(100);
        blocks[i] = (hone_mem_block){
            .bytes = next(8) ? next(100000) : 0, .first = first, .last = first + (int)next(10)};
    }
    return n;
}

/* The bytes alive at the worst step: no placement needs less. */
static size_t lower_bound(const hone_mem_block *blocks, int n) {
    size_t most = 0;
    for (int s = 0; s < 110; ++s) {
        size_t alive = 0;
        for (int i = 0; i < n; ++i)
            alive += blocks[i].first <= s && blocks[i].last >= s ? blocks[i].bytes : 0;
        most = alive > most ? alive : most;
    }
    return most;
}

static void check_apart(const hone_mem_block *blocks, int n) {
    for (int i = 0; i < n; ++i) {
        for (int k = 0; k < i; ++k) {
            const hone_mem_block *x = &blocks[i], *y = &blocks[k];
            if (x->first > y->last || y->first > x->last || !x->bytes || !y->bytes)
                continue;
            CHECK(x->offset + x->bytes <= y->offset || y->offset + y->bytes <= x->offset);
        }
    }
}

static int by_first(const void *a, const void *b) {
    return ((const hone_mem_block *)a)->first - ((const hone_mem_block *)b)->first;
}

static void check_one(hone_arena *arena) {
    hone_mem_block blocks[MAX_BLOCKS], again[MAX_BLOCKS];
    int n = make_blocks(blocks);
    qsort(blocks, (size_t)n, sizeof *blocks, by_first); /* as the planner lists them */
    for (int i = 0; i < n; ++i)
        again[i] = blocks[i];
    size_t total, least = lower_bound(blocks, n), reused;
    CHECK(hone_memplan(blocks, n, arena, &total) == HONE_OK);
    check_apart(blocks, n);
    CHECK(total >= least && total <= least + least / 2 + 64 * (size_t)n);
    hone_mem_layout layout = {.blocks = blocks, .n = n, .total_bytes = total};
    CHECK(hone_mem_layout_is_safe(&layout));
    CHECK(hone_memplan_reuse(&layout, again, n, &reused) && reused == total);
    for (int i = 0; i < n; ++i)
        CHECK(again[i].offset == blocks[i].offset);
    if (n == 0)
        return;
    int k = (int)next((uint32_t)n);
    again[k].bytes += 1;
    CHECK(!hone_memplan_reuse(&layout, again, n, &reused));
    CHECK(!hone_memplan_reuse(&layout, again, n - 1, &reused));
    blocks[k].offset = total + 64 - total % 64;
    CHECK(!hone_mem_layout_is_safe(&layout));
}

/* Layouts from damaged files: what lives together must lie apart, in an arena of its size. */
static void check_damaged(void) {
    hone_mem_block at[] = {{64, 0, 1, 0}, {64, 1, 2, 64}, {64, 2, 3, 0}}, blocks[3];
    hone_mem_layout layout = {.blocks = at, .n = 3, .total_bytes = 128};
    size_t total;
    memcpy(blocks, at, sizeof at);
    CHECK(hone_memplan_reuse(&layout, blocks, 3, &total) && total == 128);
    layout.total_bytes = 1 << 30;
    CHECK(!hone_memplan_reuse(&layout, blocks, 3, &total));
    layout.total_bytes = 128;
    at[1].offset = 0;
    at[2].offset = 64;
    CHECK(!hone_memplan_reuse(&layout, blocks, 3, &total));
    layout.n = 0;
    CHECK(!hone_memplan_reuse(&layout, blocks, 0, &total));
}

int main(void) {
    hone_arena arena;
    check_damaged();
    hone_arena_init(&arena, 0);
    for (int i = 0; i < 500; ++i) {
        check_one(&arena);
        hone_arena_reset(&arena);
    }
    hone_arena_deinit(&arena);
    return CHECK_RESULT();
}

/* Bump allocator: objects that live and die together (a graph, a pass, an import).
 * Not thread-safe. Memory is zeroed and 16-byte aligned. */
#ifndef HONE_BASE_ARENA_H
#define HONE_BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

#include "base/status.h"

typedef struct hone_arena_block hone_arena_block;
typedef struct hone_arena {
    hone_arena_block *head;
    size_t used_bytes;  /* sum of what was handed out */
    size_t limit_bytes; /* 0: no limit; else an allocation beyond it returns NULL */
    struct hone_arena_deferred *deferred;
} hone_arena;

void hone_arena_init(hone_arena *a, size_t limit_bytes);
/** Frees everything; the arena may be used again afterwards. */
void hone_arena_deinit(hone_arena *a);
/** Forget what was handed out but keep the newest (largest) block for reuse. */
void hone_arena_reset(hone_arena *a);
/** Zeroed memory, or NULL when out of memory or over the limit. bytes may be 0. */
void *hone_arena_alloc(hone_arena *a, size_t bytes);
/** n * size with an overflow check. */
void *hone_arena_array(hone_arena *a, size_t n, size_t size);
/** Copies; the result is NUL-terminated. */
char *hone_arena_strdup(hone_arena *a, const char *s, size_t len);
/** Call fn(arg) when the arena is freed (newest first). False when out of memory: not registered. */
bool hone_arena_defer(hone_arena *a, void (*fn)(void *), void *arg);
char *hone_arena_printf(hone_arena *a, const char *format, ...) HONE_PRINTF(2, 3);

#define HONE_NEW(arena, type) ((type *)hone_arena_alloc((arena), sizeof(type)))
#define HONE_NEW_ARRAY(arena, type, n)                                                             \
    ((type *)hone_arena_array((arena), (size_t)(n), sizeof(type)))

/** Append to an arena-backed vector `ptr` with count `n` and capacity `cap`; false when out of
 * memory. The old storage stays in the arena (amortised cost: twice the final size). */
#define HONE_PUSH(arena, ptr, n, cap, item)                                                        \
    (hone_arena_grow((arena), (void **)&(ptr), &(cap), (n), sizeof *(ptr)) &&                      \
     ((ptr)[(n)++] = (item), true))
bool hone_arena_grow(hone_arena *a, void **ptr, int *cap, int n, size_t size);

#endif

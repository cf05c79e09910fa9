/* Bump allocator over a chain of blocks that grow with use. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 16, FIRST_BLOCK = 4096, LARGEST_BLOCK = 1 << 20 };

struct hone_arena_block {
    hone_arena_block *next;
    size_t size, used;
    _Alignas(16) unsigned char data[];
};

void hone_arena_init(hone_arena *a, size_t limit_bytes) {
    a->head = NULL;
    a->used_bytes = 0;
    a->limit_bytes = limit_bytes;
    a->deferred = NULL;
}

struct hone_arena_deferred {
    struct hone_arena_deferred *next;
    void (*fn)(void *);
    void *arg;
};

bool hone_arena_defer(hone_arena *a, void (*fn)(void *), void *arg) {
    struct hone_arena_deferred *d = HONE_NEW(a, struct hone_arena_deferred);
    if (!d)
        return false;
    *d = (struct hone_arena_deferred){a->deferred, fn, arg};
    a->deferred = d;
    return true;
}

void hone_arena_deinit(hone_arena *a) {
    for (struct hone_arena_deferred *d = a->deferred; d; d = d->next)
        d->fn(d->arg);
    a->deferred = NULL;
    for (hone_arena_block *b = a->head; b;) {
        hone_arena_block *next = b->next;
        free(b);
        b = next;
    }
    a->head = NULL;
    a->used_bytes = 0;
}

void hone_arena_reset(hone_arena *a) {
    hone_arena_block *keep = a->head;
    if (!keep)
        return;
    a->head = keep->next;
    hone_arena_deinit(a);
    keep->next = NULL;
    keep->used = 0;
    a->head = keep;
}

static hone_arena_block *add_block(hone_arena *a, size_t bytes) {
    size_t size = a->head ? a->head->size * 2 : FIRST_BLOCK;
    if (size > LARGEST_BLOCK)
        size = LARGEST_BLOCK;
    if (size < bytes)
        size = bytes;
    if (size > SIZE_MAX - sizeof(hone_arena_block))
        return NULL;
    hone_arena_block *b = malloc(sizeof *b + size);
    if (!b)
        return NULL;
    b->size = size;
    b->used = 0;
    b->next = a->head;
    a->head = b;
    return b;
}

void *hone_arena_alloc(hone_arena *a, size_t bytes) {
    if (bytes > SIZE_MAX - ALIGN)
        return NULL;
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    if (bytes == 0)
        bytes = ALIGN;
    if (a->limit_bytes &&
        (a->used_bytes > a->limit_bytes || bytes > a->limit_bytes - a->used_bytes))
        return NULL;
    hone_arena_block *b = a->head;
    if (!b || b->size - b->used < bytes)
        b = add_block(a, bytes);
    if (!b)
        return NULL;
    void *p = b->data + b->used;
    b->used += bytes;
    a->used_bytes += bytes;
    return memset(p, 0, bytes);
}

void *hone_arena_array(hone_arena *a, size_t n, size_t size) {
    size_t bytes;
    return hone_mul_size(n, size, &bytes) ? hone_arena_alloc(a, bytes) : NULL;
}

char *hone_arena_strdup(hone_arena *a, const char *s, size_t len) {
    if (len == SIZE_MAX)
        return NULL;
    char *copy = hone_arena_alloc(a, len + 1);
    if (copy && len)
        memcpy(copy, s, len);
    return copy;
}

char *hone_arena_printf(hone_arena *a, const char *format, ...) {
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = len < 0 ? NULL : hone_arena_alloc(a, (size_t)len + 1);
    if (text)
        vsnprintf(text, (size_t)len + 1, format, again);
    va_end(again);
    return text;
}

bool hone_arena_grow(hone_arena *a, void **ptr, int *cap, int n, size_t size) {
    if (n < *cap)
        return true;
    if (*cap > (1 << 29))
        return false;
    int larger = *cap ? *cap * 2 : 8;
    void *copy = hone_arena_array(a, (size_t)larger, size);
    if (!copy)
        return false;
    if (n)
        memcpy(copy, *ptr, (size_t)n * size);
    *ptr = copy;
    *cap = larger;
    return true;
}

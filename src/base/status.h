/* Status and error helpers used everywhere below the public API. */
#ifndef HONE_BASE_STATUS_H
#define HONE_BASE_STATUS_H

#include "hone/hone.h"

#if defined(__GNUC__)
#define HONE_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define HONE_PRINTF(f, a)
#endif

/** Forward a failure to the caller. */
#define HONE_TRY(expr)                                                                             \
    do {                                                                                           \
        hone_status try_status_ = (expr);                                                          \
        if (try_status_ != HONE_OK)                                                                \
            return try_status_;                                                                    \
    } while (0)

/** Fill `err` (may be NULL; an earlier message is replaced) and return `code`. */
hone_status hone_fail(hone_error *err, hone_status code, const char *format, ...) HONE_PRINTF(3, 4);
/** As hone_fail, with the byte offset of a parsed file. */
hone_status hone_fail_at(hone_error *err, int64_t offset, hone_status code, const char *format, ...)
    HONE_PRINTF(4, 5);
/** Name the node of an error that has none yet. Returns `code` for chaining. */
hone_status hone_fail_node(hone_error *err, hone_status code, const char *node, const char *op);

/** Multiply sizes; false on overflow. */
static inline bool hone_mul_size(size_t a, size_t b, size_t *out) {
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool hone_add_size(size_t a, size_t b, size_t *out) {
    return !__builtin_add_overflow(a, b, out);
}

#endif

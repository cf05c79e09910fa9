#include "tflite/flex_read.h"

#include <string.h>

enum { INT = 1, UINT = 2, FLOAT = 3, MAP = 9, BOOL = 26 };

/* Bytes data[at, at + width) are there. */
static bool fits(size_t n, size_t at, size_t width) {
    return at <= n && width <= n - at;
}

static uint64_t load(const uint8_t *p, size_t width) {
    uint64_t v = 0;
    for (size_t i = width; i-- > 0;)
        v = v << 8 | p[i];
    return v;
}

/* Where the offset at `at` leads: back from there. */
static bool follow(const uint8_t *data, size_t n, size_t at, size_t width, size_t *to) {
    if (!fits(n, at, width))
        return false;
    uint64_t back = load(data + at, width);
    *to = at - (size_t)back;
    return back <= at;
}

static bool is_width(uint64_t width) {
    return width == 1 || width == 2 || width == 4 || width == 8;
}

static bool number(const uint8_t *p, size_t width, int type, double *out) {
    uint64_t v = load(p, width);
    if (type == UINT || type == BOOL) {
        *out = (double)v;
    } else if (type == INT) {
        int shift = 64 - 8 * (int)width;
        *out = (double)((int64_t)(v << shift) >> shift);
    } else if (type == FLOAT && width == 4) {
        float f;
        memcpy(&f, p, sizeof f);
        *out = (double)f;
    } else if (type == FLOAT && width == 8) {
        memcpy(out, p, sizeof *out);
    } else {
        return false;
    }
    return true;
}

/* A map: before its values stand the offset of the keys, their width, the count; behind them the
 * types. */
static bool find(const uint8_t *data, size_t n, size_t map, size_t width, const char *key,
                 double *out) {
    size_t keys, len = strlen(key) + 1;
    if (map < 3 * width || !follow(data, n, map - 3 * width, width, &keys) ||
        !fits(n, map - 2 * width, 2 * width))
        return false;
    uint64_t key_width = load(data + map - 2 * width, width),
             count = load(data + map - width, width);
    if (!is_width(key_width) || count > n / (width + 1) ||
        !fits(n, map, (size_t)count * (width + 1)) ||
        !fits(n, keys, (size_t)count * (size_t)key_width))
        return false;
    for (size_t i = 0; i < count; ++i) {
        size_t name;
        if (!follow(data, n, keys + i * (size_t)key_width, (size_t)key_width, &name))
            return false;
        if (fits(n, name, len) && memcmp(data + name, key, len) == 0)
            return number(data + map + i * width, width, data[map + (size_t)count * width + i] >> 2,
                          out);
    }
    return false;
}

bool tfr_flex_number(const uint8_t *data, size_t n, const char *key, double *out) {
    if (n < 3)
        return false;
    size_t width = data[n - 1], map;
    int type = data[n - 2] >> 2;
    size_t map_width = (size_t)1 << (data[n - 2] & 3);
    if (!is_width(width) || n < 2 + width || type != MAP ||
        !follow(data, n - 2, n - 2 - width, width, &map))
        return false;
    return find(data, n, map, map_width, key, out);
}

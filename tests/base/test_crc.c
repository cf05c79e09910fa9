/* CRC-32: the check value of its definition, and the same for any division into parts. */
#include <stdlib.h>

#include "base/inflate.h"
#include "check.h"

int main(void) {
    enum { N = 40000 };
    static uint8_t bytes[N];
    for (int i = 0; i < N; ++i)
        bytes[i] = (uint8_t)((unsigned)i * 2654435761u >> 13);
    CHECK(hone_crc32(0, "123456789", 9) == 0xcbf43926);
    CHECK(hone_crc32(0, NULL, 0) == 0);
    static const int sizes[] = {0, 1, 7, 8191, 8192, 8193, 9999, 32768, 39999, N};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; ++s) {
        int n = sizes[s];
        uint32_t whole = hone_crc32(0, bytes, (size_t)n), parts = 0;
        for (int at = 0; at < n; at += 100)
            parts = hone_crc32(parts, bytes + at, (size_t)(n - at < 100 ? n - at : 100));
        CHECK(whole == parts);
        CHECK(hone_crc32(hone_crc32(0, bytes, (size_t)n / 3), bytes + n / 3, (size_t)(n - n / 3)) ==
              whole);
    }
    return CHECK_RESULT();
}

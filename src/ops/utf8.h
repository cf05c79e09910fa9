/* UTF-8 and simple case mapping (one character to one, no locale). */
#ifndef HONE_OPS_UTF8_H
#define HONE_OPS_UTF8_H

#include <stddef.h>
#include <stdint.h>

/** The character at p[0 .. len), len > 0; *size gets its bytes. -1 (and size 1) for a byte that is
 * not valid UTF-8. */
int32_t hone_utf8_decode(const char *p, size_t len, size_t *size);
/** Bytes written to out: 1 to 4. */
size_t hone_utf8_encode(int32_t ch, char out[4]);
int32_t hone_char_lower(int32_t ch);
int32_t hone_char_upper(int32_t ch);

#endif

/* Deflate decompression (RFC 1951) and the CRC-32 of zip and gzip. */
#ifndef HONE_BASE_INFLATE_H
#define HONE_BASE_INFLATE_H

#include "base/status.h"

/** Decompress exactly n_out bytes; more, fewer or malformed input is HONE_E_FORMAT. */
HONE_NODISCARD hone_status hone_inflate(const uint8_t *in, size_t n_in, uint8_t *out, size_t n_out,
                                        hone_error *err);
uint32_t hone_crc32(uint32_t crc, const void *bytes, size_t n);

#endif

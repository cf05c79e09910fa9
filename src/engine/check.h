/* Everything wrong with a model file, all at once. */
#ifndef HONE_ENGINE_CHECK_H
#define HONE_ENGINE_CHECK_H

#include "ir/findings.h"

/** Check an ONNX or TensorFlow Lite file, or the structure and checksums of an engine file. HONE_OK when the check could be made, whatever it found; the findings go
 * with hone_findings_free in any case. */
HONE_NODISCARD hone_status hone_check_file(const char *path, hone_findings *out, hone_error *err);

/** For the check: names in the file that nothing defines or that are defined twice (check_names.c). */
void hone_check_names(const uint8_t *bytes, size_t n, hone_findings *f);

#endif

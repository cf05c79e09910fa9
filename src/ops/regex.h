/* Regular expressions with RE2's syntax, matched in time linear in the text: K. Thompson, "Regular
 * Expression Search Algorithm", CACM 11(6) (1968), with the set of states kept explicitly.
 *
 * Supported: literals, ., classes (also \d \w \s and [:alpha:]), |, groups (named ones too), * + ?
 * {m,n} and their lazy forms, ^ $ \A \z \b \B, \Q...\E, flags (?ims). Not supported: \p{...}, \C.
 * There are no captures: the question is only whether all of a text matches. */
#ifndef HONE_OPS_REGEX_H
#define HONE_OPS_REGEX_H

#include "base/status.h"

typedef struct hone_regex hone_regex;

/** Memory comes from alloc(arg, bytes) (NULL: none left) and is not given back. On failure *why
 * says what is wrong with the pattern. */
HONE_NODISCARD hone_status hone_regex_compile(hone_string pattern,
                                              void *(*alloc)(void *arg, size_t bytes), void *arg,
                                              hone_regex **out, const char **why);
/** Text that is not valid UTF-8 never matches. Uses room in `re`: one caller at a time. */
bool hone_regex_full_match(hone_regex *re, hone_string text);

#endif

/* The regular expressions of RegexFullMatch and the UTF-8 helpers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/regex.h"
#include "ops/utf8.h"

/* Memory of one pattern; freed by the caller of release(). */
typedef struct pool {
    void *block[256];
    int n;
} pool;

static void *take(void *arg, size_t bytes) {
    pool *p = arg;
    if (p->n == 256)
        return NULL;
    return p->block[p->n++] = malloc(bytes ? bytes : 1);
}

static void release(pool *p) {
    for (int i = 0; i < p->n; ++i)
        free(p->block[i]);
    p->n = 0;
}

static const struct {
    const char *pattern, *text;
    bool matches;
} cases[] = {
    {"", "", true},
    {"", "a", false},
    {"a*b+?c?", "aabb", true},
    {"(ab|cd){2,3}", "abcdab", true},
    {"(ab|cd){2,3}", "ab", false},
    {"(a*)*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", false}, /* linear time */
    {"(a?){30}a{30}", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", true},
    {"[^a-c\\d]+", "xyz", true},
    {"[^a-c\\d]+", "xy1", false},
    {"[[:^alpha:]]+", "12 ", true},
    {"(?i)\xc3\x89t\xc3\xa9", "\xc3\xa9T\xc3\x89", true},
    {"a.c", "a\nc", false},
    {"(?s)a.c", "a\nc", true},
    {"(?m)a$\\n^b", "a\nb", true},
    {"\\Qa.b\\E+", "a.bb", true},
    {"a{,2}", "a{,2}", true},
    {"\\x{4e2d}", "\xe4\xb8\xad", true},
    {".", "\xff", false},
};

static const char *const bad_patterns[] = {
    "(",      ")",         "[a",      "a**",    "*a",
    "\\p{L}", "\\1",       "a{1001}", "[b-a]",  "(?z)a",
    "\\",     "[[:foo:]]", "\xff",    "a{3,2}", "((a{1000}){1000}){1000}"};

static int check_matches(void) {
    int failed = 0;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
        pool p = {0};
        hone_regex *re = NULL;
        const char *why = NULL;
        hone_string pattern = {cases[i].pattern, strlen(cases[i].pattern)};
        hone_string text = {cases[i].text, strlen(cases[i].text)};
        bool ok = hone_regex_compile(pattern, take, &p, &re, &why) == HONE_OK &&
                  hone_regex_full_match(re, text) == cases[i].matches;
        if (!ok)
            printf("FAIL %s on %s\n", cases[i].pattern, cases[i].text);
        failed += !ok;
        release(&p);
    }
    return failed;
}

static int check_refusals(void) {
    int failed = 0;
    for (size_t i = 0; i < sizeof bad_patterns / sizeof bad_patterns[0]; ++i) {
        pool p = {0};
        hone_regex *re = NULL;
        const char *why = NULL;
        hone_string pattern = {bad_patterns[i], strlen(bad_patterns[i])};
        if (hone_regex_compile(pattern, take, &p, &re, &why) == HONE_OK || !why) {
            printf("FAIL %s was accepted\n", bad_patterns[i]);
            failed++;
        }
        release(&p);
    }
    return failed;
}

static int check_utf8(void) {
    int failed = 0;
    for (int32_t ch = 0; ch <= 0x10FFFF; ++ch) {
        if (ch == 0xD800)
            ch = 0xE000;
        char text[4];
        size_t size, n = hone_utf8_encode(ch, text);
        failed += hone_utf8_decode(text, n, &size) != ch || size != n;
        failed += n > 1 && hone_utf8_decode(text, n - 1, &size) != -1;
    }
    failed += hone_char_lower(0x416) != 0x436 || hone_char_upper(0xFF) != 0x178;
    if (failed)
        printf("FAIL utf8\n");
    return failed;
}

int main(void) {
    return check_matches() + check_refusals() + check_utf8() ? EXIT_FAILURE : EXIT_SUCCESS;
}

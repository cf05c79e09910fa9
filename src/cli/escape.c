/* Text of unknown origin, made harmless for terminals: names in a model are anybody's. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

int cli_utf8(const char *s, uint32_t *code) {
    const unsigned char *b = (const unsigned char *)s;
    static const struct {
        unsigned char mask, lead;
        uint32_t least; /* shorter forms are invalid */
    } forms[] = {{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    for (int n = 0; n < 4; ++n) {
        if ((b[0] & forms[n].mask) != forms[n].lead)
            continue;
        uint32_t c = b[0] & (unsigned char)~forms[n].mask;
        for (int i = 1; i <= n; ++i) {
            if ((b[i] & 0xc0) != 0x80) /* the terminator, too */
                return 0;
            c = c << 6 | (b[i] & 0x3f);
        }
        bool is_surrogate = c >= 0xd800 && c < 0xe000;
        *code = c;
        return c < forms[n].least || c > 0x10ffff || is_surrogate ? 0 : n + 1;
    }
    return 0;
}

bool cli_is_harmless(uint32_t c) {
    bool is_control = c < 0x20 || (c >= 0x7f && c < 0xa0);
    /* Marks that reorder or break what follows: Unicode Standard Annex 9, and line separators. */
    bool is_mark = c == 0x061c || (c >= 0x200e && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
                   (c >= 0x2066 && c <= 0x2069);
    return !is_control && !is_mark;
}

char *cli_escape(const char *s) {
    enum { LONGEST = 9 }; /* \u{2028}, and the terminator */
    char *out = malloc(strlen(s) * LONGEST + 1), *at = out;
    while (out && *s) {
        uint32_t code;
        int n = cli_utf8(s, &code);
        if (n > 0 && cli_is_harmless(code)) {
            memcpy(at, s, (size_t)n);
            at += n;
        } else if (n > 0 && code > 0xff) {
            at += sprintf(at, "\\u{%x}", (unsigned)code);
        } else {
            at += sprintf(at, "\\x%02x", (unsigned)(n > 0 ? code : (unsigned char)*s));
        }
        s += n > 0 ? n : 1;
    }
    if (out)
        *at = '\0';
    return out;
}

void cli_say_list(FILE *to, const char *format, va_list args) {
    char *text = NULL;
    if (vasprintf(&text, format, args) < 0)
        return;
    size_t n = strlen(text), end = n;
    while (end > 0 && text[end - 1] == '\n')
        --end;
    text[end] = '\0';
    char *safe = cli_escape(text);
    fputs(safe ? safe : "", to);
    for (size_t i = end; i < n; ++i)
        putc('\n', to);
    free(safe);
    free(text);
}

void cli_say(FILE *to, const char *format, ...) {
    va_list args;
    va_start(args, format);
    cli_say_list(to, format, args);
    va_end(args);
}

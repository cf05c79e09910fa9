#include "ops/regex.h"

#include <string.h>

#include "ops/utf8.h"

enum {
    MAX_PROGRAM = 1 << 16, /* instructions; RE2 has a like limit */
    MAX_DEPTH = 200,       /* nested groups */
    MAX_REPEAT = 1000,     /* {m,n}, as RE2 */
    LAST_CHAR = 0x10FFFF,
};

typedef enum op_code {
    OP_SET,   /* a character of set x */
    OP_SPLIT, /* go on at +x and at +y */
    OP_JUMP,  /* go on at +x */
    OP_TEXT_START,
    OP_TEXT_END,
    OP_LINE_START,
    OP_LINE_END,
    OP_WORD_EDGE,
    OP_NO_WORD_EDGE,
    OP_MATCH,
} op_code;

/* Targets are relative, so that code can be moved and repeated. */
typedef struct instr {
    op_code op;
    int32_t x, y;
} instr;

typedef struct char_range {
    int32_t first, last;
} char_range;

typedef struct char_set {
    int32_t first, n; /* ranges */
    bool is_negated, folds;
} char_set;

struct hone_regex {
    instr *code;
    int32_t n, cap;
    char_set *sets;
    int32_t n_sets;
    char_range *ranges;
    int32_t n_ranges;
    /* Room of the matcher: two lists of states, a stack, and who is on the list. */
    int32_t *now, *next, *stack;
    uint32_t *mark;
    uint32_t generation;
};

typedef struct parser {
    hone_regex *re;
    const char *at, *end;
    bool folds, dot_all, multi_line;
    int depth;
    void *(*alloc)(void *arg, size_t bytes);
    void *arg;
    hone_status status;
    const char *why;
} parser;

static bool fail(parser *p, hone_status status, const char *why) {
    if (p->status == HONE_OK) {
        p->status = status;
        p->why = why;
    }
    return false;
}

static bool bad(parser *p, const char *why) {
    return fail(p, HONE_E_FORMAT, why);
}

/* ---- emitting ---------------------------------------------------------------------------------
 */

static bool reserve(parser *p, int32_t more) {
    hone_regex *re = p->re;
    if (more > MAX_PROGRAM - re->n)
        return fail(p, HONE_E_UNSUPPORTED, "it is too large");
    if (re->n + more <= re->cap)
        return true;
    int32_t cap = re->cap * 2 > re->n + more ? re->cap * 2 : re->n + more;
    instr *code = p->alloc(p->arg, (size_t)cap * sizeof *code);
    if (!code)
        return fail(p, HONE_E_NOMEM, "no memory");
    if (re->n)
        memcpy(code, re->code, (size_t)re->n * sizeof *code);
    re->code = code;
    re->cap = cap;
    return true;
}

static bool emit(parser *p, op_code op, int32_t x, int32_t y) {
    if (!reserve(p, 1))
        return false;
    p->re->code[p->re->n++] = (instr){op, x, y};
    return true;
}

/* Put an instruction in front of the code from `start` on. */
static bool insert(parser *p, int32_t start, op_code op, int32_t x, int32_t y) {
    if (!reserve(p, 1))
        return false;
    instr *at = p->re->code + start;
    memmove(at + 1, at, (size_t)(p->re->n - start) * sizeof *at);
    *at = (instr){op, x, y};
    p->re->n++;
    return true;
}

static bool copy_code(parser *p, const instr *from, int32_t n) {
    if (!reserve(p, n))
        return false;
    if (n)
        memcpy(p->re->code + p->re->n, from, (size_t)n * sizeof *from);
    p->re->n += n;
    return true;
}

/* ---- sets of characters -----------------------------------------------------------------------
 */

static char_set *new_set(parser *p) {
    hone_regex *re = p->re;
    char_set *s = &re->sets[re->n_sets++];
    *s = (char_set){.first = re->n_ranges, .folds = p->folds};
    return s;
}

static void add_range(parser *p, char_set *s, int32_t first, int32_t last) {
    p->re->ranges[p->re->n_ranges++] = (char_range){first, last};
    s->n++;
}

static bool emit_char(parser *p, int32_t ch) {
    char_set *s = new_set(p);
    add_range(p, s, ch, ch);
    return emit(p, OP_SET, p->re->n_sets - 1, 0);
}

typedef struct named_set {
    const char *name;
    int n;
    char_range range[4]; /* sorted */
} named_set;

static const named_set named_sets[] = {
    {"d", 1, {{'0', '9'}}},
    {"w", 4, {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}},
    {"s", 3, {{'\t', '\n'}, {'\f', '\r'}, {' ', ' '}}},
    {"alnum", 3, {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}}},
    {"alpha", 2, {{'A', 'Z'}, {'a', 'z'}}},
    {"ascii", 1, {{0, 0x7F}}},
    {"blank", 2, {{'\t', '\t'}, {' ', ' '}}},
    {"cntrl", 2, {{0, 0x1F}, {0x7F, 0x7F}}},
    {"digit", 1, {{'0', '9'}}},
    {"graph", 1, {{'!', '~'}}},
    {"lower", 1, {{'a', 'z'}}},
    {"print", 1, {{' ', '~'}}},
    {"punct", 4, {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}}},
    {"space", 2, {{'\t', '\r'}, {' ', ' '}}},
    {"upper", 1, {{'A', 'Z'}}},
    {"word", 4, {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}},
    {"xdigit", 3, {{'0', '9'}, {'A', 'F'}, {'a', 'f'}}},
};

static bool add_named(parser *p, char_set *s, const char *name, size_t len, bool negate) {
    for (size_t i = 0; i < sizeof named_sets / sizeof named_sets[0]; ++i) {
        const named_set *k = &named_sets[i];
        if (strlen(k->name) != len || memcmp(k->name, name, len) != 0)
            continue;
        int32_t from = 0;
        for (int r = 0; r < k->n; ++r) {
            if (!negate)
                add_range(p, s, k->range[r].first, k->range[r].last);
            else if (from < k->range[r].first)
                add_range(p, s, from, k->range[r].first - 1);
            from = k->range[r].last + 1;
        }
        if (negate)
            add_range(p, s, from, LAST_CHAR);
        return true;
    }
    return bad(p, "unknown name of a character class");
}

/* ---- parsing ----------------------------------------------------------------------------------
 */

static bool peek(const parser *p, char ch) {
    return p->at < p->end && *p->at == ch;
}

static bool accept(parser *p, char ch) {
    if (!peek(p, ch))
        return false;
    p->at++;
    return true;
}

static bool next_char(parser *p, int32_t *ch) {
    size_t size;
    if (p->at >= p->end)
        return bad(p, "it ends too early");
    *ch = hone_utf8_decode(p->at, (size_t)(p->end - p->at), &size);
    p->at += size;
    return *ch >= 0 || bad(p, "it is not valid UTF-8");
}

static int digit_of(char ch) {
    return ch >= '0' && ch <= '9'   ? ch - '0'
           : ch >= 'a' && ch <= 'f' ? ch - 'a' + 10
           : ch >= 'A' && ch <= 'F' ? ch - 'A' + 10
                                    : 99;
}

/* Up to `max` digits of a number. */
static int32_t read_digits(parser *p, int base, int max) {
    int32_t v = 0;
    for (int i = 0; i < max && p->at < p->end && digit_of(*p->at) < base; ++i)
        v = v * base + digit_of(*p->at++);
    return v;
}

/* After the backslash: an escape for one character. */
static bool read_escape(parser *p, int32_t *ch) {
    static const char names[] = "aftnrv", values[] = "\a\f\t\n\r\v";
    if (p->at >= p->end)
        return bad(p, "it ends with a backslash");
    char e = *p->at;
    const char *name = strchr(names, e);
    if (e && name) {
        p->at++;
        *ch = values[name - names];
        return true;
    }
    if (e >= '0' && e <= '7') {
        if (e != '0' && !(p->end - p->at > 1 && digit_of(p->at[1]) < 8))
            return bad(p, "back references are not supported");
        *ch = read_digits(p, 8, 3);
        return true;
    }
    if (accept(p, 'x')) {
        bool has_braces = accept(p, '{');
        const char *start = p->at;
        *ch = read_digits(p, 16, has_braces ? 6 : 2);
        bool is_right = has_braces ? p->at > start && accept(p, '}') : p->at == start + 2;
        return (is_right && *ch <= LAST_CHAR) || bad(p, "a bad \\x escape");
    }
    bool is_letter = (e >= 'a' && e <= 'z') || (e >= 'A' && e <= 'Z') || (e >= '8' && e <= '9');
    if (is_letter)
        return bad(p, e == 'p' || e == 'P' ? "\\p classes are not supported" : "unknown escape");
    return next_char(p, ch);
}

/* \d \D \w \W \s \S, with p->at on the letter. */
static bool is_perl_class(const parser *p) {
    return p->at < p->end && *p->at && strchr("dDwWsS", *p->at);
}

static bool add_perl_class(parser *p, char_set *s) {
    char name = *p->at++;
    bool negate = name < 'a';
    if (negate)
        name = (char)(name + 32);
    return add_named(p, s, &name, 1, negate);
}

/* One item of a class: a named class, a character, a range. */
static bool parse_class_item(parser *p, char_set *s) {
    if (p->end - p->at > 3 && p->at[0] == '[' && p->at[1] == ':') {
        const char *name = p->at + 2;
        const char *close = memmem(name, (size_t)(p->end - name), ":]", 2);
        if (close) {
            bool negate = *name == '^';
            name += negate;
            p->at = close + 2;
            return add_named(p, s, name, (size_t)(close - name), negate);
        }
    }
    int32_t first, last;
    if (accept(p, '\\')) {
        if (is_perl_class(p))
            return add_perl_class(p, s);
        if (!read_escape(p, &first))
            return false;
    } else if (!next_char(p, &first)) {
        return false;
    }
    last = first;
    if (p->end - p->at > 1 && p->at[0] == '-' && p->at[1] != ']') {
        p->at++;
        if (accept(p, '\\') ? !read_escape(p, &last) : !next_char(p, &last))
            return false;
    }
    if (last < first)
        return bad(p, "a range of characters is the wrong way round");
    add_range(p, s, first, last);
    return true;
}

static bool parse_class(parser *p) {
    char_set *s = new_set(p);
    int32_t index = p->re->n_sets - 1;
    s->is_negated = accept(p, '^');
    bool is_first = true;
    while (is_first || !peek(p, ']')) {
        is_first = false;
        if (p->at >= p->end)
            return bad(p, "a ] is missing");
        if (!parse_class_item(p, s))
            return false;
    }
    p->at++;
    return emit(p, OP_SET, index, 0);
}

static bool parse_alternatives(parser *p);

/* (?flags) or (?flags: after "(?". *is_group: a group follows. */
static bool parse_flags(parser *p, bool *is_group) {
    bool on = true;
    for (;;) {
        int32_t ch;
        if (!next_char(p, &ch))
            return false;
        if (ch == 'i')
            p->folds = on;
        else if (ch == 's')
            p->dot_all = on;
        else if (ch == 'm')
            p->multi_line = on;
        else if (ch == '-' && on)
            on = false;
        else if (ch == ':' || ch == ')') {
            *is_group = ch == ':';
            return true;
        } else if (ch != 'U') /* swaps greedy and lazy: no matter here */
            return bad(p, "unknown flag of a group");
    }
}

static bool parse_group_start(parser *p, bool *is_group) {
    *is_group = true;
    if (!accept(p, '?'))
        return true;
    bool has_p = p->end - p->at > 1 && p->at[0] == 'P' && p->at[1] == '<';
    if (!has_p && !peek(p, '<'))
        return parse_flags(p, is_group);
    p->at += has_p ? 2 : 1;
    const char *start = p->at;
    while (p->at < p->end && (digit_of(*p->at) < 10 || *p->at == '_' ||
                              (*p->at >= 'a' && *p->at <= 'z') || (*p->at >= 'A' && *p->at <= 'Z')))
        p->at++;
    return (p->at > start && accept(p, '>')) || bad(p, "a bad name of a group");
}

/* After "(". Flags set inside end with the group; (?i) alone stays until the enclosing one ends. */
static bool parse_group(parser *p) {
    bool folds = p->folds, dot_all = p->dot_all, multi_line = p->multi_line, is_group;
    if (!parse_group_start(p, &is_group))
        return false;
    if (!is_group)
        return true;
    if (++p->depth > MAX_DEPTH)
        return fail(p, HONE_E_UNSUPPORTED, "groups are nested too deeply");
    if (!parse_alternatives(p))
        return false;
    p->depth--;
    if (!accept(p, ')'))
        return bad(p, "a ) is missing");
    p->folds = folds;
    p->dot_all = dot_all;
    p->multi_line = multi_line;
    return true;
}

static bool parse_quoted(parser *p) {
    while (p->at < p->end) {
        if (p->end - p->at > 1 && p->at[0] == '\\' && p->at[1] == 'E') {
            p->at += 2;
            return true;
        }
        int32_t ch;
        if (!next_char(p, &ch) || !emit_char(p, ch))
            return false;
    }
    return true;
}

static bool parse_backslash(parser *p) {
    static const struct {
        char name;
        op_code op;
    } asserts[] = {
        {'A', OP_TEXT_START}, {'z', OP_TEXT_END}, {'b', OP_WORD_EDGE}, {'B', OP_NO_WORD_EDGE}};
    for (size_t i = 0; i < sizeof asserts / sizeof asserts[0]; ++i) {
        if (accept(p, asserts[i].name))
            return emit(p, asserts[i].op, 0, 0);
    }
    if (accept(p, 'Q'))
        return parse_quoted(p);
    if (is_perl_class(p)) {
        char_set *s = new_set(p);
        int32_t index = p->re->n_sets - 1;
        return add_perl_class(p, s) && emit(p, OP_SET, index, 0);
    }
    int32_t ch;
    return read_escape(p, &ch) && emit_char(p, ch);
}

static bool parse_dot(parser *p) {
    char_set *s = new_set(p);
    s->is_negated = true;
    s->folds = false;
    if (!p->dot_all)
        add_range(p, s, '\n', '\n');
    return emit(p, OP_SET, p->re->n_sets - 1, 0);
}

static bool parse_atom(parser *p) {
    int32_t ch;
    if (accept(p, '('))
        return parse_group(p);
    if (accept(p, '['))
        return parse_class(p);
    if (accept(p, '.'))
        return parse_dot(p);
    if (accept(p, '^'))
        return emit(p, p->multi_line ? OP_LINE_START : OP_TEXT_START, 0, 0);
    if (accept(p, '$'))
        return emit(p, p->multi_line ? OP_LINE_END : OP_TEXT_END, 0, 0);
    if (accept(p, '\\'))
        return parse_backslash(p);
    if (peek(p, '*') || peek(p, '+') || peek(p, '?'))
        return bad(p, "nothing to repeat");
    return next_char(p, &ch) && emit_char(p, ch);
}

/* {m}, {m,} or {m,n}; false, with nothing read, when it is not one: then it is literal. max -1: no
 * limit. */
static bool read_counts(parser *p, int32_t *min, int32_t *max) {
    const char *start = p->at++;
    const char *digits = p->at;
    *min = read_digits(p, 10, 6);
    bool is_right = p->at > digits;
    *max = *min;
    if (is_right && accept(p, ',')) {
        digits = p->at;
        *max = read_digits(p, 10, 6);
        if (p->at == digits)
            *max = -1;
    }
    if (is_right && accept(p, '}'))
        return true;
    p->at = start;
    return false;
}

static bool repeat_star(parser *p, int32_t start) {
    int32_t n = p->re->n - start;
    return insert(p, start, OP_SPLIT, 1, n + 2) && emit(p, OP_JUMP, -(n + 1), 0);
}

static bool repeat_plus(parser *p, int32_t start) {
    return emit(p, OP_SPLIT, -(p->re->n - start), 1);
}

/* The code from `start` on, min to max times. Optional copies all jump to the end. */
static bool repeat_counted(parser *p, int32_t start, int32_t min, int32_t max) {
    int32_t n = p->re->n - start;
    if (min > MAX_REPEAT || max > MAX_REPEAT || (max >= 0 && max < min))
        return bad(p, "a bad repetition count");
    instr *atom = p->alloc(p->arg, ((size_t)n + 1) * sizeof *atom);
    if (!atom)
        return fail(p, HONE_E_NOMEM, "no memory");
    if (n)
        memcpy(atom, p->re->code + start, (size_t)n * sizeof *atom);
    p->re->n = start;
    for (int32_t i = 0; i < min; ++i) {
        if (!copy_code(p, atom, n))
            return false;
    }
    if (max < 0 && min > 0)
        return repeat_plus(p, p->re->n - n);
    if (max < 0)
        return copy_code(p, atom, n) && repeat_star(p, start);
    for (int32_t left = max - min; left > 0; --left) {
        if (!emit(p, OP_SPLIT, 1, left * (n + 1)) || !copy_code(p, atom, n))
            return false;
    }
    return true;
}

static bool parse_repeat(parser *p, int32_t start, bool *did) {
    int32_t min, max;
    *did = true;
    if (accept(p, '*'))
        return repeat_star(p, start);
    if (accept(p, '+'))
        return repeat_plus(p, start);
    if (accept(p, '?'))
        return insert(p, start, OP_SPLIT, 1, p->re->n - start + 1);
    if (peek(p, '{') && read_counts(p, &min, &max))
        return repeat_counted(p, start, min, max);
    *did = false;
    return true;
}

static bool parse_sequence(parser *p) {
    while (p->at < p->end && !peek(p, '|') && !peek(p, ')')) {
        int32_t start = p->re->n;
        bool did;
        /* What is quoted is repeated in its last character only. */
        bool is_quoted = p->end - p->at > 1 && p->at[0] == '\\' && p->at[1] == 'Q';
        if (!parse_atom(p))
            return false;
        if (is_quoted && p->re->n > start)
            start = p->re->n - 1;
        if (!parse_repeat(p, start, &did))
            return false;
        if (did) {
            accept(p, '?'); /* lazy: the same texts match */
            if (peek(p, '*') || peek(p, '+') || peek(p, '?'))
                return bad(p, "a repetition of a repetition");
        }
    }
    return true;
}

/* a|b|c: split a jump(end) split b jump(end) c. Jumps wait in a list, linked by y. */
static bool parse_alternatives(parser *p) {
    int32_t start = p->re->n, waiting = -1;
    if (!parse_sequence(p))
        return false;
    while (accept(p, '|')) {
        if (!insert(p, start, OP_SPLIT, 1, p->re->n - start + 2) || !emit(p, OP_JUMP, 0, waiting))
            return false;
        waiting = p->re->n - 1;
        start = p->re->n;
        if (!parse_sequence(p))
            return false;
    }
    while (waiting >= 0) {
        instr *jump = &p->re->code[waiting];
        jump->x = p->re->n - waiting;
        waiting = jump->y;
        jump->y = 0;
    }
    return true;
}

static bool make_room(parser *p) {
    hone_regex *re = p->re;
    size_t n = (size_t)re->n;
    re->now = p->alloc(p->arg, n * sizeof *re->now);
    re->next = p->alloc(p->arg, n * sizeof *re->next);
    re->stack = p->alloc(p->arg, (2 * n + 2) * sizeof *re->stack);
    re->mark = p->alloc(p->arg, n * sizeof *re->mark);
    if (!re->now || !re->next || !re->stack || !re->mark)
        return fail(p, HONE_E_NOMEM, "no memory");
    memset(re->mark, 0, n * sizeof *re->mark);
    return true;
}

hone_status hone_regex_compile(hone_string pattern, void *(*alloc)(void *arg, size_t bytes),
                               void *arg, hone_regex **out, const char **why) {
    parser p = {.at = pattern.data, .end = pattern.data, .alloc = alloc, .arg = arg};
    *why = "no memory";
    if (pattern.len > MAX_PROGRAM) {
        *why = "it is too long";
        return HONE_E_UNSUPPORTED;
    }
    if (pattern.len)
        p.end += pattern.len;
    /* A character of the pattern makes at most one set; a named class of 3 or more characters (\D
     * has 2) at most 5 ranges. */
    p.re = alloc(arg, sizeof *p.re);
    if (!p.re)
        return HONE_E_NOMEM;
    *p.re = (hone_regex){.sets = alloc(arg, (pattern.len + 1) * sizeof *p.re->sets),
                         .ranges = alloc(arg, (pattern.len * 5 + 5) * sizeof *p.re->ranges)};
    if (!p.re->sets || !p.re->ranges)
        return HONE_E_NOMEM;
    bool ok = parse_alternatives(&p);
    if (ok && p.at < p.end)
        ok = bad(&p, "a ) has no (");
    ok = ok && emit(&p, OP_MATCH, 0, 0) && make_room(&p);
    if (!ok) {
        *why = p.why;
        return p.status;
    }
    *out = p.re;
    return HONE_OK;
}

/* ---- matching ---------------------------------------------------------------------------------
 */

static bool in_ranges(const hone_regex *re, const char_set *s, int32_t ch) {
    const char_range *r = re->ranges + s->first;
    for (int32_t i = 0; i < s->n; ++i) {
        if (ch >= r[i].first && ch <= r[i].last)
            return true;
    }
    return false;
}

static bool in_set(const hone_regex *re, const char_set *s, int32_t ch) {
    bool is_in = in_ranges(re, s, ch);
    if (!is_in && s->folds)
        is_in = in_ranges(re, s, hone_char_lower(ch)) || in_ranges(re, s, hone_char_upper(ch));
    return is_in != s->is_negated;
}

static bool is_word(int32_t ch) {
    return (ch >= '0' && ch <= '9') || (ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z') ||
           ch == '_';
}

/* Whether an assertion holds between two characters (-1: none). */
static bool holds(op_code op, int32_t before, int32_t after) {
    switch (op) {
    case OP_TEXT_START:
        return before < 0;
    case OP_TEXT_END:
        return after < 0;
    case OP_LINE_START:
        return before < 0 || before == '\n';
    case OP_LINE_END:
        return after < 0 || after == '\n';
    case OP_WORD_EDGE:
        return is_word(before) != is_word(after);
    default:
        return is_word(before) == is_word(after);
    }
}

/* Add the states that are reached from `pc` without reading: characters to read go on the list.
 * Returns whether the end of the program is one of them. */
static bool add_states(hone_regex *re, int32_t pc, int32_t before, int32_t after, int32_t *list,
                       int32_t *n) {
    int32_t top = 0;
    bool is_match = false;
    re->stack[top++] = pc;
    while (top > 0) {
        pc = re->stack[--top];
        if (re->mark[pc] == re->generation)
            continue;
        re->mark[pc] = re->generation;
        const instr *i = &re->code[pc];
        if (i->op == OP_SET) {
            list[(*n)++] = pc;
        } else if (i->op == OP_MATCH) {
            is_match = true;
        } else if (i->op == OP_SPLIT) {
            re->stack[top++] = pc + i->y;
            re->stack[top++] = pc + i->x;
        } else if (i->op == OP_JUMP) {
            re->stack[top++] = pc + i->x;
        } else if (holds(i->op, before, after)) {
            re->stack[top++] = pc + 1;
        }
    }
    return is_match;
}

static void next_generation(hone_regex *re) {
    if (++re->generation == 0) {
        memset(re->mark, 0, (size_t)re->n * sizeof *re->mark);
        re->generation = 1;
    }
}

bool hone_regex_full_match(hone_regex *re, hone_string text) {
    size_t at = 0, size = 0, next_size = 0;
    int32_t n = 0, before = -1, ch = -1;
    if (text.len && (ch = hone_utf8_decode(text.data, text.len, &size)) < 0)
        return false;
    next_generation(re);
    bool is_match = add_states(re, 0, -1, ch, re->now, &n);
    while (at < text.len && n > 0) {
        int32_t after = -1, n_next = 0;
        before = ch;
        at += size;
        if (at < text.len &&
            (after = hone_utf8_decode(text.data + at, text.len - at, &next_size)) < 0)
            return false;
        next_generation(re);
        is_match = false;
        for (int32_t k = 0; k < n; ++k) {
            int32_t pc = re->now[k];
            if (in_set(re, &re->sets[re->code[pc].x], before))
                is_match |= add_states(re, pc + 1, before, after, re->next, &n_next);
        }
        int32_t *list = re->now;
        re->now = re->next;
        re->next = list;
        n = n_next;
        ch = after;
        size = next_size;
    }
    return is_match && at == text.len;
}

/* tests/lib/acl_model.c: see acl_model.h. */
#include "acl_model.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- templates ---- */

/* Appends the value of the template that `name` begins with ("entity.id }}..."); false: it has none, or one
 * that looks like a wildcard. Returns what follows the template through *rest. */
static bool fill_one(const struct model *model, const char *name, char *to, const char **rest)
{
    const char *end = strstr(name, "}}");
    char wanted[256] = "";
    if (end == NULL || (size_t)(end - name) >= sizeof(wanted)) {
        return false;
    }
    memcpy(wanted, name, (size_t)(end - name));
    char *begin = wanted;
    while (*begin == ' ') {
        begin++;
    }
    for (size_t size = strlen(begin); size != 0 && begin[size - 1] == ' '; size--) {
        begin[size - 1] = '\0';
    }
    *rest = end + 2;
    for (size_t i = 0; i < model->fact_count; i++) {
        if (strncmp(begin, "identity.", 9) == 0 && strcmp(begin + 9, model->facts[i].name) == 0) {
            const char *value = model->facts[i].value;
            char fenced[300] = "/"; /* so that a segment "+" is always "/+/" */
            strncat(fenced, value, 256);
            strcat(fenced, "/");
            strcat(to, value);
            return value[0] != '\0' && strchr(value, '*') == NULL && strstr(fenced, "/+/") == NULL;
        }
    }
    return false;
}

static size_t pluses(const char *path)
{
    size_t count = 0;
    for (const char *at = path; *at != '\0'; at++) {
        count += *at == '+' && (at == path || at[-1] == '/') && (at[1] == '\0' || at[1] == '/');
    }
    return count;
}

/* The path of a rule for this token; false: dropped. A value never makes a wildcard of what was none. */
static bool fill(const struct model *model, const struct model_rule *rule, char to[MODEL_RULE_PATH_MAX])
{
    const char *from = rule->path[0] == '/' ? rule->path + 1 : rule->path;
    char plain[MODEL_RULE_PATH_MAX] = ""; /* the same with an ordinary letter for each template */
    to[0] = '\0';
    while (*from != '\0') {
        if (strncmp(from, "{{", 2) == 0) {
            strcat(plain, "x");
            if (!model->has_identity || !fill_one(model, from + 2, to, &from)) {
                return false;
            }
        } else {
            strncat(to, from, 1);
            strncat(plain, from, 1);
            from++;
        }
    }
    return pluses(to) == pluses(plain);
}

void model_fill(struct model *model)
{
    for (size_t i = 0; i < model->rule_count; i++) {
        model->is_dropped[i] = !fill(model, &model->rules[i], model->paths[i]);
    }
}

/* ---- which rule decides ---- */

static bool ends_in_star(const char *rule)
{
    return rule[0] != '\0' && rule[strlen(rule) - 1] == '*';
}

/* Segment by segment; the closing star takes the rest, from wherever it stands. */
bool model_fits(const char *rule, const char *path)
{
    if (strcmp(rule, "*") == 0) {
        return true;
    }
    size_t of_rule = strcspn(rule, "/"), of_path = strcspn(path, "/");
    if (rule[of_rule] == '\0' && ends_in_star(rule)) {
        return strncmp(rule, path, strlen(rule) - 1) == 0;
    }
    bool is_plus = of_rule == 1 && rule[0] == '+';
    if (is_plus ? of_path == 0 : of_rule != of_path || strncmp(rule, path, of_rule) != 0) {
        return false;
    }
    if (rule[of_rule] == '\0' || path[of_path] == '\0') {
        return rule[of_rule] == path[of_path];
    }
    return model_fits(rule + of_rule + 1, path + of_path + 1);
}

static size_t first_wildcard(const char *rule)
{
    for (size_t i = 0; rule[i] != '\0'; i++) {
        bool is_segment = (i == 0 || rule[i - 1] == '/') && (rule[i + 1] == '/' || rule[i + 1] == '\0');
        if ((rule[i] == '+' && is_segment) || (rule[i] == '*' && rule[i + 1] == '\0')) {
            return i;
        }
    }
    return SIZE_MAX;
}

bool model_is_wild(const char *rule)
{
    return first_wildcard(rule) != SIZE_MAX;
}

static bool has_priority(const char *a, const char *b)
{
    if (first_wildcard(a) != first_wildcard(b)) {
        return first_wildcard(a) > first_wildcard(b);
    }
    if (ends_in_star(a) != ends_in_star(b)) {
        return ends_in_star(b);
    }
    if (pluses(a) != pluses(b)) {
        return pluses(a) < pluses(b);
    }
    return strlen(a) != strlen(b) ? strlen(a) > strlen(b) : strcmp(a, b) > 0;
}

static const char *exact_rule(const struct model *model, const char *path, size_t size)
{
    for (size_t i = 0; i < model->rule_count; i++) {
        const char *one = model->paths[i];
        if (!model->is_dropped[i] && strlen(one) == size && strncmp(one, path, size) == 0 && !model_is_wild(one)) {
            return one;
        }
    }
    return NULL;
}

const char *model_decides(const struct model *model, const char *path, bool lists)
{
    size_t size = strlen(path);
    const char *best = exact_rule(model, path, size);
    if (best == NULL && lists && size != 0 && path[size - 1] == '/') {
        best = exact_rule(model, path, size - 1);
    }
    if (best != NULL) {
        return best;
    }
    for (size_t i = 0; i < model->rule_count; i++) {
        const char *one = model->paths[i];
        if (!model->is_dropped[i] && model_is_wild(one) && model_fits(one, path) &&
            (best == NULL || has_priority(one, best))) {
            best = one;
        }
    }
    return best;
}

/* The rules of that path, from all policies. */
static size_t rules_of(const struct model *model, const char *path,
                       const struct model_rule *to[MODEL_RULES_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < model->rule_count; i++) {
        if (!model->is_dropped[i] && strcmp(model->paths[i], path) == 0) {
            to[count++] = &model->rules[i];
        }
    }
    return count;
}

static unsigned united(const struct model_rule *const *rules, size_t count)
{
    unsigned bits = 0;
    for (size_t i = 0; i < count; i++) {
        bits |= rules[i]->capabilities;
    }
    return (bits & MODEL_DENY) != 0 ? 0 : bits;
}

/* ---- parameters ---- */

static bool text_fits(const char *wanted, const char *text)
{
    size_t size = strlen(wanted), of_text = strlen(text);
    bool before = size != 0 && wanted[0] == '*', after = size != 0 && wanted[size - 1] == '*';
    if (before && after) {
        char middle[256] = "";
        strncat(middle, wanted + 1, size > 1 ? size - 2 : 0);
        return strstr(text, middle) != NULL;
    }
    if (before) {
        return of_text >= size - 1 && strcmp(text + of_text - (size - 1), wanted + 1) == 0;
    }
    return after ? strncmp(text, wanted, size - 1) == 0 : strcmp(text, wanted) == 0;
}

/* A number or a boolean is its text; lists and objects equal no single value. */
static bool value_fits(const struct model_value *wanted, const struct model_value *sent)
{
    bool scalar = sent->kind == MODEL_STRING || sent->kind == MODEL_BARE;
    return scalar && text_fits(wanted->text, sent->text);
}

/* What all these rules together say about one name: it is named; one of the values, or any, fits. */
struct said {
    bool is_named, is_any, fits;
};

static struct said say(const struct model_rule *const *rules, size_t count, bool about_denied,
                       const char *name, const struct model_value *value)
{
    struct said said = {0};
    for (size_t i = 0; i < count; i++) {
        const struct model_parameter *list = about_denied ? rules[i]->denied : rules[i]->allowed;
        size_t size = about_denied ? rules[i]->denied_count : rules[i]->allowed_count;
        for (size_t k = 0; k < size; k++) {
            if (strcasecmp(list[k].name, name) != 0) {
                continue;
            }
            said.is_named = true;
            said.is_any |= list[k].count == 0;
            for (size_t v = 0; value != NULL && v < list[k].count; v++) {
                said.fits |= value_fits(&list[k].values[v], value);
                /* A denied value is denied as one of several, too. */
                for (size_t n = 0; about_denied && value->kind == MODEL_MANY && n < value->count; n++) {
                    said.fits |= text_fits(list[k].values[v].text, value->items[n]);
                }
            }
        }
    }
    return said;
}

static bool has_field(const struct model_request *request, const char *name)
{
    for (size_t i = 0; i < request->field_count; i++) {
        if (strcasecmp(request->fields[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool body_obeys(const struct model_rule *const *rules, size_t count,
                       const struct model_request *request)
{
    size_t allowed = 0;
    for (size_t i = 0; i < count; i++) {
        allowed += rules[i]->allowed_count;
        for (size_t k = 0; k < rules[i]->required_count; k++) {
            if (!has_field(request, rules[i]->required[k])) {
                return false;
            }
        }
    }
    bool all_denied = say(rules, count, true, "*", NULL).is_named;
    bool others_allowed = say(rules, count, false, "*", NULL).is_named;
    for (size_t i = 0; i < request->field_count; i++) {
        const struct model_field *field = &request->fields[i];
        struct said no = say(rules, count, true, field->name, &field->value);
        struct said yes = say(rules, count, false, field->name, &field->value);
        if (all_denied || no.is_any || no.fits) {
            return false;
        }
        bool passes = allowed == 0 || (yes.is_named ? yes.is_any || yes.fits : others_allowed);
        if (!passes) {
            return false;
        }
    }
    return true;
}

/* ---- answers ---- */

bool model_allows(const struct model *model, const struct model_request *request)
{
    const struct model_rule *rules[MODEL_RULES_MAX];
    bool lists = (request->capability & (MODEL_LIST | MODEL_SCAN)) != 0;
    const char *path = model_decides(model, request->path, lists);
    if (path == NULL) {
        return false;
    }
    size_t count = rules_of(model, path, rules);
    unsigned bits = united(rules, count);
    int64_t least = 0, most = 0;
    for (size_t i = 0; i < count; i++) {
        int64_t min = rules[i]->min_wrap_s, max = rules[i]->max_wrap_s;
        least = min != 0 && (least == 0 || min < least) ? min : least;
        most = max != 0 && (most == 0 || max < most) ? max : most;
    }
    if ((bits & request->capability) == 0 || (request->needs_sudo && (bits & MODEL_SUDO) == 0)) {
        return false;
    }
    if ((least != 0 || most != 0) && (request->wrap_s <= 0 || request->wrap_s < least ||
                                      (most != 0 && request->wrap_s > most))) {
        return false;
    }
    bool writes = (request->capability & (MODEL_CREATE | MODEL_UPDATE | MODEL_PATCH)) != 0;
    return !writes || body_obeys(rules, count, request);
}

unsigned model_capabilities(const struct model *model, const char *path)
{
    const struct model_rule *rules[MODEL_RULES_MAX];
    const char *decides = model_decides(model, path, true);
    if (decides == NULL) {
        return MODEL_DENY;
    }
    unsigned bits = united(rules, rules_of(model, decides, rules));
    return bits != 0 ? bits : MODEL_DENY;
}

/* Whether something below the prefix could fit: as model_fits(), but the prefix may end before the rule does. */
static bool reaches(const char *rule, const char *prefix)
{
    if (*prefix == '\0' || strcmp(rule, "*") == 0) {
        return true;
    }
    size_t of_rule = strcspn(rule, "/"), of_prefix = strcspn(prefix, "/");
    if (rule[of_rule] == '\0' && ends_in_star(rule)) {
        size_t shorter = strlen(rule) - 1 < strlen(prefix) ? strlen(rule) - 1 : strlen(prefix);
        return strncmp(rule, prefix, shorter) == 0;
    }
    bool is_plus = of_rule == 1 && rule[0] == '+';
    if (is_plus ? of_prefix == 0 : of_rule != of_prefix || strncmp(rule, prefix, of_rule) != 0) {
        return false;
    }
    if (rule[of_rule] == '\0') { /* a rule for the folder, written without its slash */
        return strcmp(prefix + of_prefix, "/") == 0;
    }
    return reaches(rule + of_rule + 1, prefix + of_prefix + 1);
}

bool model_touches(const struct model *model, const char *prefix)
{
    const struct model_rule *rules[MODEL_RULES_MAX];
    for (size_t i = 0; i < model->rule_count; i++) {
        const char *one = model->paths[i];
        if (!model->is_dropped[i] && reaches(one, prefix) &&
            united(rules, rules_of(model, one, rules)) != 0) {
            return true;
        }
    }
    return false;
}

/* ---- paths ---- */

static int hex(uint8_t byte)
{
    return isdigit(byte) ? byte - '0' : isxdigit(byte) ? tolower(byte) - 'a' + 10 : -1;
}

/* How many bytes the well-formed letter here has (Unicode, table 3-7); 0: none is. */
static size_t letter(const uint8_t *at, size_t size)
{
    static const struct {
        uint8_t first, last, low, high; /* of the first byte; of the second */
        size_t size;
    } table[] = {{0x20, 0x7e, 0, 0, 1},          {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
                 {0xe1, 0xec, 0x80, 0xbf, 3},    {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
                 {0xf0, 0xf0, 0x90, 0xbf, 4},    {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (at[0] < table[i].first || at[0] > table[i].last) {
            continue;
        }
        bool good = table[i].size <= size;
        for (size_t k = 1; good && k < table[i].size; k++) {
            good = k == 1 ? at[1] >= table[i].low && at[1] <= table[i].high
                          : at[k] >= 0x80 && at[k] <= 0xbf;
        }
        return good ? table[i].size : 0;
    }
    return 0;
}

enum model_path model_path(const uint8_t *sent, size_t size, char to[MODEL_PATH_MAX])
{
    uint8_t plain[8192 + 1];
    size_t at = 0, segments = 0;
    if (size > 8192) {
        return MODEL_PATH_REFUSED;
    }
    for (size_t i = 0; i < size; i++) {
        plain[at] = sent[i];
        if (sent[i] == '%') {
            if (i + 2 >= size || hex(sent[i + 1]) < 0 || hex(sent[i + 2]) < 0) {
                return MODEL_PATH_REFUSED;
            }
            plain[at] = (uint8_t)(16 * hex(sent[i + 1]) + hex(sent[i + 2]));
            i += 2;
            if (plain[at] == '/') {
                return MODEL_PATH_REFUSED;
            }
        }
        at++;
    }
    plain[at] = '\0';
    for (size_t i = 0, n; i < at; i += n) {
        n = letter(plain + i, at - i);
        if (n == 0) {
            return MODEL_PATH_REFUSED;
        }
    }
    for (size_t i = 1; i < at; segments++) { /* what stands between slashes */
        size_t end = i;
        while (end < at && plain[end] != '/') {
            end++;
        }
        bool is_dots = (end - i == 1 && plain[i] == '.') ||
                       (end - i == 2 && plain[i] == '.' && plain[i + 1] == '.');
        if (is_dots || end - i > 512 || segments == 64) {
            return MODEL_PATH_REFUSED;
        }
        i = end + 1;
    }
    if (at > 2048) {
        return MODEL_PATH_REFUSED;
    }
    if (strstr((char *)plain, "//") != NULL) {
        size_t out = 0;
        for (size_t i = 0; i < size && out + 1 < MODEL_PATH_MAX; i++) {
            if (sent[i] != '/' || i == 0 || sent[i - 1] != '/') {
                to[out++] = (char)sent[i];
            }
        }
        to[out] = '\0';
        return MODEL_PATH_REDIRECT;
    }
    memcpy(to, at == 0 ? "/" : (char *)plain, at == 0 ? 2 : at + 1);
    return MODEL_PATH_GOOD;
}

size_t model_namespace(const char *const *list, size_t count, const char *path)
{
    size_t longest = 0;
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(list[i]); /* "a/b" is the folder "a/b/" itself */
        bool is_in = strncmp(path, list[i], size) == 0 ||
                     (strlen(path) + 1 == size && strncmp(path, list[i], size - 1) == 0);
        longest = size > longest && is_in ? size : longest;
    }
    return longest;
}

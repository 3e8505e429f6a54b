/* tools/completion.c: shell completion: scripts made from the command table. Words come from the
 * table; flags come from the command's own help text when they are asked for, so that neither can be
 * out of date. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/base/memory.h"
#include "tools/completion.h"

static const char *const lines[] = {
#define COMMAND(words, function, usage, help) words,
#include "tools/commands.def"
#undef COMMAND
    "server",
};

/* What both scripts share: the list, and the flags of a command line. */
static void print_table(FILE *out)
{
    (void)fputs("_coffer_commands='", out);
    for (size_t i = 0; i < CF_LENGTH(lines); i++) {
        (void)fprintf(out, "%s\n", lines[i]);
    }
    (void)fputs("'\n"
                "_coffer_flags() { coffer \"$@\" -help 2>/dev/null | "
                "sed -n 's/^-\\([a-z][a-z0-9-]*\\)\\(=\\{0,1\\}\\).*/-\\1\\2/p'; }\n"
                "_coffer_words() { printf '%s' \"$_coffer_commands\" | awk -v p=\"$1\" "
                "'BEGIN { n = split(p, a, \" \") } { m = split($0, b, \" \"); if (m <= n) next; "
                "for (i = 1; i <= n; i++) if (a[i] != b[i]) next; print b[n + 1] }' | sort -u; }\n",
                out);
}

static void print_bash(FILE *out)
{
    print_table(out);
    (void)fputs("_coffer() {\n"
                "  local cur=\"${COMP_WORDS[COMP_CWORD]}\" path=() w\n"
                "  for w in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
                "    case \"$w\" in -*) ;; *) path+=(\"$w\") ;; esac\n"
                "  done\n"
                "  case \"$cur\" in\n"
                "  -*) COMPREPLY=($(compgen -W \"$(_coffer_flags \"${path[@]}\")\" -- \"$cur\")) ;;\n"
                "  *) COMPREPLY=($(compgen -W \"$(_coffer_words \"${path[*]}\")\" -- \"$cur\")) ;;\n"
                "  esac\n"
                "  [[ ${#COMPREPLY[@]} -eq 0 && $cur != -* ]] && "
                "COMPREPLY=($(compgen -f -- \"$cur\"))\n"
                "  [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace\n"
                "  return 0\n"
                "}\n"
                "complete -F _coffer coffer\n",
                out);
}

static void print_zsh(FILE *out)
{
    (void)fputs("#compdef coffer\n", out);
    print_table(out);
    (void)fputs("_coffer() {\n"
                "  local -a path_words found\n"
                "  local w\n"
                "  for w in ${words[2,CURRENT-1]}; do [[ $w == -* ]] || path_words+=($w); done\n"
                "  if [[ ${words[CURRENT]} == -* ]]; then\n"
                "    found=(${(f)\"$(_coffer_flags $path_words)\"})\n"
                "    compadd -S '' -- $found\n"
                "  else\n"
                "    found=(${(f)\"$(_coffer_words \"$path_words\")\"})\n"
                "    (( ${#found} )) && compadd -- $found || _files\n"
                "  fi\n"
                "}\n"
                "(( $+functions[compdef] )) && compdef _coffer coffer\n",
                out);
}

static void print_fish(FILE *out)
{
    (void)fputs("set -g _coffer_commands", out);
    for (size_t i = 0; i < CF_LENGTH(lines); i++) {
        (void)fprintf(out, " '%s'", lines[i]);
    }
    (void)fputs("\nfunction _coffer_path\n"
                "    string match -v -- '-*' (commandline -opc)[2..-1]\n"
                "end\n"
                "function _coffer_words\n"
                "    set -l path (string join ' ' (_coffer_path))\n"
                "    for line in $_coffer_commands\n"
                "        if test -z \"$path\"\n"
                "            string split -f1 ' ' -- $line\n"
                "        else if string match -q -- \"$path *\" $line\n"
                "            string split -f1 ' ' -- (string replace -- \"$path \" '' $line)\n"
                "        end\n"
                "    end | sort -u\n"
                "end\n"
                "function _coffer_flags\n"
                "    coffer (_coffer_path) -help 2>/dev/null | string match -r '^-[a-z][a-z0-9-]*'\n"
                "end\n"
                "complete -c coffer -a '(_coffer_words)'\n"
                "complete -c coffer -n 'string match -q -- \"-*\" (commandline -ct)' "
                "-a '(_coffer_flags)'\n",
                out);
}

static const struct {
    const char *name;
    void (*print)(FILE *out);
    const char *file, *line; /* below the home; the line that loads it, NULL: the file is the script */
} shells[] = {
    {"bash", print_bash, ".bashrc", "source <(coffer completion bash)"},
    {"zsh", print_zsh, ".zshrc", "source <(coffer completion zsh)"},
    {"fish", print_fish, ".config/fish/config.fish", "coffer completion fish | source"},
};

int completion_print(struct cli *cli, const char *shell)
{
    for (size_t i = 0; i < CF_LENGTH(shells); i++) {
        if (strcmp(shell, shells[i].name) == 0) {
            shells[i].print(cli->out);
            return CLI_FINE;
        }
    }
    cli_error(cli, "Unknown shell \"%s\": use bash, zsh or fish", shell);
    return CLI_USAGE;
}

int command_completion(struct cli *cli, char *const *argv)
{
    int code = cli_begin(cli, NULL, 0, argv, (struct cli_rule){0, 1, 1});
    return code != CLI_GO ? code : completion_print(cli, cli_arg(cli, 0));
}

/* The file without the line, and whether it was there. */
static bool without(struct cf_slice text, const char *line, struct cf_buf *rest)
{
    bool found = false;
    while (text.size > 0) {
        struct cf_slice one = cf_slice_first(text, cf_slice_find(text, '\n'));
        text = cf_slice_from(text, one.size + 1);
        if (cf_slice_is(one, line)) {
            found = true;
        } else {
            cf_buf_add_slice(rest, one);
            cf_buf_add_byte(rest, '\n');
        }
    }
    return found;
}

static cf_status save(struct cli *cli, const char *path, struct cf_slice text, struct cf_error *err)
{
    const char *next = arena_printf(cli->arena, "%s.coffer%ld", path, (long)getpid());
    FILE *file = fopen(next, "wxe");
    if (file == NULL) {
        return cf_fail(err, CF_IO, "open %s: %s", next, strerror(errno));
    }
    bool fine = fwrite(text.data, 1, text.size, file) == text.size;
    fine = fclose(file) == 0 && fine;
    if (!fine || rename(next, path) != 0) {
        (void)unlink(next);
        return cf_fail(err, CF_IO, "write %s: %s", path, strerror(errno));
    }
    return CF_OK;
}

int completion_install(struct cli *cli, bool install)
{
    const char *home = getenv("HOME");
    const char *shell = getenv("SHELL");
    const char *name = shell != NULL && strrchr(shell, '/') != NULL ? strrchr(shell, '/') + 1 : "bash";
    struct cf_error err = {0};
    for (size_t i = 0; home != NULL && i < CF_LENGTH(shells); i++) {
        struct cf_slice text = CF_SLICE_EMPTY;
        CF_BUF(rest) = {0};
        if (strcmp(name, shells[i].name) != 0) {
            continue;
        }
        const char *path = arena_printf(cli->arena, "%s/%s", home, shells[i].file);
        cf_status status = cli_read_file(cli, path, &text, &err);
        if (status != CF_OK && status != CF_NOT_FOUND) {
            return cli_fail(cli, "Error reading the shell's start file", &err);
        }
        bool found = without(text, shells[i].line, &rest);
        if (found == install) {
            cli_say(cli, "Nothing to do: %s %s the line \"%s\"", path, found ? "has" : "is without",
                    shells[i].line);
            return CLI_FINE;
        }
        if (install) {
            cf_buf_addf(&rest, "%s\n", shells[i].line);
        }
        if (save(cli, path, cf_buf_slice(&rest), &err) != CF_OK) {
            return cli_fail(cli, "Error changing the shell's start file", &err);
        }
        cli_say(cli, "Success! %s the line \"%s\" %s %s", install ? "Added" : "Removed",
                shells[i].line, install ? "to" : "from", path);
        return CLI_FINE;
    }
    cli_error(cli, "Cannot install completion for the shell \"%s\": add the output of \"coffer "
                   "completion bash\" (or zsh, fish) to its start file by hand",
              name);
    return CLI_USAGE;
}

#!/bin/sh
# make lint: who includes whom, third-party doors, numbers, formatting.  One line a finding, as
# file:line: text; exit 1 if there is any.  tests/test_lint.sh plants one of each kind.
#   sh tests/lint.sh [FOLDER]          default: the folder it is started in
cd "${1:-.}" || exit 1

files=$(find Makefile actor base checkpoints comm compute data launch learner model refmodel \
    reward tests -type f 2>/dev/null | grep -E '([.](c|h|cu|sh|py)|Makefile)$' | sort)
[ -n "$files" ] || { echo "lint: no sources here"; exit 1; }

# shellcheck disable=SC2086 (names without blanks, one argument each)
awk '
function found(text) {
    printf "%s:%d: %s\n", FILENAME, FNR, text
    findings++
}

# ---- tables ----

BEGIN {
    # A folder may include itself and these; a path allows one header only.
    may["base"] = ""
    may["compute"] = may["data"] = "base"
    may["comm"] = "base compute data/batch.h"
    may["checkpoints"] = "base compute comm/comm.h"
    may["model"] = "base compute comm/comm.h"
    may["actor"] = may["reward"] = may["refmodel"] = may["learner"] = \
        "base compute data comm checkpoints model"
    may["launch"] = may["actor"] " actor reward refmodel learner"

    # Headers of the C library and of POSIX need no door; any other has one.
    split("assert ctype dirent dlfcn errno execinfo fcntl fenv float ftw getopt glob inttypes " \
          "limits locale malloc math netdb poll pthread pwd regex sched semaphore setjmp signal " \
          "spawn stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib string strings " \
          "termios time unistd wchar", list, " ")
    for (i in list)
        libc[list[i] ".h"] = 1
    door["mpi.h"] = door["nccl.h"] = "^comm/"
    door["hdf5.h"] = door["hdf5_hl.h"] = "^checkpoints/"
    door["libconfig.h"] = "^base/config[a-z_]*[.]c$"
    door["jansson.h"] = "^base/json[.]c$"
    door["xxhash.h"] = door["xxh_x86dispatch.h"] = "^base/hash[.]c$"
    door["zlib.h"] = door["utf8proc.h"] = "^data/"
    door["curl/curl.h"] = "^reward/kinds/http[.]c$"
    door["cmocka.h"] = "^tests/"

    # Exact functions of libm (sqrt, fma, fabs, floor, ...) are fine; these differ by version.
    # No exceptions so far: a line "(file) (function): why" would go here.
    libm = "(exp|exp2|expm1|log|log2|log10|log1p|pow|sin|cos|tan|sinh|cosh|tanh|erf|sincos)[fl]?"
    libm = "(^|[^A-Za-z0-9_.>])" libm "[ ]*[(]"
    later = "(^|[^A-Za-z0-9_])(TO" "DO|FIX" "ME|X" "XX)([^A-Za-z0-9_]|$)"
}

FNR == 1 {
    folder = FILENAME
    sub(/\/.*/, "", folder)
    is_code = FILENAME ~ /[.](c|h|cu)$/
    is_lint = FILENAME ~ /^tests\/(test_)?lint[.]sh$/      # which name what they forbid
    is_long = folder == "tests" || FILENAME ~ /table/      # tests and tables may be longer
    in_comment = body = 0
    statement = ""
}

# ---- formatting ----

{
    if (FILENAME != "Makefile") {
        if (index($0, "\t"))
            found("a tab; use four spaces")
        if (length($0) > 100)
            found("line of " length($0) " columns; at most 100")
    }
    if ($0 ~ /[ \t\r]$/)
        found("blanks at the end of the line")
    if (!is_lint && $0 ~ later)
        found("unfinished: " substr($0, match($0, later), RLENGTH))
    if (!is_lint && $0 ~ /-ffast-math|-Ofast|-fassociative-math|-funsafe-math|--use_fast_math/ &&
        $0 !~ /^ *(#|\*|\/\*|\/\/)/)
        found("a flag that changes numbers")
    if (FNR == (is_long ? 801 : 501))
        found("file of more than " FNR - 1 " lines; make it two pages")
}

!is_code { next }

# ---- code without comments and strings ----

function without(line,    out, token, quote) {
    out = ""
    while (line != "") {
        if (in_comment) {
            if (!match(line, /\*\//))
                return out
            line = substr(line, RSTART + 2)
            in_comment = 0
        }
        if (!match(line, /"|\047|\/\*|\/\//))
            return out line
        token = substr(line, RSTART, RLENGTH)
        out = out substr(line, 1, RSTART - 1)
        line = substr(line, RSTART + RLENGTH)
        if (token == "//")
            return out
        if (token == "/*") {
            in_comment = 1
            continue
        }
        quote = token == "\"" ? "\\\\.|\"" : "\\\\.|\047"
        while (match(line, quote) && substr(line, RSTART, 1) == "\\")
            line = substr(line, RSTART + 2)
        line = match(line, quote) ? substr(line, RSTART + 1) : ""
        out = out token token
    }
    return out
}

# May a file of this folder include "path"?
function allowed(path,    top, n, list, i) {
    top = path
    sub(/\/.*/, "", top)
    if (top == folder)
        return 1
    n = split(may[folder], list, " ")
    for (i = 1; i <= n; i++)
        if (list[i] == top || list[i] == path)
            return 1
    return 0
}

function check_include(line,    path) {
    if (match(line, /"[^"]*"/)) {
        path = substr(line, RSTART + 1, RLENGTH - 2)
        if (path !~ /\//)
            found("include \"" path "\" by its path from the top")
        else if (!allowed(path))
            found(folder " may not include " path)
    } else if (match(line, /<[^>]*>/)) {
        path = substr(line, RSTART + 1, RLENGTH - 2)
        if (path in libc || path ~ /^(sys|netinet|arpa|linux)\//)
            return
        if (path ~ /^(cuda|cublas|cudnn)/)
            door[path] = "^(compute/cuda/|comm/nccl[.]c$)"
        if (path ~ /^[a-z0-9]*intrin[.]h$/)
            door[path] = "^(compute/|base/memory[.]c$)"
        if (path ~ /^(algorithm|deque|functional|string|tuple|utility|vector)$/)
            door[path] = "^(compute/cuda/|tests/cuda/)"         # of C++
        if (!(path in door))
            found("<" path "> has no door")
        else if (FILENAME !~ door[path])
            found("<" path "> belongs behind its door, " door[path])
    }
}

{
    was_comment = in_comment
    code = without($0)
}

!was_comment && /^[ \t]*#[ \t]*include/ {
    if (folder != "tests" || $0 ~ /cmocka/)
        check_include($0)
    next
}

# ---- numbers ----

code ~ /#[ \t]*pragma.*reduction[ \t]*\(/ {
    found("a reduction by OpenMP has no fixed order")
}

code ~ libm && folder ~ /^(compute|model|actor|learner|refmodel)$/ {
    found("a function of libm whose bits depend on its version; use compute/math.h")
}

{
    # Statements may run over lines: MPI_SUM beside a float type, in either order.  comm/bench.c
    # times MPI\047s sum beside ours and keeps nothing of it.
    n = split(code, parts, /[;{}]/)
    for (i = 1; i <= n; i++) {
        statement = (i == 1 ? statement " " : "") parts[i]
        if (FILENAME != "comm/bench.c" && statement ~ /MPI_SUM/ &&
            statement ~ /MPI_(LONG_)?(FLOAT|DOUBLE)([^A-Za-z0-9_]|$)/) {
            found("a float MPI_SUM: the order of the sum would depend on the ranks")
            statement = ""
        }
    }
    if (code ~ /^[ \t]*#/)
        statement = ""
}

# ---- shape of the code ----

code ~ /(^|[^A-Za-z0-9_])typedef([^A-Za-z0-9_]|$)/ && code !~ /\(/ {
    found("typedef is for function types only")
}

code ~ /^[A-Za-z_].*\)[ ]*\{[ ]*$/ && code !~ /^(extern|struct|union|enum)[^(]*\{/ {
    found("the brace of a function stands on its own line")
}

code ~ /^\{[ ]*$/ { body = FNR }

code ~ /^\}/ {
    if (body && FNR - body - 1 > 80)
        found("function of " FNR - body - 1 " lines; at most 80")
    body = 0
}

END { exit (findings > 0) }
' $files

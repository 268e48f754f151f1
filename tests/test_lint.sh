#!/bin/sh
# tests/lint.sh finds one planted violation of each kind, at its line, and nothing in a clean tree.
lint=$(cd "$(dirname "$0")" && pwd)/lint.sh
work=$(mktemp -d "${TMPDIR:-/tmp}/rankwise-lint.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Counted in a file, since most cases run at the end of a pipe.
verdict() {     # STATUS NAME OUTPUT
    if [ "$1" -eq 0 ]; then
        echo "ok $2"
    else
        echo "FAILED $2"
        printf '%s\n' "$3" | sed 's/^/    /'
    fi | tee -a "$work/verdicts"
}

# plant NAME FILE LINE TEXT: stdin, as FILE, is found once, at LINE, in words that hold TEXT
plant() {
    rm -rf "$work/tree"
    mkdir -p "$work/tree/$(dirname "$2")"
    cat > "$work/tree/$2"
    out=$(sh "$lint" "$work/tree")
    code=$?
    [ $code -eq 1 ] && [ "$(printf '%s\n' "$out" | wc -l)" -eq 1 ] &&
        case $out in "$2:$3: "*"$4"*) true ;; *) false ;; esac
    verdict $? "$1" "exit $code: $out"
}

# clean NAME FILE: nothing is found in stdin as FILE
clean() {
    rm -rf "$work/tree"
    mkdir -p "$work/tree/$(dirname "$2")"
    cat > "$work/tree/$2"
    out=$(sh "$lint" "$work/tree")
    verdict $? "$1" "$out"
}

# ---- who includes whom
for pair in base:compute compute:data compute:comm data:comm data:compute comm:model comm:actor \
            comm:data/tokenizer.h checkpoints:model checkpoints:comm/link.h checkpoints:data \
            model:data model:comm/tree.h model:checkpoints actor:learner actor:reward \
            learner:refmodel reward:launch refmodel:actor launch:tests; do
    from=${pair%%:*} to=${pair#*:}
    case $to in */*) ;; *) to=$to/x.h ;; esac
    printf 'int x;\n#include "%s"\n' "$to" |
        plant "$from includes $to" "$from/a.c" 2 "may not include"
done
for pair in comm:data/batch.h comm:compute/compute.h checkpoints:comm/comm.h model:comm/comm.h \
            actor:model/model.h learner:checkpoints/checkpoint.h reward:data/batch.h \
            launch:learner/learner.h launch:launch/run.h tests:learner/learner.h \
            base:base/text.h; do
    printf '#include "%s"\n' "${pair#*:}" |
        clean "${pair%%:*} may include ${pair#*:}" "${pair%%:*}/a.c"
done
echo '#include "text.h"' | plant "an include without its folder" base/a.c 1 "path from the top"

# ---- doors
for pair in mpi.h:model mpi.h:checkpoints nccl.h:compute hdf5.h:comm libconfig.h:launch \
            libconfig.h:base jansson.h:base xxhash.h:checkpoints zlib.h:launch utf8proc.h:base \
            cuda_runtime.h:compute curl/curl.h:reward cmocka.h:base \
            immintrin.h:actor; do
    echo "  # include <${pair%%:*}>" |
        plant "<${pair%%:*}> in ${pair#*:}" "${pair#*:}/a.c" 1 "belongs behind its door"
done
echo '#include <omp.h>' | plant "OpenMP" compute/cpu/a.c 1 "has no door"
echo '#include <openssl/sha.h>' | plant "a header without a door" base/a.c 1 "has no door"
for pair in mpi.h:comm/a.c nccl.h:comm/nccl.c cublasLt.h:compute/cuda/a.cu hdf5.h:checkpoints/a.c \
            libconfig.h:base/config_x.c jansson.h:base/json.c xxhash.h:base/hash.c zlib.h:data/a.c \
            cmocka.h:tests/a.c mpi.h:tests/mpi_a.c sys/stat.h:base/a.c; do
    echo "#include <${pair%%:*}>" | clean "<${pair%%:*}> in ${pair#*:}" "${pair#*:}"
done

# ---- numbers
plant "a float MPI_SUM" comm/a.c 1 "float MPI_SUM" <<END
int f(void) { return MPI_Allreduce(a, b, n, MPI_FLOAT, MPI_SUM, c); }
END
plant "a double MPI_SUM over two lines" comm/a.c 2 "float MPI_SUM" <<END
int x = reduce(g, MPI_SUM,
               MPI_DOUBLE);
END
clean "a float MPI_SUM to time beside ours" comm/bench.c <<END
int f(void) { return MPI_Allreduce(a, b, n, MPI_FLOAT, MPI_SUM, c); }
END
clean "an integer MPI_SUM" comm/a.c <<END
int x = reduce(g, MPI_SUM, MPI_INT64_T);
int y = gather(g, MPI_DOUBLE);
END
for call in exp expf log log1p pow powf sin cosf tanh erf; do
    echo "float y = $call(x);" | plant "libm's $call" model/a.c 1 "libm"
done
clean "own functions, exact functions, words in comments" model/a.c <<END
/* exp(x) and log(x)
 * cos(x) */
float y = rw_expf(x) + sqrtf(x) + k->exp(x) + fabs(x);     // tanh(x)
const char *s = "log(x) \\" cos(x)";
END
echo 'double y = exp(x);' | clean "libm in base" base/a.c
echo 'CFLAGS = -O3 -ffast-math' | plant "-ffast-math" Makefile 1 "changes numbers"
echo 'gcc -Ofast a.c' | plant "-Ofast" launch/a.sh 1 "changes numbers"
echo '#pragma omp parallel for reduction(+ : sum)' |
    plant "an OpenMP reduction" compute/a.c 1 "no fixed order"

# ---- formatting
printf 'int x;\n\tint y;\n' | plant "a tab" base/a.c 2 "a tab"
printf 'int x; \n' | plant "a trailing blank" base/a.c 1 "blanks at the end"
printf 'int x;\r\n' | plant "a carriage return" base/a.h 1 "blanks at the end"
awk 'BEGIN { for (i = 0; i < 101; i++) printf "x"; print "" }' |
    plant "a line of 101 columns" base/a.c 1 "line of 101 columns"
awk 'BEGIN { for (i = 0; i < 501; i++) print "int x;" }' |
    plant "a file of 501 lines" base/a.c 501 "more than 500 lines"
awk 'BEGIN { for (i = 0; i < 801; i++) print "int x;" }' |
    plant "a test of 801 lines" tests/a.c 801 "more than 800 lines"
awk 'BEGIN { for (i = 0; i < 700; i++) print "int x;" }' |
    clean "a table of 700 lines" data/a_table.c
awk 'BEGIN { print "int f(void)\n{"; for (i = 0; i < 81; i++) print "    x++;"; print "}" }' |
    plant "a function of 81 lines" base/a.c 84 "function of 81 lines"
awk 'BEGIN { print "int f(void)\n{"; for (i = 0; i < 80; i++) print "    x++;"; print "}" }' |
    clean "a function of 80 lines" base/a.c
echo 'typedef struct x x;' | plant "a typedef" base/a.h 1 "typedef"
echo 'typedef int (*reader)(void *);' | clean "a typedef of a function" base/a.h
echo 'int f(void) {' | plant "a brace beside its function" base/a.c 1 "brace of a function"
for word in TO""DO FIX""ME X""XX; do
    echo "/* $word: later */" | plant "$word" base/a.c 1 "unfinished"
done
echo 'char name[] = "/tmp/x.XXXXXX";' | clean "the X of mkstemp" base/a.c

# ---- and this tree
out=$(sh "$lint" "$(dirname "$lint")/..")
verdict $? "the project itself" "$out"

passed=$(grep -c '^ok ' "$work/verdicts")
failed=$(grep -c '^FAILED ' "$work/verdicts")
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]

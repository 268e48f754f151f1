# Shared by the shell tests: counting, mpirun's environment, a temporary folder, the demo's model.
#   . tests/lib.sh; ok NAME COMMAND ...; finish
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_btl_base_warn_component_unused=0
RANKWISE=${RANKWISE:-${BUILD:-build}/rankwise}
SHARED=${RANKWISE_SHARED:-../shared}
WORK=$(mktemp -d "${TMPDIR:-/tmp}/rankwise-test.XXXXXX")
# What killed ranks leave of Open MPI's shared memory.
SEGMENTS=$(mktemp -d /dev/shm/rankwise-test.XXXXXX 2>/dev/null || echo "$WORK")
export OMPI_MCA_btl_vader_backing_directory=$SEGMENTS
tidy() { rm -rf "$WORK" "$SEGMENTS"; }
trap tidy EXIT
passed=0 failed=0 skipped=0

pass() { passed=$((passed + 1)); echo "ok $1"; }
fail() { failed=$((failed + 1)); echo "FAILED $1"; [ -z "${2:-}" ] || printf '    %s\n' "$2"; }
skip() { skipped=$((skipped + 1)); echo "SKIP $1"; }

# ok NAME COMMAND...: the command succeeds
ok() {
    what=$1; shift
    if said=$("$@" 2>&1); then pass "$what"; else fail "$what" \
        "$(printf '%s' "$said" | tail -n 5)"; fi
}

# says CODE PATTERN NAME COMMAND...: exits with CODE and prints exactly one line of ours, which
# matches
says() {
    want=$1 pattern=$2 what=$3; shift 3
    said=$("$@" 2>&1 >/dev/null); code=$?
    lines=$(printf '%s\n' "$said" | grep -c 'rankwise: ')
    if [ $code -eq "$want" ] && [ "$lines" -eq 1 ] && printf '%s' "$said" |
        grep -Eq -- "$pattern"; then
        pass "$what"
    else
        fail "$what" "exit $code (want $want), $lines lines (want 1, like /$pattern/): $(
            printf '%s' "$said" | head -n 3)"
    fi
}

# Of `rankwise bench`.  lines FILE: are all of them JSON?
lines() {
    if command -v python3 > /dev/null; then
        python3 -c 'import json, sys
for line in open(sys.argv[1]): json.loads(line)' "$1"
    else ! grep -v '^{"bench":".*}$' "$1"; fi
}

# keys NAME COUNT "KEYS" COMMAND...: COUNT lines or more of JSON; the last with these keys and its
# spread
keys() {
    what=$1 count=$2 wanted=$3; shift 3
    "$@" > "$WORK/lines" 2> "$WORK/errors" ||
        { fail "$what" "$(tail -n 3 "$WORK/errors")"; return; }
    for key in $wanted; do
        tail -n 1 "$WORK/lines" | grep -q "\"$key\":[-0-9\"]" ||
            { fail "$what" "no $key: $(tail -n 1 "$WORK/lines")"; return; }
    done
    [ "$(wc -l < "$WORK/lines")" -ge "$count" ] && lines "$WORK/lines" && pass "$what" ||
        fail "$what" "$(head -n 3 "$WORK/lines")"
}

# value KEY: of the last line
value() { tail -n 1 "$WORK/lines" | sed -n "s/.*\"$1\":\([-+.0-9e]*\).*/\1/p"; }

# run N CONFIG key=value...: train on N ranks, without mpirun when N is 1
run() {
    n=$1; shift
    if [ "$n" -eq 1 ]; then "$RANKWISE" train "$@"; else mpirun -np "$n" "$RANKWISE" train "$@"; fi
}

# step and weights hash of every line of a run's metrics
hashes() { sed -n \
    's/.*"train\/step": \([0-9]*\).*"train\/weights_hash": "\([0-9a-f]*\)".*/\1 \2/p' \
        "$1/metrics.jsonl"; }

# flip FILE OFFSET: one byte of it becomes another
flip() {
    byte=$(od -An -tu1 -j "$2" -N 1 "$1")
    printf "\\$(printf %03o $((byte ^ 255)))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

finish() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ $failed -eq 0 ]
    exit
}

# place COUNT ROLES ...: a placement, "2 actor,reward 1 learner" in libconfig's words
place() {
    groups=
    while [ $# -gt 0 ]; do
        groups="$groups${groups:+,}{count=$1;roles=[\"$(echo "$2" | sed 's/,/","/g')\"];}"
        shift 2
    done
    echo "ranks=($groups)"
}

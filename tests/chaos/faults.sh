#!/bin/sh
# Whoever hangs or dies is named: rank, host, role, phase and step, in one line and in time.
#   tests/chaos/faults.sh [all]        27 faults; without "all" a few of them
# A fault: a rank is stopped (SIGSTOP) or killed (SIGKILL) in a phase, a reward does not answer, MPI
# does not come back.
. tests/lib.sh
BUILD=${BUILD:-build}
which=${1:-few}
deadline=3
most=1                      # lines of ours about one loss
slow=${SAN:-0}              # sanitizers: everything is, twice or more
host=$(hostname)

# ranks GROUP...: a group is COUNT and its roles, as in "2 actor reward"
ranks()
{
    list=
    for group in "$@"; do
        count=${group%% *}
        list="$list{count=$count;roles=[\"$(echo "${group#* }" | sed 's/ /","/g')\"];},"
    done
    echo "ranks=(${list%,})"
}
apart=$(ranks "1 actor" "1 reward" "1 refmodel" "1 learner")
split=$(ranks "2 actor reward" "1 refmodel" "2 learner")
pair=$(ranks "1 actor reward refmodel" "1 learner")
all='actor+learner+reward+refmodel'

# Seconds from time $1 to time $2, in hundredths.
hundredths() { awk "BEGIN { printf \"%d\", ($2 - $1) * 100 }"; }

# What each rank does first: the one that is UNBORN stops before it becomes one.
begin='[ "$OMPI_COMM_WORLD_RANK" != "${UNBORN:-}" ] || kill -STOP $$; exec "$@"'

# launch NAME N KEYS...: a run in the background, whose lines are stamped with their time
launch()
{
    out=$WORK/$1 n=$2; shift 2
    scratch=$out/rankwise-scratch       # as a supervisor's: the board stays for strike
    mkdir -p "$scratch"
    command=train
    case $n in run*) command=$n n=1 ;; esac
    # shellcheck disable=SC2086 (words)
    set -- "$RANKWISE" $command tests/bits.cfg output="$out/run" deadline=$deadline steps=100000 \
        eval_every=3 checkpoint_every=2 "$@"
    started=$(date +%s.%N)
    {
        if [ "$n" -gt 1 ]; then set -- mpirun -np "$n" sh -c "$begin" sh "$@"; fi
        OMPI_MCA_orte_tmpdir_base=$scratch OMPI_MCA_btl_vader_backing_directory=$scratch \
            "$@" 2>&1 > "$out/stdout"
        echo "ended $?"
    } | while IFS= read -r line; do echo "$(date +%s.%N) $line"; done > "$out/said" &
    job=$!
}

# judge NAME CODE FOUND END BLOW PATTERN: one line of ours, which matches, within FOUND hundredths
# of the blow, and the end with exit code CODE within END
judge()
{
    wait $job
    hung='rankwise: mpirun .process [0-9]*. hangs'
    if [ "$2" = 3 ] && grep -q "$hung" "$out/said"; then
        echo "# $1: mpirun hung by itself afterwards and was killed" # a race of PMIx 4.2.2
        sed -i "/$hung/d; s/ ended 137/ ended 3/" "$out/said"
        set -- "$1" "$2" "$3" 1800 "$5" "$6"
    fi
    lines=$(grep -c 'rankwise: ' "$out/said")
    found=$(hundredths "$5" "$(sed -n 's/^\([0-9.]*\) rankwise: .*/\1/p' "$out/said" | head -n 1)")
    ended=$(hundredths "$5" "$(sed -n 's/^\([0-9.]*\) ended .*/\1/p' "$out/said")")
    code=$(sed -n 's/^[0-9.]* ended //p' "$out/said")
    if [ "$lines" -ge 1 ] && [ "$lines" -le $most ] && [ "$code" = "$2" ] &&
        grep -Eq "rankwise: $6" "$out/said" &&
        [ "$found" -le $(($3 * (1 + slow))) ] && [ "$ended" -le $(($4 * (1 + slow))) ]; then
        pass "$1: named after 0.01 s x $found, ended after $ended"
    else
        fail "$1" "exit $code ($2), named after $found ($3) hundredths, ended after $ended ($4)
$lines lines (1, like $6): $(grep -v '^[0-9.]* *$' "$out/said" | head -n 8)"
    fi
    rm -rf "$out"
}

# fault SIGNAL RANK ROLES PHASE STEP N KEYS...
fault()
{
    signal=$1 rank=$2 roles=$3 phase=$4 step=$5 n=$6; shift 6
    what="$signal rank $rank of $n ($roles) in \"$phase\""
    launch fault "$n" "$@"
    blow=$("$BUILD/tests/chaos/strike" "$scratch" $signal $rank "$phase" $step) || {
        kill $(pgrep -f "output=$out/run") 2>/dev/null
        wait $job
        fail "$what" "$(cat "$out/said")"
        return
    }
    step=${blow##* } blow=${blow%% *}
    named="rank $rank \(host $host, $(printf %s "$roles" | sed 's/+/[+]/g')\)"
    at="in \"$phase\" of step $step.*; rank [0-9]+ waits at \""
    if [ $signal = STOP ]; then
        judge "$what" 3 $((deadline * 100 + 100)) $((deadline * 100 + 200)) "$blow" \
            "$named is stopped .*$at"
    else
        judge "$what" 137 200 300 "$blow" "$named died $at"
    fi
}

# ---- a few: the roles apart, all together, a reward that hangs

fault STOP 1 reward reward 2 4 "$apart"
fault KILL 3 learner update 2 4 "$apart"
fault STOP 1 $all rollout 1 3

# silent NAME N KEYS...: the reward answers the first step, then nothing
cat > "$WORK/silent.sh" <<'END'
while read -r line; do
    [ -e "$1" ] && sleep 1000
    id=${line#*:}; left=${line#*left\":}
    echo "{\"id\":${id%%,*},\"score\":${#line}}"
    [ "${left%%,*}" != 0 ] || touch "$1"
done
END
silent()
{
    what="a reward without an answer, $1"; shift
    rm -f "$WORK/hangs"
    launch silent "$@" \
        "rewards=({kind=\"process\";name=\"mute\";command=\"sh $WORK/silent.sh $WORK/hangs\";})"
    until [ -e "$WORK/hangs" ] || ! kill -0 $job 2>/dev/null; do sleep 0.05; done
    judge "$what" 3 $((deadline * 100 + 200)) $((deadline * 100 + 200)) "$(date +%s.%N)" \
        "reward \"mute\" \(process\) has not answered within $deadline s .* waited for it at step "
}
silent "one step ahead" 4 "$apart" max_lag=1

# stuck NAME N KEYS...: MPI does not come back, on every rank
stuck()
{
    what="MPI that does not come back, $1"; shift
    token=$WORK/stuck.token
    export LD_PRELOAD="$PWD/$BUILD/tests/chaos/stuck_mpi.so" CHAOS_TOKEN="$token"
    launch stuck "$@"
    unset LD_PRELOAD CHAOS_TOKEN
    until [ -s "$out/run/metrics.jsonl" ] || ! kill -0 $job 2>/dev/null; do sleep 0.05; done
    touch "$token"
    # mpirun itself gives the other rank a second when one has ended
    judge "$what" 3 $((deadline * 100 + 200)) $((deadline * 100 + 300)) "$(date +%s.%N)" \
        "MPI has not come back within $deadline s \(deadline\): rank [0-9]+ \(host $host.* waits"
    rm "$token"
}
stuck "two ranks" 2 "$pair"
# What a supervisor is to be told goes to a disk that hangs: half a second for it, at most.
export CHAOS_DISK=1 RANKWISE_RESTART="0 0 0 0 1"
stuck "two ranks, nor the disk" 2 "$pair"
unset CHAOS_DISK RANKWISE_RESTART

# mpirun does not notice that all of its ranks have ended, here because it is stopped.
launch buried 3
until [ -s "$out/run/metrics.jsonl" ] || ! kill -0 $job 2>/dev/null; do sleep 0.05; done
kill -STOP $(pgrep -f "mpirun .*output=$out/run")
blow=$("$BUILD/tests/chaos/strike" "$scratch" KILL 1 update 2)
judge "mpirun hangs when its ranks have ended" 137 1500 1500 "${blow%% *}" \
    'mpirun \(process [0-9]+\) hangs, 10 s after its ranks have ended: killed'

# supervised SIGNAL RANK ROLES PHASE STEP N FOUND END HOW: the same under rankwise run, which names
# a rank that no other is left to name, and ends with exit code 3 in either case
supervised()
{
    signal=$1 rank=$2 roles=$3 phase=$4 step=$5 n=$6 within=$7 end=$8 how=$9
    what="rankwise run, $signal rank $rank of $n in \"$phase\""
    launch supervised "run -n $n --restarts 0"
    until scratch=$(scratch) && [ -n "$scratch" ]; do sleep 0.02; kill -0 $job || break; done
    blow=$("$BUILD/tests/chaos/strike" "$scratch" $signal $rank "$phase" $step)
    named="rank $rank \(host $host(, $(printf %s "$roles" | sed 's/+/[+]/g'))?\)"
    most=2      # the rank that sees it says so, and so does the supervisor, with what it decides
    judge "$what" 3 $within $end "${blow%% *}" "$named $how in \"$phase\" of step ${blow##* }"
    most=1
}

# Where mpirun keeps its files, under the supervisor.
scratch()
{
    for pid in $(pgrep -f "rankwise train .*output=$out/run"); do
        tr '\0' '\n' < "/proc/$pid/environ" | sed -n 's/^OMPI_MCA_orte_tmpdir_base=//p'
    done 2>/dev/null | grep /rankwise- | head -n 1
}

if [ "$which" = all ]; then
    silent "one process" 1
    fault STOP 0 actor rollout 2 4 "$apart"
    fault STOP 2 refmodel ref_logp 2 4 "$apart"
    fault STOP 3 learner update 2 4 "$apart" max_lag=1
    fault KILL 0 actor rollout 2 4 "$apart"
    fault KILL 2 refmodel ref_logp 2 4 "$apart" max_lag=1
    fault STOP 1 actor+reward reward 2 5 "$split"
    fault STOP 4 learner weights 2 5 "$split"
    fault KILL 3 learner checkpoint 2 5 "$split"
    fault STOP 3 learner checkpoint 2 5 "$split"
    fault STOP 0 actor+reward evaluation 2 5 "$split"
    fault STOP 0 actor+reward+refmodel weights 2 2 "$pair"
    fault STOP 1 learner evaluation 2 2 "$pair"
    fault KILL 1 $all statistics 2 3
    fault STOP 2 $all update 1 3
fi

# ---- before the ranks have met

launch start 3
blow=$("$BUILD/tests/chaos/strike" "$scratch" STOP 2 start 0)
judge "stopped in the start of MPI" 3 $((deadline * 100 + 150)) $((deadline * 100 + 200)) \
    "${blow%% *}" "rank 2 \(host $host.*\) is stopped .* in \"start\" of step 0"
if [ "$which" = all ]; then
    supervised STOP 0 $all update 2 1 450 500 "is stopped"
    supervised KILL 1 $all update 2 3 200 300 "(was killed by signal 9 .*|died)"
    supervised STOP 1 $all update 2 3 400 500 "is stopped .*"
    supervised STOP 1 "" start 0 3 400 500 "is stopped .*"
    export UNBORN=2
    launch unborn 3
    unset UNBORN
    judge "stopped before it started" 3 $((deadline * 100 + 200)) $((deadline * 100 + 300)) \
        "$started" "rank 2 \(host $host\) did not start within $deadline s; rank [01] waits at"
fi
finish

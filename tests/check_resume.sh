#!/bin/sh
# Crash invariance: a run that is killed with -9 at random instants, between and during
# checkpoints, and resumed by the same line on another number of ranks ends with the bits of a run
# that was never killed.  SEED picks the instants.  Then the polite ways to stop: signals, a file.
. tests/lib.sh
seed=${SEED:-7}

# draw LOW HIGH: the next number of a small generator, in hundredths of a second
draw()
{
    seed=$(((seed * 1103515245 + 12345) % 2147483648))
    drawn=$(($1 + seed / 65536 % ($2 - $1)))
}

lines() { cat "$1" 2>/dev/null | wc -l; }

# How often the run said that it goes on from a checkpoint.
resumes() { cat "$1/log.txt" 2>/dev/null | grep -c 'resumed at step'; }

# wait_for PID CONDITION...: until it holds; fails when the process ends or 20 s pass first
wait_for()
{
    of=$1 tries=0; shift
    until "$@"; do
        kill -0 "$of" 2>/dev/null && [ $tries -lt 1000 ] || return 1
        sleep 0.02; tries=$((tries + 1))
    done
}
has_resumed() { [ "$(resumes "$1")" -gt "$2" ]; }
has_more() { [ "$(lines "$1/metrics.jsonl")" -gt "$2" ]; }

# trained PID OUT RESUMES: until the run of PID has made a step of its own, after the resumption
# that a checkpoint in OUT promises
trained()
{
    [ -z "$3" ] || wait_for "$1" has_resumed "$2" "$3" || return 1
    wait_for "$1" has_more "$2" "$(lines "$2/metrics.jsonl")"
}

saved() { ls "$1/checkpoints" 2>/dev/null | grep -q '^step-[0-9]*[.]h5$'; }

# killed RANKS OUT DELAY key=value...: start, wait until it has trained a step and DELAY hundredths
# more, kill every process with -9
killed()
{
    n=$1 out=$2 delay=$3 before=; shift 3
    saved "$out" && before=$(resumes "$out")
    mpirun -np "$n" "$RANKWISE" train "$config" output="$out" "$@" >/dev/null 2>&1 &
    pid=$!
    landed=false
    if trained $pid "$out" "$before"; then
        sleep "$(printf '%d.%02d' $((delay / 100)) $((delay % 100)))"
        kill -0 $pid 2>/dev/null && landed=true
    fi
    ranks=$(pgrep -P $pid)
    kill -9 $pid $ranks 2>/dev/null
    wait $pid 2>/dev/null
}

config=tests/bits.cfg
small="prompts_per_step=9 max_new=12"        # short steps
for lag in 0 1; do
    keys="steps=40 max_lag=$lag eval_every=0 checkpoint_every=1 $small"
    ok "lag $lag: never killed" run 1 tests/bits.cfg $keys checkpoint_every=0 \
        output="$WORK/whole$lag"
    hits=0
    for n in 2 3 1 4 2 3; do
        draw 1 12
        killed $n "$WORK/torn$lag" $drawn $keys
        $landed && hits=$((hits + 1))
    done
    [ $hits -ge 4 ] && pass "lag $lag: $hits of 6 kills hit a run that had trained" ||
        fail "lag $lag: at least 4 of 6 kills hit a run that had trained" "$hits did"
    ok "lag $lag: finished on 3 ranks" run 3 tests/bits.cfg $keys output="$WORK/torn$lag"
    [ "$(resumes "$WORK/torn$lag")" -ge 4 ] && pass "lag $lag: it went on from checkpoints" ||
        fail "lag $lag: it went on from checkpoints" "$(resumes "$WORK/torn$lag") times"
    ok "lag $lag: the same weights, samples and checkpoint" "$RANKWISE" diff "$WORK/whole$lag" \
        "$WORK/torn$lag"
    [ "$(lines "$WORK/torn$lag/metrics.jsonl")" -eq 40 ] &&
        [ "$(hashes "$WORK/whole$lag")" = "$(hashes "$WORK/torn$lag")" ] &&
        pass "lag $lag: the same hash at every step" ||
        fail "lag $lag: the same hash at every step"
    [ -z "$(ls "$WORK/torn$lag/checkpoints" | grep part)" ] &&
        pass "lag $lag: no half checkpoint is left" ||
        fail "lag $lag: no half checkpoint is left"
done

# ---- a model that begins random: the ranks of a host draw it together, and what a checkpoint
# brings is not drawn, but the reference is
apart='ranks=({count=1;roles=["actor","refmodel"];},{count=1;roles=["learner"];},'
apart=$apart'{count=1;roles=["reward"];})'
keys="algorithm=ppo model_init=random steps=4 eval_every=0 checkpoint_every=2 $small"
for copy in "" "ref.update=every ref.every=3"; do
    out="$WORK/random${copy:+-copy}"
    ok "random${copy:+, $copy}: four steps" run 1 tests/bits.cfg $keys $copy output="$out-1"
    ok "random${copy:+, $copy}: two of them on 3 ranks" run 3 tests/bits.cfg $keys $copy steps=2 \
        output="$out-3"
    ok "random${copy:+, $copy}: the rest, roles apart" run 3 tests/bits.cfg $keys $copy "$apart" \
        output="$out-3"
    [ "$(resumes "$out-3")" -eq 1 ] && [ "$(hashes "$out-1")" = "$(hashes "$out-3")" ] &&
        pass "random${copy:+, $copy}: the same hash at every step" ||
        fail "random${copy:+, $copy}: the same hash at every step" "$(hashes "$out-3")"
done

# ---- scores that nobody can give twice: what is on record is replayed, not asked again
cat > "$WORK/dice" <<'END'
#!/bin/sh
while read -r line; do
    id=${line#*:}; id=${id%%,*}
    echo "{\"id\": $id, \"score\": $(od -An -N2 -tu2 /dev/urandom)}"
done
END
dice="rewards=({kind=\"process\"; command=\"sh $WORK/dice\"; normalise=\"running\";})"
keys="steps=24 eval_every=0 checkpoint_every=9 max_lag=1 prompts_per_step=9 max_new=12"
out="$WORK/dice-run"
hits=0
for n in 2 3 1; do
    draw 1 12
    hashes "$out" > "$WORK/dice-before" 2>/dev/null
    killed $n "$out" $drawn $keys "$dice"
    $landed && hits=$((hits + 1))
done
hashes "$out" > "$WORK/dice-before"
ok "scores from outside: finished on 2 ranks after $hits kills" run 2 tests/bits.cfg $keys "$dice" \
    output="$out"
hashes "$out" > "$WORK/dice-after"
[ "$(grep -cxFf "$WORK/dice-after" "$WORK/dice-before")" -eq "$(lines "$WORK/dice-before")" ] &&
    [ "$(lines "$WORK/dice-after")" -eq 24 ] &&
    pass "scores from outside: the steps before the kill came again to the bit" ||
    fail "scores from outside: the steps before the kill came again to the bit"
[ "$(lines "$out/scores.jsonl")" -eq 24 ] &&
    [ "$(sed 's/,.*//' "$out/scores.jsonl" | sort -u | wc -l)" -eq 24 ] &&
    pass "scores from outside: each step is on record once" ||
    fail "scores from outside: each step is on record once" "$(lines "$out/scores.jsonl") lines"

# Prompts sampled again because all of their responses scored the same: the scores that made it so
# are on record too.  The newest checkpoint is lost; the steps behind the one before come again.
cat > "$WORK/coin" <<'END'
#!/bin/sh
while read -r line; do
    id=${line#*:}; id=${id%%,*}
    echo "{\"id\": $id, \"score\": $(($(od -An -N1 -tu1 /dev/urandom) % 2))}"
done
END
coin="rewards=({kind=\"process\"; command=\"sh $WORK/coin\";})"
# Lines of steps that were trained; with lag 1 a seventh was sampled.
on_record() { grep -v '"step":7,' "$1/scores.jsonl"; }
for lag in 0 1; do
    keys="steps=6 eval_every=0 checkpoint_every=2 prompts_per_step=9 max_new=12 max_lag=$lag
        keep_last=9"
    out="$WORK/coin-run$lag"
    ok "sampled again, lag $lag: six steps" run 2 launch/configs/dapo.cfg $keys "$coin" \
        output="$out"
    hashes "$out" > "$WORK/coin-before"
    on_record "$out" > "$WORK/coin-scores"
    grep -q '"replaced"' "$out/scores.jsonl" &&
        pass "sampled again, lag $lag: scores that were replaced are on record" ||
        fail "sampled again, lag $lag: scores that were replaced are on record"
    rm -f "$out"/checkpoints/step-*6.h5 "$out"/checkpoints/step-*4.h5
    ok "sampled again, lag $lag: four of them again, roles apart" run 3 launch/configs/dapo.cfg \
        $keys "$coin" "$apart" output="$out"
    [ "$(hashes "$out")" = "$(cat "$WORK/coin-before")" ] &&
        pass "sampled again, lag $lag: to the bit" ||
        fail "sampled again, lag $lag: to the bit"
    [ "$(on_record "$out")" = "$(cat "$WORK/coin-scores")" ] &&
        pass "sampled again, lag $lag: nothing is on record twice" ||
        fail "sampled again, lag $lag: nothing is on record twice"
done

# Responses observed before the first step set the scale of all scores: killed before there is a
# checkpoint, the run observes the same.
keys="steps=6 eval_every=0 checkpoint_every=0 prompts_per_step=9 max_new=12 samples_per_prompt=4
    ppo.reward_norm=reference ppo.reward_rows=90"
out="$WORK/observed"
plain="rewards=({kind=\"process\"; command=\"sh $WORK/dice\";})"
ok "observed: six steps" run 2 launch/configs/rloo.cfg $keys "$plain" output="$out"
hashes "$out" > "$WORK/observed-before"
cp "$out/scores.jsonl" "$WORK/observed-scores"
[ "$(grep -c '"observed"' "$out/scores.jsonl")" -eq 3 ] &&
    pass "observed: three batches are on record" ||
    fail "observed: three batches are on record" "$(grep -c observed "$out/scores.jsonl")"
rm -f "$out"/checkpoints/*
ok "observed: all of it again, roles apart" run 3 launch/configs/rloo.cfg $keys "$plain" \
    "$apart" output="$out"
[ "$(hashes "$out")" = "$(cat "$WORK/observed-before")" ] && pass "observed: to the bit" ||
    fail "observed: to the bit"
cmp -s "$out/scores.jsonl" "$WORK/observed-scores" && pass "observed: nothing is on record twice" ||
    fail "observed: nothing is on record twice"

# Steps of several passes (epochs, mini-batches, a critic, running means) and of several gradients:
# a kill in the middle of one loses that step only.
ppo="ppo.epochs=2 ppo.minibatches=3 ppo.kl_control=adaptive ppo.reward_norm=running"
raco="raco.mode=two_pass raco.refresh=2"
for name in ppo raco; do
    config=launch/configs/$name.cfg
    keys="steps=16 eval_every=0 checkpoint_every=1 $small"
    [ $name = ppo ] && keys="$keys $ppo" || keys="$keys $raco"
    ok "$name: never killed" run 1 $config $keys checkpoint_every=0 output="$WORK/whole-$name"
    hits=0
    for n in 2 3 1 4; do
        draw 1 30
        killed $n "$WORK/torn-$name" $drawn $keys
        $landed && hits=$((hits + 1))
    done
    [ $hits -ge 2 ] && pass "$name: $hits of 4 kills hit a run that had trained" ||
        fail "$name: at least 2 of 4 kills hit a run that had trained" "$hits did"
    ok "$name: finished on 3 ranks" run 3 $config $keys output="$WORK/torn-$name"
    ok "$name: the same weights, samples and checkpoint" "$RANKWISE" diff "$WORK/whole-$name" \
        "$WORK/torn-$name"
    [ "$(hashes "$WORK/whole-$name")" = "$(hashes "$WORK/torn-$name")" ] &&
        pass "$name: the same hash at every step" || fail "$name: the same hash at every step"
done
config=tests/bits.cfg

# ---- asked to stop: the state is saved, and the same line goes on

keys="steps=400 eval_every=0 checkpoint_every=0 $small"    # what is saved is saved for the stop
last() { hashes "$1" | tail -n 1; }

for signal in INT TERM USR1; do
    out="$WORK/$signal"
    "$RANKWISE" train tests/bits.cfg output="$out" $keys >/dev/null 2>&1 &
    pid=$!
    trained $pid "$out" ""
    kill -$signal $pid
    wait $pid
    code=$?
    [ $code -eq 5 ] && saved "$out" && pass "SIG$signal: state saved, exit 5" ||
        fail "SIG$signal: state saved, exit 5" "exit $code"
done
touch "$WORK/INT/stop"
run 1 tests/bits.cfg output="$WORK/INT" $keys >/dev/null 2>&1
code=$?
[ $code -eq 5 ] && [ ! -e "$WORK/INT/stop" ] && pass "a stop file: exit 5, and it is taken away" ||
    fail "a stop file: exit 5, and it is taken away" "exit $code"

said=$(run 1 tests/bits.cfg output="$WORK/INT" $keys steps=1 2>&1) &&
    printf '%s' "$said" | grep -Eq 'has [0-9]+ steps already and steps is 1: nothing is left' &&
    pass "fewer steps than there are: it says so" ||
    fail "fewer steps than there are: it says so" "$said"

# ---- a folder of checkpoints that cannot be listed is no empty one

if [ "${SAN:-0}" = 1 ]; then skip "no preloading before the sanitizers"; else
    out=$WORK/stale
    run 1 tests/bits.cfg output="$out" $keys checkpoint_every=2 steps=4 >/dev/null 2>&1
    for name in off memory; do
        says 1 'cannot read folder .*/checkpoints: Stale' "stale, journal = $name: one line" env \
            LD_PRELOAD="$PWD/${BUILD:-build}/tests/chaos/read_only.so" \
            CHAOS_STALE="$out/checkpoints" "$RANKWISE" train tests/bits.cfg output="$out" $keys \
            steps=5 journal=$name journal_path="$WORK/slots"
    done
    [ "$(hashes "$out" | wc -l)" -eq 4 ] && pass "stale: nothing is lost" ||
        fail "stale: nothing is lost" "$(hashes "$out")"
fi

# ---- what is no plain file

mkdir "$WORK/odd"
mkfifo "$WORK/odd/log.txt"
says 1 'odd/log.txt is no plain file' "a pipe as log.txt" run 1 tests/bits.cfg output="$WORK/odd"
says 1 'odd/log.txt is no plain file' "the same under the supervisor" "$RANKWISE" run -n 2 \
    tests/bits.cfg output="$WORK/odd"

# ---- two runs in one folder

mkdir "$WORK/taken"
flock "$WORK/taken/.lock" sleep 5 &
for ranks in 1 3; do
    says 1 'another run is writing to .*taken' "$ranks ranks: the folder is taken" \
        run $ranks tests/bits.cfg output="$WORK/taken" $keys deadline=2
done
wait $!

# ---- a journal that was left, and a run that went on without it: nobody goes back to its records

# journalled: a run with a journal, killed after nine steps or more
journalled()
{
    "$RANKWISE" train tests/bits.cfg output="$out" $keys $journal >/dev/null 2>&1 &
    pid=$!
    while kill -0 $pid 2>/dev/null && [ "$(hashes "$out" 2>/dev/null | wc -l)" -lt 9 ]; do
        sleep 0.01
    done
    kill -9 $pid
    wait $pid 2>/dev/null
}
out="$WORK/left" log="$WORK/left.log"
journal="journal=memory journal_path=$WORK/slots"
journalled
run 1 tests/bits.cfg output="$out" $keys steps=3 >"$log" 2>&1
run 1 tests/bits.cfg output="$out" $keys steps=5 $journal >>"$log" 2>&1
grep -q 'journal: off now' "$log" && ! grep -q 'the journal has' "$log" &&
    [ "$(hashes "$out" | cut -d' ' -f1 | tr '\n' ' ')" = "1 2 3 4 5 " ] &&
    pass "a start without the journal forgets it" ||
    fail "a start without the journal forgets it" "$(tail -n 3 "$log"); $(hashes "$out")"

# Its records leave the memory of the host.
out="$WORK/freed" journal="journal=memory"
journalled
left=$(ls /dev/shm | grep -c "^rankwise-journal-")
run 1 tests/bits.cfg output="$out" $keys steps=10 >"$log" 2>&1
now=$(ls /dev/shm | grep -c "^rankwise-journal-")
[ "$now" -eq $((left - 1)) ] && pass "a start without the journal frees its memory" ||
    fail "a start without the journal frees its memory" "$left folders, then $now"
out="$WORK/left" journal="journal=memory journal_path=$WORK/slots"

# The folder is emptied but for journal.id, and the settings are others: a run of its own.
rm -rf "$out/checkpoints"
journalled
said=$(run 1 tests/bits.cfg output="$out" $keys seed=99 $journal 2>&1)
[ $? -eq 1 ] && printf '%s' "$said" | grep -q 'seed is 99' &&
    [ "$(hashes "$out" | wc -l)" -ge 9 ] && pass "another seed by mistake: nothing is lost" ||
    fail "another seed by mistake: nothing is lost" "$said"
# Damaged records are said, and the run begins from what there is.
for record in "$WORK"/slots/rankwise-journal-*/0.[01]; do flip "$record" 5000; done
said=$(run 1 tests/bits.cfg output="$out" $keys steps=3 $journal 2>&1)
[ "$(printf '%s' "$said" | grep -c 'is damaged: not used')" -eq 2 ] &&
    pass "damaged records are said" || fail "damaged records are said" "$said"
rm -rf "$out"
journalled
rm -rf "$out/checkpoints"

# Whoever has the records need not be who has the run folder: here the actor's host has.
two='ranks=({count=1;roles=["actor","reward","refmodel"]},{count=1;roles=["learner"]})'
said=$(run 2 tests/bits.cfg output="$out" $keys seed=99 $journal "$two" 2>&1)
[ $? -eq 1 ] && printf '%s' "$said" | grep -q 'seed is 99' &&
    [ "$(hashes "$out" | wc -l)" -ge 9 ] && pass "the same on two ranks: nothing is lost" ||
    fail "the same on two ranks: nothing is lost" "$said"

# The disk does not take what the journal has: it stays there.
rm -rf "$out/checkpoints"
journalled
said=$( (ulimit -f 100; trap '' XFSZ
    run 1 tests/bits.cfg output="$out" $keys steps=30 $journal) 2>&1)
[ $? -eq 1 ] && printf '%s' "$said" | grep -q 'the journal keeps step' &&
    pass "no room for what the journal has: it says so" ||
    fail "no room for what the journal has: it says so" "$said"
for record in "$WORK"/slots/rankwise-journal-*/0.[01]; do       # one more of each, and a pipe
    cp "$record" "${record%.*}7.${record##*.}"
done
mkfifo "${record%/*}/9.0"
said=$(run 1 tests/bits.cfg output="$out" $keys steps=30 $journal 2>&1)
[ $? -eq 0 ] && printf '%s' "$said" | grep -q 'the journal has step' &&
    pass "with room again it is taken" || fail "with room again it is taken" "$said"
rm -rf "$out"
journalled
rm -rf "$out/checkpoints" "$out/metrics.jsonl" "$out/samples.jsonl"
run 1 tests/bits.cfg output="$out" $keys seed=99 steps=3 $journal >"$log" 2>&1 &&
    run 1 tests/bits.cfg output="$out" $keys seed=99 steps=5 $journal >>"$log" 2>&1
[ $? -eq 0 ] && grep -q 'with other settings: not used' "$log" &&
    [ "$(hashes "$out" | cut -d' ' -f1 | tr '\n' ' ')" = "1 2 3 4 5 " ] &&
    pass "records of other settings are not used" ||
    fail "records of other settings are not used" "$(tail -n 3 "$log"); $(hashes "$out")"

# Somebody removes the checkpoints in mid-run: the next ones are there.
out="$WORK/gone"
"$RANKWISE" train tests/bits.cfg output="$out" $keys checkpoint_every=1 >/dev/null 2>&1 &
pid=$!
wait_for $pid saved "$out" && mv "$out/checkpoints" "$WORK/moved" && wait_for $pid saved "$out"
there=$?
kill -TERM $pid
wait $pid
[ $? -eq 5 ] && [ $there -eq 0 ] && grep -q 'was gone and is made again' "$out/log.txt" &&
    pass "removed checkpoints: the next ones are there" ||
    fail "removed checkpoints: the next ones are there" "$(tail -n 3 "$out/log.txt")"

rm -rf "$out/checkpoints"
said=$(run 1 tests/bits.cfg output="$out" $keys steps=2 2>&1)
printf '%s' "$said" | grep -q 'holds no checkpoint: the [0-9]* steps it has lines of' &&
    pass "no checkpoint is left: it says that it begins again" ||
    fail "no checkpoint is left: it says that it begins again" "$said"

# What is long is not waited for: responses before the first step, a reward that hangs.
for ranks in 1 3; do
    out="$WORK/long-$ranks"
    run $ranks tests/bits.cfg output="$out" $keys algorithm=ppo ppo.reward_norm=reference \
        ppo.reward_rows=1000000 >/dev/null 2>&1 &
    pid=$!
    wait_for $pid [ -e "$out/log.txt" ]
    touch "$out/stop"
    ok "$ranks ranks stop before the first step" wait_for $pid [ ! -e "$out/stop" ]
    wait $pid
    code=$?
    [ $code -eq 5 ] && ! saved "$out" && pass "$ranks ranks: exit 5, nothing is saved" ||
        fail "$ranks ranks: exit 5, nothing is saved" "exit $code"

    out="$WORK/hangs-$ranks"
    reads='while read -r line; do n=$((n + 1)); [ $n -lt 200 ] || [ -e '$WORK/go' ] || sleep 600'
    says="$reads; echo '{\\\"scores\\\":[1]}'; done"
    reward="rewards=({kind=\"process\";timeout=600.0;command=\"$says\";})"
    rm -f "$WORK/go"
    run $ranks tests/bits.cfg output="$out" $keys "$reward" >/dev/null 2>&1 &
    pid=$!
    trained $pid "$out" ""
    sleep 2
    touch "$out/stop"
    ok "$ranks ranks do not wait for a reward that hangs" wait_for $pid [ ! -e "$out/stop" ]
    wait $pid
    code=$?
    [ $code -eq 5 ] && saved "$out" && pass "$ranks ranks: exit 5, the last step is saved" ||
        fail "$ranks ranks: exit 5, the last step is saved" "exit $code"
done

# Under mpirun, whose exit code is its own after a signal.  It waits this many seconds before it
# passes the signal on, and as many before it kills.
export OMPI_MCA_odls_base_sigkill_timeout=2
for way in signal file; do
    [ $way = signal ] || unset OMPI_MCA_odls_base_sigkill_timeout
    out="$WORK/mpi-$way"
    mpirun -np 3 "$RANKWISE" train tests/bits.cfg output="$out" $keys >/dev/null 2>&1 &
    pid=$!
    trained $pid "$out" ""
    if [ $way = signal ]; then kill -TERM $pid; else touch "$out/stop"; fi
    wait $pid
    code=$?
    [ $code -eq 5 ] || { [ $way = signal ] && [ $code -ne 0 ]; } && saved "$out" &&
        [ ! -e "$out/stop" ] && pass "3 ranks stopped by a $way: state saved" ||
        fail "3 ranks stopped by a $way: state saved" "exit $code"
    steps=$(($(lines "$out/metrics.jsonl") + 3))
    ok "3 ranks stopped by a $way: the same line goes on" run 3 tests/bits.cfg output="$out" \
        $keys steps=$steps
    ok "as many steps undisturbed" run 1 tests/bits.cfg output="$out-whole" $keys steps=$steps
    [ "$(resumes "$out")" -eq 1 ] && [ -n "$(last "$out")" ] &&
        [ "$(last "$out")" = "$(last "$out-whole")" ] &&
        pass "3 ranks stopped by a $way: the same hash in the end" ||
        fail "3 ranks stopped by a $way: the same hash in the end" \
            "$(last "$out"), undisturbed $(last "$out-whole")"
done
# Which checkpoints stay: the newest, multiples of four, and the two of the smallest loss.
out="$WORK/kept"
ok "kept: nine steps" run 2 tests/bits.cfg steps=9 eval_every=0 checkpoint_every=1 keep_last=1 \
    keep_every=4 keep_best=2 best=loss best_is=min output="$out"
best=$(sed 's/.*"loss": \([^,]*\),.*"train\/step": \([0-9]*\),.*/\1 \2/' "$out/metrics.jsonl" |
    sort -g | head -n 2 | cut -d ' ' -f 2)
for step in 4 8 9 $best; do printf 'step-%08d.h5\n' $step; done | sort -u > "$WORK/kept-wanted"
[ "$(ls "$out/checkpoints")" = "$(cat "$WORK/kept-wanted")" ] &&
    pass "kept: newest, every fourth, best" ||
    fail "kept: newest, every fourth, best" "$(ls "$out/checkpoints" | tr '\n' ' ')"
finish

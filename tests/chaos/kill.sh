#!/bin/sh
# Whatever dies, whenever: a run of 4 ranks and 12 steps with a checkpoint every 3, under the
# supervisor, ends by itself with the hashes of a run that nothing happened to.
#   tests/chaos/kill.sh N          N kills of a rank at an instant, then N / 12 of each other kind
# SEED picks ranks and instants.
. tests/lib.sh
BUILD=${BUILD:-build}
kills=${1:-12}
others=$(((kills + 11) / 12))
seed=${SEED:-11}
config=tests/bits.cfg
keys="steps=12 checkpoint_every=3 keep_last=9 eval_every=0 deadline=4"
patience=150                # seconds that a run has to end by itself, restarts included

# draw LOW HIGH: a number of LOW .. HIGH - 1 in $drawn
draw()
{
    seed=$((seed * 48271 % 2147483647))
    drawn=$(($1 + seed % ($2 - $1)))
}

# ---- a run, its processes, its end

# begin NAME: a supervised run of that name in the background, from the start
begin()
{
    out=$WORK/$1
    rm -rf "$out"
    again
}

# again: the same line
again()
{
    "$RANKWISE" run -n 4 $config $keys output="$out" >> "$out.said" 2>&1 &
    supervisor=$!
}

# A process that has ended stays a zombie where nobody collects orphans: it is not alive.
alive() { case $(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) in ''|Z*|X*) false ;; esac; }
mpirun_now() { pgrep -P "$supervisor" -x mpirun; }
ranks_now() { mpirun=$(mpirun_now) && pgrep -P "$mpirun" -x rankwise; }
checkpoints() { ls "$out/checkpoints" 2>/dev/null | grep -c '^step-[0-9]*[.]h5$'; }
newest() { ls "$out"/checkpoints/step-*[0-9].h5 | tail -n 1; }
at_least() { [ "$(checkpoints)" -ge "$1" ]; }

# until CONDITION...: fails when the supervisor has ended first
until_() { while ! "$@"; do alive "$supervisor" || return 1; sleep 0.02; done; }

# pause: up to four fifths of the time that the undisturbed run took, in $at
pause()
{
    draw 0 $((whole * 4 / 5))
    at=$drawn
    sleep "$(printf '%d.%02d' $((at / 100)) $((at % 100)))"
}

# pick COUNT: so many ranks that are alive now, in $victims
pick()
{
    victims=
    all=$(ranks_now) || return 1
    set -- "$1" $all
    left=$1; shift
    while [ "$left" -gt 0 ] && [ $# -gt 0 ]; do
        draw 0 $#
        for _ in $(seq $drawn); do set -- "$@" "$1"; shift; done
        victims="$victims $1"
        shift; left=$((left - 1))
    done
    [ -n "$victims" ]
}

# strike SIGNAL COUNT: to so many ranks; counts what it hit
strike()
{
    until_ ranks_now > "$WORK/pids" && pick "$2" && kill -"$1" $victims 2>/dev/null &&
        hits=$((hits + 1))
}

# ends NAME: the run ends by itself, and all of its steps are those of the undisturbed one
ends()
{
    late=0
    scratch=$(scratch)
    while alive $supervisor && [ $late -lt $((patience * 20)) ]; do
        sleep 0.05; late=$((late + 1))
    done
    if alive $supervisor; then
        kill -9 $supervisor
        fail "$1" "still going after $patience s: $(tail -n 4 "$out.said")"
        return
    fi
    wait $supervisor
    code=$?
    if [ $code -ne 0 ]; then
        fail "$1" "exit $code: $(tail -n 4 "$out.said")"
    elif [ "$(hashes "$out")" != "$undisturbed" ]; then
        fail "$1" "other hashes: $("$RANKWISE" diff "$WORK/whole" "$out" 2>&1)"
    elif [ -n "$scratch" ] && [ -e "$scratch" ]; then
        fail "$1" "left behind: $scratch"
    else
        pass "$1"
        rm -rf "$out" "$out.said"
    fi
}

# Where mpirun keeps its files, if it runs.
scratch()
{
    mpirun=$(mpirun_now) &&
        { tr '\0' '\n' < "/proc/$mpirun/environ"; } 2>/dev/null |
        sed -n 's/^OMPI_MCA_orte_tmpdir_base=//p'
}

# hit NAME WANTED: the blows landed on runs that were going
hit()
{
    [ $hits -ge "$2" ] && pass "$1: $hits blows landed" ||
        fail "$1: at least $2 blows land" "$hits did"
    hits=0
}

# surely_then_any I: the first blow falls when a step is done, later ones at any instant
surely_then_any()
{
    at=some
    if [ "$1" -eq 1 ]; then until_ at_least 1; else pause; fi
}

hits=0 whole=$(date +%s%N)
begin whole
wait $supervisor && [ "$(hashes "$out" | wc -l)" -eq 12 ] && pass "undisturbed: 12 steps" ||
    fail "undisturbed: 12 steps" "$(tail -n 3 "$out.said")"
whole=$((($(date +%s%N) - whole) / 10000000))        # hundredths of a second
undisturbed=$(hashes "$out")

# ---- a rank, at any instant

for i in $(seq "$kills"); do
    begin kill
    pause
    strike KILL 1
    ends "kill $i, after $at of $whole hundredths"
done
hit "kills" $((kills / 2))

for i in $(seq $others); do
    begin two
    pause
    strike KILL 2
    ends "two ranks at once $i, after $at of $whole hundredths"
done

# ---- a rank that stops has a name, once all have met

for i in $(seq $others); do
    begin stop
    until_ at_least 1 && strike STOP 1
    ends "stopped $i"
done
hit "two at once and stopped" 1

# ---- the supervisor itself: what it started dies with it, and another one goes on

for i in $(seq $others); do
    begin orphan
    surely_then_any $i
    mpirun=$(mpirun_now); ranks=$(ranks_now)
    [ -z "$ranks" ] || hits=$((hits + 1))
    kill -9 $supervisor 2>/dev/null
    wait $supervisor 2>/dev/null
    tries=0
    for pid in $mpirun $ranks; do
        while alive "$pid" && [ $tries -lt 100 ]; do sleep 0.05; tries=$((tries + 1)); done
    done
    [ $tries -lt 100 ] && pass "supervisor killed $i, after $at hundredths: its ranks are gone" ||
        fail "supervisor killed $i, after $at hundredths: its ranks are gone"
    again
    ends "supervisor killed $i: another one goes on"
done
hit "supervisor" 1

# ---- mpirun: its ranks end within two seconds, and the next start waits for them

for i in $(seq $others); do
    begin mpirun
    surely_then_any $i
    mpirun=$(mpirun_now) && kill -9 "$mpirun" 2>/dev/null && hits=$((hits + 1))
    ends "mpirun killed $i, after $at hundredths"
done
hit "mpirun" 1

# ---- with the journal and no checkpoint: at most the step under way is done again

# lost: steps done twice, by the last line of the metrics; 0 without a restart
lost()
{
    tail -n 1 "$out/metrics.jsonl" |
        sed 's/.*"fault\/lost_steps": \([0-9]*\).*/\1/;t;s/.*/0/'
}
trained() { [ "$(cat "$out/metrics.jsonl" 2>/dev/null | wc -l)" -ge "$1" ]; }

plain=$keys
for i in $(seq $others); do
    for journal in memory disk; do
        keys="$plain checkpoint_every=0 journal=$journal journal_path=$WORK/slots"
        begin journal
        until_ trained 5 && strike KILL 1
        late=0
        while alive $supervisor && [ $late -lt $((patience * 20)) ]; do
            sleep 0.05; late=$((late + 1))
        done
        redone=$(lost)
        restarts=$(grep -c 'the journal has step' "$out.said")
        [ "$redone" -le 1 ] && [ "$restarts" -ge 1 ] &&
            pass "journal = $journal, $i: $redone steps lost" ||
            fail "journal = $journal, $i: at most one step lost" \
                "$redone lost, $restarts records taken: $(tail -n 4 "$out.said")"
        ends "journal = $journal, $i"
        [ -z "$(ls -A "$WORK/slots")" ] && pass "and nothing is left of it" ||
            fail "and nothing is left of it" "$(ls -R "$WORK/slots")"
    done
done
keys=$plain
hits=0

# ---- asked to stop

for signal in INT TERM; do
    begin asked
    until_ at_least 1 && kill -$signal $supervisor
    wait $supervisor
    code=$?
    [ $code -eq 5 ] && [ "$(hashes "$out" | wc -l)" -lt 12 ] &&
        pass "SIG$signal to the supervisor: exit 5" ||
        fail "SIG$signal to the supervisor: exit 5" "exit $code: $(tail -n 3 "$out.said")"
    again
    ends "SIG$signal to the supervisor: the same line goes on"
done

# ---- while a checkpoint is renamed

if [ "${SAN:-0}" = 1 ]; then
    skip "killed during the rename: no preloading before the sanitizers"
else
    for when in before after; do
        touch "$WORK/token"
        export CHAOS_WHEN=$when CHAOS_TOKEN="$WORK/token"
        export LD_PRELOAD="$PWD/$BUILD/tests/chaos/at_rename.so"
        begin rename
        unset LD_PRELOAD
        ends "killed just $when the rename of a checkpoint"
        [ ! -e "$WORK/token" ] && pass "and it was killed there" || fail "and it was killed there"
    done
fi

# ---- the newest checkpoint is damaged while the run is down

for how in cut flip; do
    for i in $(seq $others); do
        begin $how
        if until_ at_least 2 && strike KILL 1; then
            file=$(newest)
            size=$(wc -c < "$file")
            [ $how = cut ] && truncate -s $((size / 2)) "$file" || flip "$file" $((size / 2))
        fi
        ends "newest checkpoint damaged ($how) $i"
    done
done
hit "damaged" 1

# complete NAME: at its end the run has all lines of metrics and samples
complete()
{
    tries=0
    while alive $supervisor && [ $tries -lt 1200 ]; do sleep 0.05; tries=$((tries + 1)); done
    lines=$(cat "$out/metrics.jsonl" "$out/samples.jsonl" | wc -l)
    [ "$lines" -eq 108 ] && pass "$1" || fail "$1" "$lines lines"
}

says() { grep -q "$1" "$out.said"; }

# ---- what is not for the supervisor: somebody's outcome, somebody's file, no mpirun

begin "outcome"
until_ at_least 1
echo '{"exit_code": 0, "step": 3, "reason": ""}' > "$out/outcome.json"
complete "an outcome of no start: the run goes on"
ends "an outcome of no start: the same bits"

rm -rf "$WORK/here"
mkdir "$WORK/here"
echo "no host!" > "$WORK/here/localhost"
out=$WORK/localhost
program=$(realpath "$RANKWISE") file=$(realpath $config)
(cd "$WORK/here" && "$program" run -n 1 "$file" model="$WORK/here/none" output="$out") \
    > "$out.said" 2>&1
[ $? = 1 ] && says "$WORK/here/none" && pass "a file named localhost is no list of hosts" ||
    fail "a file named localhost is no list of hosts" "$(tail -n 2 "$out.said")"

mkdir "$WORK/here/bin"
for tool in sh rm mkdir; do ln -s "$(command -v $tool)" "$WORK/here/bin/"; done
PATH="$WORK/here/bin" "$RANKWISE" run -n 4 $config $keys output="$out" > "$out.said" 2>&1
[ $? = 1 ] && says "cannot find mpirun" && pass "no mpirun: exit code 1" ||
    fail "no mpirun: exit code 1" "$(tail -n 2 "$out.said")"

# Lost while it is to stop: resumed later by the same line.
begin "stopping"
until_ at_least 1
ranks=$(ranks_now)
kill -STOP $(echo $ranks | cut -d' ' -f1)
kill -TERM $supervisor
sleep 0.5
kill -KILL $ranks
wait $supervisor
code=$?
[ $code = 5 ] && says "while it was to stop" && pass "lost while it was to stop: exit code 5" ||
    fail "lost while it was to stop: exit code 5" "exit $code: $(tail -n 3 "$out.said")"
again
ends "lost while it was to stop: it goes on"

# ---- a disk that is full, and then is not

mkdir "$WORK/small"
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=32m tmpfs "$WORK/small" 2>/dev/null; then
    trap 'umount "$WORK/small"; tidy' EXIT
    out=$WORK/small/full
    head -c 30000000 /dev/zero > "$WORK/small/filler"
    again
    tries=0
    while alive $supervisor && [ $tries -lt 600 ]; do sleep 0.05; tries=$((tries + 1)); done
    alive $supervisor && fail "full disk: it ends by itself" || pass "full disk: it ends by itself"
    wait $supervisor
    rm "$WORK/small/filler"
    again
    ends "full disk: with room again it goes on"

    # It fills up in mid-run, and the room returns or does not.  What is said is on another disk.
    for room in back never; do
        rm -rf "$out" "$out.said" "$WORK/small-said"
        ln -s "$WORK/small-said" "$out.said"
        again
        until_ at_least 1
        head -c 40000000 /dev/zero > "$WORK/small/filler" 2>/dev/null
        until_ says "bytes of lines wait for room" &&
            pass "filled, $room: it goes on and says so" ||
            fail "filled, $room: it goes on and says so" "$(tail -n 3 "$out.said")"
        if [ $room = never ]; then
            wait $supervisor
            code=$?
            [ $code -eq 1 ] && says "step 12/12" && pass "filled, never: exit code 1 at the end" ||
                fail "filled, never: exit code 1 at the end" "exit $code: $(tail -n 3 "$out.said")"
        fi
        rm "$WORK/small/filler"
        [ $room = back ] || again
        complete "filled, $room: every line is there"
        ends "filled, $room: with room again it ends"
    done
    said=$(unshare -m sh -c 'mount -t tmpfs -o size=6m tmpfs /dev/shm && exec "$@"' sh "$RANKWISE" \
        run -n 3 $config $keys output="$WORK/shm" steps=3 2>&1)
    [ $? -eq 0 ] && printf '%s' "$said" | grep -q '/dev/shm has [0-9]* MB free, too little' &&
        pass "a small /dev/shm" || fail "a small /dev/shm" "$(printf '%s' "$said" | tail -n 3)"
else
    skip "full disk: needs root and tmpfs"
fi

# ---- a file system that goes read-only in mid-run, and is writable again or not

# read_only COMMAND...: with the run folder at the mercy of $WORK/read-only
read_only()
{
    export LD_PRELOAD="$PWD/$BUILD/tests/chaos/read_only.so"
    export CHAOS_TOKEN="$WORK/read-only" CHAOS_FOLDER="$WORK/$name/"
    "$@"
    unset LD_PRELOAD CHAOS_TOKEN CHAOS_FOLDER
}

if [ "${SAN:-0}" = 1 ]; then
    skip "read-only: no preloading before the sanitizers"
else
    for later in back never; do
        name=read-only-$later
        rm -f "$WORK/read-only"
        read_only begin $name
        until_ at_least 1
        touch "$WORK/read-only"
        until_ says "Read-only file system" && until_ says "bytes of lines wait for room" &&
            pass "read-only, $later: it goes on and says so" ||
            fail "read-only, $later: it goes on and says so" "$(tail -n 3 "$out.said")"
        if [ $later = never ]; then
            wait $supervisor
            code=$?
            [ $code -eq 1 ] && says "step 12/12" &&
                pass "read-only, never: exit code 1 at the end" ||
                fail "read-only, never: exit code 1 at the end" \
                    "exit $code: $(tail -n 3 "$out.said")"
        fi
        rm "$WORK/read-only"
        [ $later = back ] || again
        complete "read-only, $later: every line is there"
        ends "read-only, $later: writable again it ends"
    done
fi

# ---- what an earlier supervisor left, stopped

begin left
until_ at_least 1
strike STOP 4
kill -STOP "$(mpirun_now)"
left="$(mpirun_now) $victims"
kill -9 $supervisor
wait $supervisor 2>/dev/null
again
ends "everything is stopped, the supervisor killed: another one goes on"
stay=
for pid in $left; do ! alive $pid || stay="$stay $pid"; done
[ -z "$stay" ] && pass "and what was stopped is gone" || fail "and what was stopped is gone" "$stay"

# ---- mpirun has no rank on its own host, and its agents have ended: it is no mpirun that hangs

cat > "$WORK/agent" <<'END'
#!/bin/sh
sleep 0.6
shift
exec sh -c "$*"
END
chmod +x "$WORK/agent"
out=$WORK/away
OMPI_MCA_plm_rsh_agent=$WORK/agent OMPI_MCA_plm_rsh_no_tree_spawn=1 "$RANKWISE" run \
    --hosts 127.0.0.2:1 $config output="$out" steps=100000 eval_every=0 checkpoint_every=0 \
    > "$out.said" 2>&1 &
supervisor=$!
until [ -s "$out/metrics.jsonl" ] || ! alive $supervisor; do sleep 0.1; done
sleep 13
kill -TERM $supervisor
wait $supervisor
code=$?
[ $code -eq 5 ] && ! grep -q restart "$out.said" && pass "ranks on another host only: it goes on" ||
    fail "ranks on another host only: it goes on" "exit $code: $(grep -v '^step' "$out.said")"
rm -rf "$out"

# ---- what people do meanwhile: edit the configuration, stop to read the lines

cp $config "$WORK/mine.cfg"
config=$WORK/mine.cfg
begin edited
until_ at_least 1
echo 'output = "elsewhere"; algorithm = "sf' > "$config"
strike KILL 1
ends "the configuration is edited before a restart"
config=tests/bits.cfg

out=$WORK/read
"$RANKWISE" run -n 4 $config $keys output="$out" 2> "$out.said" | head -n 1 > "$out.line"
[ "$(hashes "$out")" = "$undisturbed" ] && ! grep -q restart "$out.said" && [ -s "$out.line" ] &&
    pass "the reader of standard output goes away" ||
    fail "the reader of standard output goes away" "$(tail -n 3 "$out.said")"
finish

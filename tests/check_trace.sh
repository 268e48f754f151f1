#!/bin/sh
# The timeline: roles together and apart, every rank there, spans nest and cover the steps, the same
# bits with it and without, and what a killed run leaves.  `rankwise trace` reads it all back with
# the JSON reader that everything else has.
. tests/lib.sh
keys="steps=6 eval_every=3 checkpoint_every=2 max_new=16"
apart2='ranks=({count=1;roles=["actor","reward"];},{count=1;roles=["learner","refmodel"];})'
apart4='ranks=({count=1;roles=["actor"];},{count=2;roles=["learner"];},
    {count=1;roles=["reward","refmodel"];})'

# names FILE: names of its metrics, those of rewards and times too
names() { tr ',{}' '\n\n\n' < "$1/metrics.jsonl" | sed -n 's/^ *\("[^"]*"\):.*/\1/p' | sort -u; }

# covered REPORT RANKS STEPS: a line for each rank, at least 90 % of its steps in spans, and most of
# each: in a step of some milliseconds another process can take a tenth between two spans
covered() {
    awk -v ranks="$2" -v steps="$3" '
        /^rank / {
            n = $0; sub(/^rank /, "", n); seen[n + 0] = 1
            line = $0; sub(/.*: /, "", line); split(line, w, " ")
            if (w[1] != steps || w[5] < 90 || w[14] < 60) { print; bad = 1 }
        }
        END { for (r = 0; r < ranks; r++) if (!(r in seen)) bad = 1; exit bad }' "$1"
}

# traced NAME RANKS STEPS key=value...: the run, its timeline and what it must not have changed
traced() {
    title=$1 ranks=$2 steps=$3; shift 3
    out=$WORK/$(echo "$title" | tr ' ' '-')
    ok "$title: with a timeline" run "$ranks" tests/bits.cfg $keys trace=true "$@" output="$out"
    ok "$title: it is JSON, and spans nest" sh -c '"$0" trace "$1" > "$1.report"' "$RANKWISE" "$out"
    ok "$title: every rank, 90 % of every step" covered "$out.report" "$ranks" "$steps"
    [ ! -e "$out/trace" ] && pass "$title: the rings are gone" ||
        fail "$title: the rings are gone" "$(ls "$out/trace")"
    [ "$(hashes "$out")" = "$(hashes "$WORK/without")" ] && [ -n "$(hashes "$out")" ] &&
        pass "$title: the same bits" || fail "$title: the same bits"
}

# has FILE WORD...: each is the name of a span in it
has() {
    file=$1; shift
    for word; do
        grep -q "\"name\":\"$word\"" "$file" || { echo "no $word in $file"; return 1; }
    done
}

run 1 tests/bits.cfg $keys output="$WORK/without" > "$WORK/log" 2>&1
[ ! -e "$WORK/without/trace.json" ] && pass "no timeline that nobody wants" ||
    fail "no timeline that nobody wants"
traced "one rank" 1 6
traced "two ranks together" 2 6
traced "four ranks together" 4 6
traced "two ranks apart" 2 6 "$apart2"
traced "four ranks apart" 4 6 "$apart4"
ok "together: what an actor and learner do" has "$WORK/two-ranks-together/trace.json" begin step \
    generate prefill decode reward glad ref_logp update forward backward 'sum gradients' optimizer \
    record checkpoint snapshot 'write checkpoint' eval 'wait for rank [01] (agreement)'
ok "apart: what they send each other, and who waits" has "$WORK/four-ranks-apart/trace.json" send \
    'publish weights' 'receive weights' 'wait for rank 0 (rollout)' 'wait for rank 3 (reward)' \
    'wait for rank [12] (agreement)' 'rank 3 reward+refmodel on [^"]*'
[ "$(grep -c '"name":"ref_logp"' "$WORK/one-rank/trace.json")" -eq 9 ] &&
    pass "six steps and three evaluations ask the reference, greedy responses do not" ||
    fail "six steps and three evaluations ask the reference, greedy responses do not" \
        "$(grep -c '"name":"ref_logp"' "$WORK/one-rank/trace.json") times"
[ "$(names "$WORK/one-rank")" = "$(names "$WORK/without")" ] && pass "the same metrics" ||
    fail "the same metrics"

# ---- some steps only
ok "steps 3 and 4" run 2 tests/bits.cfg $keys trace=true trace_first=3 trace_last=4 \
    output="$WORK/some"
ok "steps 3 and 4: no other" sh -c '"$0" trace "$1" > "$1.report"' "$RANKWISE" "$WORK/some"
ok "steps 3 and 4: both" covered "$WORK/some.report" 2 2
says 1 'trace_first.*trace = true' "trace_first without trace" "$RANKWISE" train tests/bits.cfg \
    $keys trace_first=3 output="$WORK/none"

# ---- killed, and started again
out=$WORK/killed
mpirun -np 2 "$RANKWISE" train tests/bits.cfg $keys steps=1000 trace=true output="$out" \
    > "$WORK/log" 2>&1 &
pid=$!
tries=0
until [ "$(cat "$out/metrics.jsonl" 2>/dev/null | wc -l)" -ge 3 ] || [ $tries -ge 1000 ]; do
    sleep 0.02; tries=$((tries + 1))
done
says 1 'another run is writing' "a run that goes on is left alone" "$RANKWISE" trace "$out"
victims=$(pgrep -P $pid)
kill -9 $pid $victims
wait $pid 2>/dev/null
cp "$out/trace/rank-00000.ring" "$WORK/whole.ring"
ok "killed: the rings have it" sh -c '"$0" trace "$1" > "$1.report"' "$RANKWISE" "$out"
[ "$(grep -c '^rank' "$out.report")" -eq 2 ] && grep -q '"unfinished":true' "$out/trace.json" &&
    pass "killed: both ranks, and what they were in the middle of" ||
    fail "killed: both ranks, and what they were in the middle of" "$(cat "$out.report")"
cp "$out/trace.json" "$WORK/first.json"
done_before=$(cat "$out/metrics.jsonl" | wc -l)
ok "killed: it goes on with a timeline" run 2 tests/bits.cfg $keys trace=true \
    steps=$((done_before + 3)) output="$out"
cmp -s "$out/trace-1.json" "$WORK/first.json" && [ -s "$out/trace.json" ] &&
    pass "killed: that of the first start is still there" ||
    fail "killed: that of the first start is still there" "$(ls "$out")"

# ---- rings that cannot be read are not lost
ring=$out/trace/rank-00000.ring
mkdir "$out/trace"; cp "$WORK/whole.ring" "$ring"
dd if="$WORK/whole.ring" of="$out/trace/rank-00001.ring" bs=100000 count=30 2>/dev/null
ln -s nowhere "$out/trace/rank-00002.ring"
"$RANKWISE" trace "$out" > "$WORK/report" 2> "$WORK/log"
[ $? -eq 0 ] && grep -q '^rank 0' "$WORK/report" && [ "$(wc -l < "$WORK/log")" -eq 2 ] &&
    [ "$(echo $(ls "$out/trace"))" = 'rank-00001.ring rank-00002.ring' ] &&
    pass "one of three rings is whole: joined, the others stay" ||
    fail "one of three rings is whole: joined, the others stay" \
        "$(ls "$out/trace"; cat "$WORK/log")"
rm "$out"/trace*.json
"$RANKWISE" trace "$out" > "$WORK/report" 2> "$WORK/log"
[ $? -eq 1 ] && grep -q 'none of the 2 rings' "$WORK/log" && [ -s "$out/trace/rank-00001.ring" ] &&
    pass "none is whole: said, and they stay" ||
    fail "none is whole: said, and they stay" "$(cat "$WORK/log")"
ok "none is whole: the next start has rings of its own" run 2 tests/bits.cfg $keys trace=true \
    steps=$((done_before + 4)) output="$out"
[ -s "$out/trace.json" ] && [ -s "$out/trace-1/rank-00001.ring" ] && [ ! -e "$out/trace" ] &&
    pass "none is whole: they are in trace-1" ||
    fail "none is whole: they are in trace-1" "$(ls "$out" "$out"/trace*)"

# ---- what is no timeline of ours, or a hostile one
head='{"otherData":{"software":"rankwise"},"traceEvents":['
span() { printf '{"ph":"X","pid":%s,"tid":0,"ts":%s,"dur":%s,"name":"%s"}' "$@"; }
for text in '{}' '[]' 5 '{"traceEvents":5}' '{"traceEvents":[]}' "[$(span 0 0 1 a)]" \
        '{"traceEvents":[{"ph":"B","pid":0,"tid":0,"ts":0,"name":"a"}]}'; do
    echo "$text" > "$WORK/foreign.json"
    says 1 'foreign.json: no timeline of Rankwise' "foreign: $text" \
        "$RANKWISE" trace "$WORK/foreign.json"
done
echo "$head$(span 0 0 1e308 a)]}" > "$WORK/foreign.json"
says 1 'foreign.json: event 0 ' "a time of 309 digits" "$RANKWISE" trace "$WORK/foreign.json"
echo "$head$(span 0 0 5 a),$(span 0 3 5 b)]}" > "$WORK/foreign.json"
says 1 'foreign.json: rank 0: "b" crosses' "spans that cross" "$RANKWISE" trace "$WORK/foreign.json"
printf '%s\n' "$head$(span 0 0 5 step),$(span 0 1 2 '\u001b[2J\n\u007fx')]}" > \
    "$WORK/foreign.json"
[ "$("$RANKWISE" trace "$WORK/foreign.json" | sed -n 's/.* s  //p')" = '?[2J??x' ] &&
    pass "control characters stay out of the terminal" ||
    fail "control characters stay out of the terminal" "$("$RANKWISE" trace "$WORK/foreign.json")"
awk -v head="$head" 'BEGIN { printf "%s{\"ph\":\"M\"}", head
    for (i = 0; i < 100000; i++)
        printf ",{\"ph\":\"X\",\"pid\":%d,\"tid\":0,\"ts\":%d,\"dur\":%s,\"name\":\"%s\"}\n",
            i < 50000 ? 0 : i, i, i ? "1" : "1e6", i ? "name " i : "step"
    print "]}" }' > "$WORK/foreign.json"
ok "50,000 names and 50,000 ranks" timeout 60 "$RANKWISE" trace "$WORK/foreign.json"
mkfifo "$WORK/pipe"
says 1 'pipe is no plain file' "a pipe that nobody writes to" \
    timeout 60 "$RANKWISE" trace "$WORK/pipe"

# ---- a ring that is damaged in one place: the rest of it is in the timeline, the ring stays
mkdir -p "$WORK/damaged/trace"
ring=$WORK/damaged/trace/rank-00000.ring
cp "$WORK/whole.ring" "$ring"
yes | head -c 1500 | dd of="$ring" bs=1 seek=7000 conv=notrunc 2>/dev/null
"$RANKWISE" trace "$WORK/damaged" > "$WORK/report" 2> "$WORK/log"
[ $? -eq 0 ] && grep -q '^rank 0' "$WORK/report" &&
    grep -Eq '[0-9] damaged spans are left out' "$WORK/log" && [ -s "$ring.damaged" ] &&
    pass "a damaged ring" || fail "a damaged ring" "$(cat "$WORK/report" "$WORK/log")"

# ---- clocks of two hosts: a name space of time has one of its own
if unshare -T --monotonic 1000 true 2>/dev/null; then
    set -- train tests/bits.cfg $keys trace=true output="$WORK/clocks"
    ok "another clock" mpirun -np 1 "$RANKWISE" "$@" : \
        -np 1 unshare -T --monotonic 1000 "$RANKWISE" "$@"
    ok "another clock: spans nest" sh -c '"$0" trace "$1" > "$1.report"' "$RANKWISE" "$WORK/clocks"
    grep -Eq 'clock -(999[.]99|1000[.]00)' "$WORK/clocks/trace.json" &&
        pass "another clock: it is known to 10 ms" || fail "another clock: it is known to 10 ms" \
        "$(grep -o 'clock [^;]*' "$WORK/clocks/trace.json")"
    # a step ends on both ranks when they have agreed: 1000 s apart, or together
    spread=$(grep '"name":"step","args":{"step":6}' "$WORK/clocks/trace.json" |
        sed 's/.*"ts":\([0-9.]*\),"dur":\([0-9.]*\),.*/\1 \2/' |
        awk '{ e[NR] = $1 + $2 } END { d = e[1] - e[2]; print NR != 2 ? -1 : d < 0 ? -d : d }')
    awk -v d="$spread" 'BEGIN { exit !(d >= 0 && d < 1e6) }' &&
        pass "another clock: the last step ends on both together" ||
        fail "another clock: the last step ends on both together" "$spread us apart"
else
    skip "another clock"
fi

# ---- what the disk does not take is no reason to end
mkdir -p "$WORK/blocked"; echo > "$WORK/blocked/trace"
ok "a file in its way" run 2 tests/bits.cfg $keys trace=true output="$WORK/blocked"
grep -q 'without a timeline' "$WORK/blocked/log.txt" ||
    printf '%s' "$said" | grep -q 'without a timeline' &&
    pass "a file in its way: said" || fail "a file in its way: said" "$said"
[ "$(hashes "$WORK/blocked")" = "$(hashes "$WORK/without")" ] &&
    pass "a file in its way: trained" || fail "a file in its way: trained"
small() { (ulimit -f 12000; run 1 tests/bits.cfg $keys trace=true output="$WORK/small"); }
ok "no room for a ring" small
printf '%s' "$said" | grep -q 'without a timeline' && [ ! -e "$WORK/small/trace" ] &&
    pass "no room for a ring: no empty folder is left" ||
    fail "no room for a ring: no empty folder is left" "$said $(ls "$WORK/small")"
says 1 'no trace.json' "no timeline" "$RANKWISE" trace "$WORK/without"
finish

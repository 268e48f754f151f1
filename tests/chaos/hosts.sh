#!/bin/sh
# Four hosts (network namespaces of this machine; root needed): one is powered off in mid-run, one
# loses its cable; the run goes on by itself on the three that are left and ends with the hashes of
# a run that nothing happened to.  Then a network that loses packets and is late.
. tests/lib.sh
cluster=$SHARED/cluster/netns-cluster.sh
export NC_NAME=chaos NC_NET=10.87.66
if [ "$(id -u)" != 0 ] || [ ! -f "$cluster" ] || ! bash "$cluster" up 4 >/dev/null 2>&1; then
    [ ! -f "$cluster" ] || bash "$cluster" down >/dev/null 2>&1
    skip "hosts: need root, network namespaces and $cluster"
    finish
fi
trap 'bash "$cluster" down; tidy' EXIT
unset OMPI_MCA_btl_vader_backing_directory          # every host has its own
export OMPI_MCA_plm=rsh OMPI_MCA_plm_rsh_agent=/run/netns-cluster/$NC_NAME/rsh
export OMPI_MCA_plm_rsh_no_tree_spawn=1 OMPI_MCA_pml=ob1 OMPI_MCA_btl=tcp,vader,self
export OMPI_MCA_btl_tcp_if_include=$NC_NET.0/24 OMPI_MCA_oob_tcp_if_include=$NC_NET.0/24
case $RANKWISE in /*) program=$RANKWISE ;; *) program=$PWD/$RANKWISE ;; esac
keys="steps=40 checkpoint_every=3 eval_every=0 deadline=60"
apart='ranks=({count=2;roles=["actor"];},{count=1;roles=["learner"];},'
apart=$apart'{count=1;roles=["reward","refmodel"];})'

# begin NAME: the supervisor on the head of the cluster, in the background
begin()
{
    out=$WORK/$1
    rm -rf "$out"
    bash "$cluster" exec head "$program" run --hosts h1:1,h2:1,h3:1,h4:1 tests/bits.cfg $keys \
        "$apart" output="$out" > "$out.said" 2>&1 &
    pid=$!
}

lines() { cat "$out/metrics.jsonl" 2>/dev/null | wc -l; }
trains_again() { grep -q '"fault/restarts"' "$out/metrics.jsonl"; }

# wait_for CONDITION...: while the supervisor is there
wait_for() { until "$@"; do kill -0 $pid 2>/dev/null || return 1; sleep 0.05; done; }
has_trained() { [ "$(lines)" -ge 8 ]; }

# ends NAME: exit 0, and the hashes of the undisturbed run
ends()
{
    wait $pid
    code=$?
    [ $code -eq 0 ] && [ "$(hashes "$out")" = "$undisturbed" ] && pass "$1: the same hashes" ||
        fail "$1: the same hashes" "exit $code: $(tail -n 4 "$out.said")"
}

# loses NAME COMMAND SECONDS: h3 goes; training again on three within so many seconds
loses()
{
    begin "$2"
    wait_for has_trained
    bash "$cluster" "$2" h3
    lost=$(date +%s%N)
    wait_for trains_again
    took=$((($(date +%s%N) - lost) / 100000000))
    [ $took -le $(($3 * 10)) ] && pass "$1: training again after $took tenths of a second" ||
        fail "$1: training again within $3 s" "after $took tenths of a second"
    ends "$1"
    grep -q 'host h3 was lost' "$out.said" && pass "$1: it has a name" ||
        fail "$1: it has a name" "$(tail -n 4 "$out.said")"
    bash "$cluster" boot h3
    bash "$cluster" heal h3
}

begin whole
wait $pid && [ "$(lines)" -eq 40 ] && pass "undisturbed on four hosts" ||
    fail "undisturbed on four hosts" "$(tail -n 4 "$out.said")"
undisturbed=$(hashes "$out")
loses "power off" crash 10
loses "cable cut" cut 20

# Without checkpoints: what the lost host had done is in the memory of another one.
plain=$keys
keys="$keys checkpoint_every=0 journal=memory"
loses "power off, journal in memory" crash 10
lost=$(tail -n 1 "$out/metrics.jsonl" | sed 's/.*"fault\/lost_steps": \([0-9]*\).*/\1/')
[ "$lost" -le 1 ] && pass "power off, journal in memory: $lost steps lost" ||
    fail "power off, journal in memory: at most one step lost" "$lost"
keys=$plain

keys="$keys steps=6"
undisturbed=$(printf '%s\n' "$undisturbed" | head -n 6)
if bash "$cluster" loss h2 2 2>/dev/null; then
    begin lossy
    ends "2 % of packets lost"
    bash "$cluster" heal h2
else
    skip "2 % of packets lost: needs iptables"
fi
if bash "$cluster" lag h2 20 2>/dev/null; then
    begin late
    ends "20 ms late"
else
    skip "20 ms late: needs cc"
fi

# doctor CODE PATTERN NAME [mpirun's options]: over four hosts, one rank each
doctor()
{
    want=$1 pattern=$2 name=$3; shift 3
    said=$(NC_SLOTS=1 bash "$cluster" run "$@" "$program" doctor "$WORK" 2>&1); code=$?
    [ $code -eq "$want" ] && printf '%s\n' "$said" | grep -Eq -- "$pattern" && pass "$name" ||
        fail "$name" "exit $code, no line like /$pattern/: $said"
}
doctor 1 '^CHANGE +keepalive .* after 303 s' "doctor: a silent host would be noticed late" \
    --mca oob_tcp_keepalive_time 300
doctor 0 '^ok +clock +near rank 0.s: [0-9.e-]+ to ' "doctor: four hosts are fine"
doctor 1 '^CHANGE +clock .*: 10 s \[h3\]' "doctor: one clock is late" -x CHAOS_HOST=h3 \
    -x LD_PRELOAD="$(dirname "$program")/tests/chaos/shift_clock.so"

# The host without a cable kept what was on it until the same run met it again.
keys="$keys steps=40"
begin cut
wait $pid
left=
for h in h1 h2 h3 h4; do left=$left$(bash "$cluster" exec $h ls /dev/shm); done
[ -z "$left" ] && pass "nothing is left on any host" || fail "nothing is left on any host" "$left"
finish

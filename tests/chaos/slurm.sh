#!/bin/sh
# rankwise submit on a Slurm cluster of four nodes (network namespaces of this machine; root
# needed): the time limit comes, a node crashes, loses its cable, the job is cancelled, Slurm has no
# PMIx.  Every job ends by itself with the hashes of a run that nothing happened to.
. tests/lib.sh
cluster=$SHARED/cluster/slurm-sandbox.sh
export NC_NAME=chaosl NC_NET=10.87.67 SB_GPUS=0
if [ "$(id -u)" != 0 ] || [ ! -f "$cluster" ] || ! bash "$cluster" up 4 >/dev/null 2>&1; then
    [ ! -f "$cluster" ] || bash "$cluster" down >/dev/null 2>&1
    skip "slurm: need root, network namespaces and $cluster"
    finish
fi
trap 'bash "$cluster" down; tidy' EXIT
unset OMPI_MCA_btl_vader_backing_directory          # every host has its own
case $RANKWISE in /*) program=$RANKWISE ;; *) program=$PWD/$RANKWISE ;; esac
slurm() { bash "$cluster" "$@"; }
head() { slurm exec "$@"; }

# The run of tests/bits.cfg at a pace that can be changed: a reward that always is 0, but slow.
steps=60
cat > "$WORK/reward" <<'END'
#!/bin/sh
while read -r line; do
    case $line in *'"left":0,'*) sleep "$(cat "$1")" ;; esac
    id=${line#*:}
    echo "{\"id\":${id%%,*},\"score\":0}"
done
END
chmod +x "$WORK/reward"
sed "s|^rewards = (|&{kind=\"process\";name=\"slow\";command=\"$WORK/reward $WORK/pace\";},|" \
    tests/bits.cfg > "$WORK/run.cfg"
pace() { echo "$1" > "$WORK/pace"; }
keys="steps=$steps eval_every=0 checkpoint_every=5 deadline=5"

lines() { cat "$out/metrics.jsonl" 2>/dev/null | wc -l; }
has_trained() { [ "$(lines)" -ge $1 ]; }
is_over() { ! head squeue -h -j "$job" 2>/dev/null | grep -q .; }
restarts() { head scontrol show job "$job" | sed -n 's/.*Restarts=\([0-9]*\).*/\1/p'; }
was_requeued() { [ "$(restarts)" = 1 ]; }
trains_again() { grep -q '"fault/restarts"' "$out/metrics.jsonl"; }

# within SECONDS CONDITION...
within()
{
    end=$(($(date +%s) + $1)); shift
    until "$@"; do [ "$(date +%s)" -lt $end ] || return 1; sleep 0.1; done
}

# begin NAME [options of submit]: a job on all nodes, and six steps of it
begin()
{
    out=$WORK/$1; shift
    pace 0.4
    job=$(head "$program" submit "$WORK/run.cfg" -N 4 $keys output="$out" "$@" 2>&1 |
        sed -n 's/Submitted batch job //p')
    within 60 has_trained 6 || fail "$out: began" "$(said)"
}

said() { grep -v '^step ' "$out"/slurm-*.txt | tail -n 5; }

# ends NAME RESTARTS: the job is over, requeued so often, with the right hashes
ends()
{
    pace 0
    within 120 is_over
    times=$(restarts)
    [ "$(hashes "$out")" = "$undisturbed" ] && [ "$times" = "$2" ] &&
        grep -q '"exit_code": 0' "$out/outcome.json" && pass "$1: the same hashes" ||
        fail "$1: the same hashes" "requeued $times times (want $2): $(said)"
}

# named NAME PATTERN: what the job said of it
named() { grep -Eq "$2" "$out"/slurm-*.txt && pass "$1: it has a name" ||
    fail "$1: it has a name" "$(said)"; }

# again NAME SECONDS [CONDITION]: training again, or what else is meant, within so many
again()
{
    begun=$(date +%s%N)
    within "$2" "${3:-trains_again}" &&
        pass "$1: after $((($(date +%s%N) - begun) / 100000000)) tenths of a second" ||
        fail "$1: within $2 s" "$(said)"
}

out=$WORK/whole
pace 0
run 1 "$WORK/run.cfg" $keys output="$out" >/dev/null 2>&1
undisturbed=$(hashes "$out")
[ "$(lines)" -eq $steps ] && pass "undisturbed on one rank" || fail "undisturbed on one rank"

begin limit --time 2 --before-limit 60
pace 1.5
again "time limit: requeued" 120 was_requeued
ends "time limit" 1
named "time limit" "stopped|asked to stop"

begin crash --no-kill
slurm crash h3
again "node crash, --no-kill: training again" 20
ends "node crash, --no-kill" 0
named "node crash, --no-kill" 'no answer from h3$'
slurm boot h3

begin cut --no-kill deadline=60
slurm net cut h3
again "cable cut, --no-kill: training again" 20
ends "cable cut, --no-kill" 0
named "cable cut, --no-kill" 'restart 1 at step [0-9]+: host h3 was lost'
slurm net crash h3
slurm net heal h3
slurm boot h3

begin requeue
slurm crash h1
again "node crash: requeued" 60 was_requeued
slurm boot h1
ends "node crash, requeued" 1

begin cancel
head scancel "$job"
within 60 is_over
[ "$(lines)" -lt $steps ] && grep -q '"exit_code": 5' "$out/outcome.json" &&
    pass "cancelled: saved" || fail "cancelled: saved" "$(said)"
job=$(head "$program" submit "$WORK/run.cfg" -N 2 $keys output="$out" |
    sed -n 's/Submitted batch job //p')
ends "cancelled, submitted again on two nodes" 0

# A Slurm without PMIx: mpirun in the allocation.
mkdir "$WORK/bin"
cat > "$WORK/bin/srun" <<END
#!/bin/sh
case \$1 in --mpi=list) echo pmi2; exit ;; esac
exec $(command -v srun) "\$@"
END
chmod +x "$WORK/bin/srun"
PATH=$WORK/bin:$PATH
begin mpirun --no-kill
slurm crash h3
again "mpirun, node crash: training again" 20
ends "mpirun, node crash" 0
named "mpirun, node crash" 'restart 1 at step [0-9]+: .*h3'
slurm boot h3

left=
for h in h1 h2 h3 h4; do
    left="$left$(slurm net exec $h ls /dev/shm | sed -n "s/^rankwise/ $h: &/p")"
done
[ -z "$left" ] && pass "nothing is left on any node" || fail "nothing is left on any node" "$left"
finish

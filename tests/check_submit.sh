#!/bin/sh
# rankwise submit: the file it writes, what sbatch gets, and what the job does at its time limit;
# stand-ins for sbatch, srun and scontrol.
. tests/lib.sh
cfg=$WORK/it\'s.cfg out=$WORK/run bin=$WORK/bin
mkdir "$bin"
case $RANKWISE in /*) program=$RANKWISE ;; *) program=$PWD/$RANKWISE ;; esac
cp launch/configs/dpo.cfg "$cfg"
submit() { "$RANKWISE" submit "$cfg" output="$out" "$@"; }
has() { printf '%s\n' "$text" | grep -Fq -- "$2" && pass "$1" || fail "$1" "$text"; }

text=$(submit -N 4 --tasks 2 --time 1:00:00 --partition p --account a --name n --no-kill \
    --sbatch '--mem=8G --qos=high' --dry-run seed=7)
[ "$(printf '%s\n' "$text" | wc -l)" -le 15 ] && pass "at most 15 lines" ||
    fail "at most 15 lines" "$text"
printf '%s\n' "$text" | bash -n && pass "bash reads it" || fail "bash reads it" "$text"
has "nodes and ranks" '--nodes=4 --ntasks-per-node=2 --time=1:00:00 --partition=p --account=a'
has "name and output" "--job-name=n --output=$out/slurm-%j.txt"
has "requeue, signal, no-kill" '#SBATCH --requeue --signal=B:USR1@120 --no-kill'
has "options passed on" '#SBATCH --mem=8G --qos=high'
has "the words, quoted" "it'\\''s.cfg' 'output=$out' 'seed=7' &"
[ ! -e "$out" ] && pass "--dry-run writes nothing" || fail "--dry-run writes nothing"

text=$("$RANKWISE" submit "$cfg" output="$WORK/50% of it" -N 1 --restarts 3 --backoff 0.5 \
    --wait-hosts 60 --dry-run)
has "how it is started again" "run --restarts 3 --backoff 0.5 --wait-hosts 60 '"
has "% and blanks in a folder's name" "--output=\"$WORK/50%% of it/slurm-%j.txt\""
says 1 'not below 0' "restarts below 0" submit -N 1 --restarts -1 --dry-run
says 1 'takes no "' "a quote in a folder's name" "$RANKWISE" submit "$cfg" output='a"b' -N 1 \
    --dry-run

says 1 'learner ranks but reduction_leaves' "more ranks than can learn" submit -N 2 --tasks 16 \
    reduction_leaves=8 --dry-run
(cd "$WORK" && cp it\'s.cfg ./-w.cfg && text=$("$program" submit -N 1 --dry-run -- -w.cfg \
    output="$out") && printf '%s' "$text" | grep -q "run -- '-w.cfg'") &&
    pass "a name that looks like an option" || fail "a name that looks like an option"

says 1 '-N NODES' "no nodes" submit --dry-run
says 1 'partition.*one word' "a partition of two words" submit -N 1 --partition 'a b' --dry-run
says 1 'before-limit' "a signal after the limit" submit -N 1 --before-limit 0 --dry-run
for time in 2 2:00 0:02:00 0-0:2; do
    says 1 "time $time is no longer" "a limit of $time" submit -N 1 --time $time --dry-run
done
for time in 3 2:01 1-0 0 UNLIMITED; do
    ok "a limit of $time" submit -N 1 --time $time --dry-run
done
says 1 'one line' "options on two lines" submit -N 1 --sbatch 'a
b' --dry-run
says 1 'no_such' "an unknown key" submit -N 1 no_such=1 --dry-run
says 1 'no sbatch on this machine' "no sbatch" env PATH="$bin" "$RANKWISE" submit "$cfg" \
    output="$out" -N 1
printf '#!/bin/sh\ncp "$1" %s/got\n' "$WORK" > "$bin/sbatch"
printf '#!/bin/sh\necho "$@" >> %s/requeued\n' "$WORK" > "$bin/scontrol"
chmod +x "$bin/sbatch" "$bin/scontrol"
PATH=$bin:$PATH
submit -N 1 && cmp -s "$WORK/got" "$out/submit.sbatch" && pass "sbatch gets the file" ||
    fail "sbatch gets the file"
printf '#!/bin/sh\nexit 3\n' > "$bin/sbatch"
says 1 'sbatch did not take' "sbatch refuses" submit -N 1

# A run in a job that fails before it has a folder sweeps none.
printf '#!/bin/sh\necho node\n' > "$bin/scontrol"
text=$(SLURM_JOB_ID=1 "$RANKWISE" run "$cfg" no_such=1 2>&1)
[ $? -eq 1 ] && [ "$(printf '%s\n' "$text" | wc -l)" -eq 1 ] && pass "a bad key: one line" ||
    fail "a bad key: one line" "$text"

# What srun gets: a stand-in that writes it down and starts nothing
cat > "$bin/srun" <<END
#!/bin/sh
case "\$*" in
--mpi=list) echo pmix ;;
*train*) echo "\$SRUN_CPUS_PER_TASK \$*" > "$WORK/srun" ;;
esac
END
chmod +x "$bin/srun"
SLURM_JOB_ID=1 SLURM_TASKS_PER_NODE=2 SLURM_CPUS_PER_TASK=3 "$RANKWISE" run --restarts 0 "$cfg" \
    output="$WORK/steps" >/dev/null 2>&1
text=$(cat "$WORK/srun")
has "srun: CPUs of a task, PMIx, node, ranks" "3 --mpi=pmix --kill-on-bad-exit=0 --overlap"
has "srun: one node, two ranks" "-N 1 -w node -n 2 "
rm "$bin/srun"
printf '#!/bin/sh\necho "$@" >> %s/requeued\n' "$WORK" > "$bin/scontrol"

# The job: a stand-in for the run, which ends with CODE at USR1 or TERM
job() {
    { echo '#!/bin/bash'; echo "trap 'exit $1' USR1 TERM; touch $WORK/up"
      echo 'for i in {1..300}; do sleep .1; done'; } > "$bin/program"
    chmod +x "$bin/program"
    rm -f "$WORK/up" "$WORK/requeued"
    sed "s|^'[^']*' run|$bin/program|" "$out/submit.sbatch" > "$WORK/job"
    SLURM_JOB_ID=17 bash "$WORK/job" & pid=$!
    tries=0
    while [ ! -e "$WORK/up" ] && [ $tries -lt 200 ]; do sleep 0.05; tries=$((tries + 1)); done
    kill -"$2" $pid
    wait $pid; code=$?
}
job 5 USR1
[ $code -eq 5 ] && [ "$(cat "$WORK/requeued")" = "requeue 17" ] && pass "time limit: requeued" ||
    fail "time limit: requeued" "exit $code"
job 5 TERM
[ $code -eq 5 ] && [ ! -e "$WORK/requeued" ] && pass "cancelled: not requeued" ||
    fail "cancelled: not requeued" "exit $code"
job 2 USR1
[ $code -eq 2 ] && [ ! -e "$WORK/requeued" ] && pass "failed: not requeued" ||
    fail "failed: not requeued" "exit $code"
finish

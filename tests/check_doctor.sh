#!/bin/sh
# rankwise doctor: fine on one rank and on two; what must change is said, with exit code 1.
. tests/lib.sh

# hears CODE PATTERN NAME COMMAND...: exits with CODE, and a line on stdout matches
hears() {
    want=$1 pattern=$2 what=$3; shift 3
    said=$("$@" 2>/dev/null); code=$?
    if [ $code -eq "$want" ] && printf '%s\n' "$said" | grep -Eq -- "$pattern"; then
        pass "$what"
    else
        fail "$what" "exit $code (want $want), no line like /$pattern/: $said"
    fi
}

# Two ranks of one host say it once.
once() { [ "$("$@" 2>/dev/null | grep -c '^ok *disk ')" -eq 1 ]; }

mkdir "$WORK/run"
export OMPI_MCA_btl_vader_single_copy_mechanism=none
hears 0 '^ok +disk .*: [0-9.e+]+ MB/s' "fine on one rank" "$RANKWISE" doctor "$WORK/run"
hears 0 '^ok +mpi .*FUNNELED' "fine on two ranks" mpirun -np 2 "$RANKWISE" doctor "$WORK/run"
hears 0 '^ok +bf16 .*(vdpbf16ps|cpu-[a-z0-9]+) has the definition.s bits in 10[0-9]{5} products' \
    "products of bf16" "$RANKWISE" doctor "$WORK/run"
ok "no repeats on two ranks" once mpirun -np 2 "$RANKWISE" doctor "$WORK/run"
ok "nothing is left in the folder" rmdir "$WORK/run"

mkdir "$WORK/run"
library=$(cd "${BUILD:-build}/tests" && pwd)/librankwise_cuda.so
gpus() { RANKWISE_CUDA=$library EMULATED_GPUS=$1 "$RANKWISE" doctor "$WORK/run"; }
apart() { EMULATED_PEERS=0 gpus 2; }
unshared() { EMULATED_APART=1 gpus 1; }
hears 0 '^ok +gpu .*GPU 1: emulated GPU, compute capability 9.0, 1.0 GiB$' "two GPUs" gpus 2
hears 0 '^ok +gpu .*CUDA driver 13.0, runtime 13.0; they reach each other' "that are peers" gpus 2
hears 0 '^ok +gpu .*GPU 0 does not reach the memory of GPU 1' "that are none" apart
hears 0 '^ok +gpu .*CUDA driver 13.0, runtime 13.0$' "one GPU" gpus 1
hears 0 '^ok +gpu .*(NCCL [0-9]|no NCCL: ranks exchange over MPI)' "NCCL or none" gpus 1
hears 0 '^ok +gpu .*(cuBLASLt [0-9]|no cuBLASLt)' "cuBLASLt or none" gpus 1
refused() { RANKWISE_NCCL=none RANKWISE_CUBLASLT='' gpus 1; }
hears 0 '^ok +gpu .*no NCCL: ranks exchange over MPI' "NCCL that is left out" refused
hears 0 '^ok +gpu .*no cuBLASLt: own kernels' "cuBLASLt that is left out" refused
hears 0 '^ok +gpu .*GPU 0: .*cannot be used' "a GPU whose memory is apart" unshared
hears 0 '^ok +gpu .*none can be used \(no CUDA-capable device' "no GPU" gpus 0
without() { RANKWISE_CUDA=$WORK/none.so "$RANKWISE" doctor "$WORK/run"; }
hears 0 '^ok +gpu .*none can be used \(.*none.so: cannot open' "no library for GPUs" without
rmdir "$WORK/run"

hears 1 '^CHANGE +disk .*run: no such folder' "a folder that is not there" \
    "$RANKWISE" doctor "$WORK/run"
hears 1 '^CHANGE +disk .*no such folder' "the same on two ranks" \
    mpirun -np 2 "$RANKWISE" doctor "$WORK/run"
says 1 'doctor: 1 line to change' "one line closes it" "$RANKWISE" doctor "$WORK/run"
full() { "$RANKWISE" doctor "$WORK/full" > /dev/full; }
mkdir "$WORK/full"
full 2> "$WORK/log"
[ $? -eq 1 ] && grep -q 'cannot write to standard output' "$WORK/log" &&
    pass "lines that nobody takes" || fail "lines that nobody takes" "$(cat "$WORK/log")"
says 1 'needs one folder' "two folders" "$RANKWISE" doctor a b

mkdir "$WORK/run"
small() { (ulimit -f 2048; trap '' XFSZ; "$RANKWISE" doctor "$WORK/run"); }
hears 1 '^CHANGE +disk .*cannot write and fsync' "a folder without room" small
hears 1 '^CHANGE +limits .*ulimit -f is' "the same, named as a limit" small
few() { (ulimit -n 64; "$RANKWISE" doctor "$WORK/run"); }
hears 1 '^CHANGE +limits .*ulimit -n is 64' "few open files" few
limited() { (ulimit -v 2000000; "$RANKWISE" doctor "$WORK/run"); }
if [ "${SAN:-0}" = 1 ]; then skip "a small ulimit -v (sanitizers need more)"; else
    hears 1 '^CHANGE +memory .*ulimit -v is 2048 MB' "a small ulimit -v" limited
fi
hears 1 '^CHANGE +disk .*cannot make a file' "a folder that takes no file" \
    "$RANKWISE" doctor /proc
finish

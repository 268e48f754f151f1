# What bench.sh and bench-cuda.sh share; they set $out, the file of lines, and $end, in seconds.
export OMPI_MCA_mpi_yield_when_idle=${OMPI_MCA_mpi_yield_when_idle:-1}
export OMPI_MCA_hwloc_base_binding_policy=${OMPI_MCA_hwloc_base_binding_policy:-none}
export OMPI_MCA_rmaps_base_oversubscribe=1
[ "$(id -u)" -ne 0 ] || export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# line COMMAND...: its lines, within the time that is left
failed=0
line() {
    left=$((end - $(date +%s)))
    if [ $left -le 5 ]; then echo "bench: no time left for: $*" >&2; return; fi
    { timeout -k 10 $left "$@"; echo $? > "$out.status"; } | tee -a "$out"
    if [ "$(cat "$out.status")" -eq 0 ]; then return; fi
    if [ "$(date +%s)" -ge $end ]; then echo "bench: the time ended in: $*" >&2; return; fi
    echo "bench: failed: $*" >&2
    failed=1
}

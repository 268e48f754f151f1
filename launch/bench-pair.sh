#!/bin/sh
# Two bench commands in turns, A B A B ..., and the ratio of their tokens a second, B over A: the
# median of the pairs with its spread.  A line that is JSON, like the commands' own.
#   sh launch/bench-pair.sh PAIRS NAME 'COMMAND A' 'COMMAND B'
set -e
pairs=$1 name=$2 a=$3 b=$4
rate() { sh -c "$1" | sed -n 's/.*"tok_s":\([-+.0-9e]*\).*/\1/p' | tail -n 1; }
i=0
while [ $i -lt "$pairs" ]; do
    x=$(rate "$a"); y=$(rate "$b")
    [ -n "$x" ] && [ -n "$y" ] || { echo "bench-pair: no tok_s from: $a / $b" >&2; exit 1; }
    echo "$x $y"
    i=$((i + 1))
done | awk -v name="$name" '
function sorted(v,    i, j, t) {
    for (i = 2; i <= n; i++)
        for (j = i; j > 1 && v[j - 1] > v[j]; j--) { t = v[j]; v[j] = v[j - 1]; v[j - 1] = t }
}
function middle(v) { return (v[int((n + 1) / 2)] + v[int(n / 2) + 1]) / 2 }
{ n++; a[n] = $1; b[n] = $2; r[n] = $2 / $1 }
END {
    if (n == 0) exit 1
    sorted(a); sorted(b); sorted(r)
    printf "{\"bench\":\"%s\",\"pairs\":%d,\"tok_s_a\":%.5g,\"tok_s_b\":%.5g,", name, n, \
        middle(a), middle(b)
    printf "\"ratio\":%.4g,\"ratio_min\":%.4g,\"ratio_max\":%.4g}\n", middle(r), r[1], r[n]
}'

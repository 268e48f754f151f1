#!/bin/sh
# generate --rps: the best of several samples by the rewards of a configuration, each sampled behind
# a text that says its direction.
. tests/lib.sh
demo=launch/demo/model held=launch/demo/held-out.jsonl
text='Tom had a red ball.' say='Glad {glad}, length {length}. '

rps() { "$RANKWISE" generate $demo --rps tests/bits.cfg --max-new 40 --json "$@"; }
ids() { sed 's/.*"ids":\(\[[^]]*\]\),"text".*/\1/'; }
# numbers KEY: glad and length of an object
numbers() { sed "s/.*\"$1\":{\"glad\":\([-0-9.e]*\),\"length\":\([-0-9.e]*\)}.*/\1 \2/"; }
# same NAME A B: the same text, and there is some
same() { [ -n "$2" ] && [ "$2" = "$3" ] && pass "$1" || fail "$1" "$2 / $3"; }

# without a prefix: the longest (happiest) of what generate samples with the same seed
"$RANKWISE" generate $demo --prompts $held --n 5 --seed 3 --json --max-new 40 > "$WORK/all"
# best LETTER: of each five lines the first that is longest, or has the most of the words
best() {
    awk -v by="$1" '
        BEGIN { n = split("happy smiled laughed fun hug proud", word, " ") }
        { a = $0; sub(/.*"ids":\[/, "", a); sub(/\].*/, "", a); x = split(a, t, ",")
          b = $0; sub(/.*"text":"/, "", b); sub(/","logprobs.*/, "", b)
          if (by == "glad") {
              gsub(/\\n/, " ", b); gsub(/[^A-Za-z]+/, " ", b); b = " " tolower(b) " "
              for (x = i = 0; ++i <= n;) x += index(b, " " word[i] " ") > 0
              x = x > 4 ? 4 : x
          } }
        NR % 5 == 1 || x > most { most = x; line = $0 }
        NR % 5 == 0 { print line }' "$WORK/all" | sed 's/}$//'
}
for by in glad length; do
    target=1,0
    [ $by = length ] && target=0,1
    rps --prompts $held --seed 3 --target $target > "$WORK/$by"
    same "the best of five: $by" "$(best $by)" "$(sed 's/,"rewards":{.*//' "$WORK/$by")"
done
same "the target is the direction of all" "0 1" "$(numbers direction < "$WORK/length" | sort -u)"
same "other prompts in the file change nothing" "$(head -n 3 "$WORK/glad")" "$(
    head -n 3 $held > "$WORK/three"; rps --prompts "$WORK/three" --seed 3 --target 1,0)"
cat > "$WORK/length.sh" <<'END'
sed -u 's/.*"id":\([0-9]*\),.*"tokens":\([0-9]*\).*/{"id":\1,"score":\2}/'
END
same "a program that says the length chooses the same" "$(ids < "$WORK/length")" \
    "$(rps --prompts $held --seed 3 \
        rewards="({kind=\"process\"; command=\"sh $WORK/length.sh\";})" | ids)"

# with a prefix: directions within the angle, the score is that of the target
rps --prompts $held --seed 3 --target 3,4 --prefix "$say" > "$WORK/said"
same "the same seed, the same lines" "$(cat "$WORK/said")" \
    "$(rps --prompts $held --seed 3 --target 3,4 --prefix "$say")"
[ "$(ids < "$WORK/said")" != \
    "$(rps --prompts $held --seed 4 --target 3,4 --prefix "$say" | ids)" ] &&
    pass "another seed, others" || fail "another seed, others"
[ "$(numbers direction < "$WORK/said" | sort -u | wc -l)" -eq 100 ] &&
    pass "each prompt has its own directions" || fail "each prompt has its own directions"
numbers direction < "$WORK/said" | awk '
    { c = 0.6 * $1 + 0.8 * $2; n = $1 * $1 + $2 * $2; wide += c < 0.97
      if (c < 0.8660254 || n < 1 - 1e-12 || n > 1 + 1e-12) bad++ }
    END { exit !(NR == 100 && !bad && wide > 10) }' &&
    pass "directions within 30 degrees" || fail "directions within 30 degrees"
sed 's/.*"rewards":{"glad":\([^,]*\),"length":\([^}]*\)},"score":\([^,]*\),.*/\1 \2 \3/' \
    "$WORK/said" | awk '
    { d = 0.6 * $1 + 0.8 * $2 - $3; if (d > 1e-9 || d < -1e-9) bad++ }
    END { exit !(NR == 100 && !bad) }' &&
    pass "scores are those of the target" || fail "scores are those of the target"

# what the model was given is the text with the direction, to the bit; what is printed is without
row=$(rps --prompt "$text" --target 3,4 --prefix "$say")
said=$(echo "$row" | numbers direction | awk '{ printf "Glad %.2f, length %.2f. ", $1, $2 }')
list() { echo "[$("$RANKWISE" tokenize $demo | tr ' ' ',')]"; }
printf '{"prompt_ids":%s,"completion_ids":%s}\n' \
    "$(echo "$said$text" | list)" "$(echo "$row" | ids)" > "$WORK/score.jsonl"
same "the model hears the direction" "$(echo "$row" | sed 's/.*"logprobs":\(\[[^]]*\]\).*/\1/')" \
    "$("$RANKWISE" score $demo --data "$WORK/score.jsonl" |
        sed 's/.*"logprobs":\(\[[^]]*\]\).*/\1/')"
same "the prompt is printed as it was" "$(echo "$text" | list)" \
    "$(echo "$row" | sed 's/.*"prompt_ids":\(\[[^]]*\]\).*/\1/')"
same "standard input, no JSON" "$(echo "$row" | sed 's/.*"text":"\(.*\)","logprobs.*/\1/')" \
    "$(echo "$text" | "$RANKWISE" generate $demo --rps tests/bits.cfg --max-new 40 --target 3,4 \
        --prefix "$say" | sed "s/^$text *//")"
ok "the model judges its own answers" rps --prompt "$text" \
    'rewards=({kind="judge"; name="own";})'

# bad input
wrong() { pattern=$1 what=$2; shift 2; says 1 "$pattern" "$what" rps --prompt Tom "$@"; }
wrong '"1": expected 2 numbers' "fewer numbers than rewards" --target 1
wrong '"1,2,3": expected 2 numbers' "more numbers than rewards" --target 1,2,3
wrong '--target: no direction' "a target of zeros" --target 0,0
wrong 'the weights of the rewards are all 0' "weights of 0" \
    'rewards=({kind="length"; weight=0;})'
wrong '--angle: from 0 to 180 degrees' "an angle below 0" --angle -1
wrong '--angle: from 0 to 180 degrees' "an angle that is too wide" --angle 181
wrong 'write \{glad\} where' "a prefix without a direction" --prefix "Be {happy}. "
wrong '--prompt:1: the prompt behind --prefix has [0-9]* tokens' "a prefix that is too long" \
    --prefix "{glad} $(head -c 2000 README.md)"
wrong 'osp.judge = "current"' "a judge that is not there" osp.judge=frozen \
    'rewards=({kind="judge"; name="own";})'
printf '{"prompt":"Tom"}\n{"prompt_ids":[4]}\n' > "$WORK/ids.jsonl"
says 1 'ids.jsonl:2: the line has prompt_ids' "ids behind a text" \
    rps --prompts "$WORK/ids.jsonl" --prefix "$say"
says 1 "sft.cfg: missing key 'rewards'" "no rewards" \
    "$RANKWISE" generate $demo --prompt Tom --rps launch/configs/sft.cfg
says 1 'need --rps CONFIG' "a target of nothing" "$RANKWISE" generate $demo --prompt Tom --target 1
says 1 'generate needs one MODEL' "keys without --rps" \
    "$RANKWISE" generate $demo seed=3 --prompt Tom
rps --prompt Tom rewards='({kind="process"; command="head -c 1"; retries=0;})' > "$WORK/none" \
    2> "$WORK/told"
[ $? -eq 4 ] && [ ! -s "$WORK/none" ] &&
    grep -qe '--prompt:1: none of the 5 responses has all its scores' "$WORK/told" &&
    pass "no response has a score" || fail "no response has a score"
finish

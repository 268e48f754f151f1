# The table and the picture of launch/pareto.sh.  Lines: rule, weight, seed, x0 y0 kl0 (before), x y
# kl (after), seconds.  Larger is better for both objectives.
#
# Hypervolume: the box reaches from a tenth of the range below the worst value of any run, before and
# after, to the best; of its area, the share that the points of a rule's runs of one seed dominate.

{
    if (!($1 in known)) { known[$1] = 1; rule[++rules] = $1 }
    if (!($2 in weighed)) { weighed[$2] = 1; weight[++weights] = $2 }
    if (!($3 in seen)) { seen[$3] = 1; seed[++seeds] = $3 }
    put("x", $1, $2, $3, $7); put("y", $1, $2, $3, $8); put("kl", $1, $2, $3, $9)
    start_x += $4; start_y += $5; seconds += $10
    range($4, $5); range($7, $8)
}

END {
    start_x /= NR; start_y /= NR
    floor_x = low_x - (high_x > low_x ? (high_x - low_x) / 10 : 1)
    floor_y = low_y - (high_y > low_y ? (high_y - low_y) / 10 : 1)
    if (what == "table") table(); else picture()
}

function put(what, r, w, s, v) { value[what, r, w, s] = v }

function range(x, y) {
    if (!ranged || x < low_x) low_x = x
    if (!ranged || x > high_x) high_x = x
    if (!ranged || y < low_y) low_y = y
    if (!ranged || y > high_y) high_y = y
    ranged = 1
}

# Mean over seeds into `mean`, standard deviation (n - 1) into `spread`.
function over_seeds(what, r, w,    i, sum, squares) {
    for (i = 1; i <= seeds; i++) sum += value[what, r, w, seed[i]]
    mean = sum / seeds
    for (i = 1; i <= seeds; i++) squares += (value[what, r, w, seed[i]] - mean) ^ 2
    spread = seeds > 1 ? sqrt(squares / (seeds - 1)) : 0
}

function shown(what, r, w) {
    over_seeds(what, r, w)
    return seeds > 1 ? sprintf("%.3f ± %.3f", mean, spread) : sprintf("%.3f", mean)
}

# The share of the box that the runs of rule r and seed s dominate.
function volume(r, s,    i, j, x, y, t, top, area) {
    for (i = 1; i <= weights; i++) {
        x[i] = (value["x", r, weight[i], s] - floor_x) / (high_x - floor_x)
        y[i] = (value["y", r, weight[i], s] - floor_y) / (high_y - floor_y)
    }
    for (i = 2; i <= weights; i++)              # by x, largest first
        for (j = i; j > 1 && x[j] > x[j - 1]; j--) {
            t = x[j]; x[j] = x[j - 1]; x[j - 1] = t
            t = y[j]; y[j] = y[j - 1]; y[j - 1] = t
        }
    top = area = 0
    for (i = 1; i <= weights; i++)
        if (y[i] > top) { area += x[i] * (y[i] - top); top = y[i] }
    return area
}

function table(    i, j, r) {
    printf "Before: %s %.3f, %s %.3f. Held-out samples, %d seeds; larger is better.\n\n", first,
        start_x, second, start_y, seeds
    printf "| rule | weight of %s | %s | %s | KL (nats) |\n|---|---|---|---|---|\n", first, first,
        second
    for (i = 1; i <= rules; i++)
        for (j = 1; j <= weights; j++) {
            r = rule[i]
            printf "| %s | %s | %s | %s | %s |\n", r, weight[j], shown("x", r, weight[j]),
                shown("y", r, weight[j]), shown("kl", r, weight[j])
        }
    printf "\nHypervolume: the share of the box %s %.3f to %.3f, %s %.3f to %.3f", first, floor_x,
        high_x, second, floor_y, high_y
    printf " that the %d points of a seed dominate.\n\n| rule | hypervolume |\n|---|---|\n", weights
    for (i = 1; i <= rules; i++) {
        for (j = 1; j <= seeds; j++)
            put("volume", rule[i], "", seed[j], volume(rule[i], seed[j]))
        printf "| %s | %s |\n", rule[i], shown("volume", rule[i], "")
    }
    printf "\n%d runs, %.0f s each.\n", NR, seconds / NR
}

# ---- the picture: means over seeds with their spread, a line a rule in the order of the weights

function px(x) { return 70 + 520 * (x - box_x) / (end_x - box_x) }
function py(y) { return 410 - 370 * (y - box_y) / (end_y - box_y) }

function ticks(    i, x, y) {
    for (i = 0; i <= 5; i++) {
        x = box_x + i * (end_x - box_x) / 5
        y = box_y + i * (end_y - box_y) / 5
        printf "<path d=\"M%.1f 40V410M70 %.1fH590\" stroke=\"#ddd\"/>\n", px(x), py(y)
        printf "<text x=\"%.1f\" y=\"426\" text-anchor=\"middle\">%.2f</text>\n", px(x), x
        printf "<text x=\"64\" y=\"%.1f\" text-anchor=\"end\">%.2f</text>\n", py(y) + 4, y
    }
    printf "<text x=\"330\" y=\"446\" text-anchor=\"middle\">%s</text>\n", first
    printf "<text transform=\"translate(18 225) rotate(-90)\" text-anchor=\"middle\">%s</text>\n",
        second
}

function cross(x, y) {
    printf "<path d=\"M%.1f %.1fm-5 -5l10 10m0 -10l-10 10\" stroke=\"black\"", x, y
    print " stroke-width=\"2\"/>"
}

function curve(r, color,    j, x, y, line, dx) {
    for (j = 1; j <= weights; j++) {
        over_seeds("x", r, weight[j]); x = mean; dx = spread
        over_seeds("y", r, weight[j]); y = mean
        line = line sprintf("%.1f,%.1f ", px(x), py(y))
        printf "<path d=\"M%.1f %.1fH%.1fM%.1f %.1fV%.1f\" stroke=\"%s\" opacity=\"0.4\"/>\n",
            px(x - dx), py(y), px(x + dx), px(x), py(y - spread), py(y + spread), color
        printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"><title>%s, weight %s</title>", px(x),
            py(y), color, r, weight[j]
        print "</circle>"
    }
    printf "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\"/>\n", line, color
}

function picture(    i, margin_x, margin_y, colors, color) {
    split("#0072b2 #d55e00 #009e73 #cc79a7 #e69f00 #56b4e9", colors, " ")
    margin_x = (high_x > low_x ? high_x - low_x : 1) / 20
    margin_y = (high_y > low_y ? high_y - low_y : 1) / 20
    box_x = low_x - margin_x; end_x = high_x + margin_x
    box_y = low_y - margin_y; end_y = high_y + margin_y
    print "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 620 460\"" \
        " font-family=\"sans-serif\" font-size=\"11\">"
    print "<rect width=\"620\" height=\"460\" fill=\"white\"/>"
    ticks()
    cross(px(start_x), py(start_y))
    for (i = 1; i <= rules; i++) {
        color = colors[(i - 1) % 6 + 1]
        curve(rule[i], color)
        printf "<circle cx=\"%d\" cy=\"24\" r=\"4\" fill=\"%s\"/>", 100 * i - 20, color
        printf "<text x=\"%d\" y=\"28\">%s</text>\n", 100 * i - 10, rule[i]
    }
    cross(100 * rules + 80, 24)
    printf "<text x=\"%d\" y=\"28\">before</text>\n</svg>\n", 100 * rules + 90
}

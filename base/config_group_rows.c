/* The keys of a group of `rewards` and of `ranks`. */
#include "base/config_rows.h"

#include "base/config_row_kinds.h"

#define AT(field) offsetof(struct config_reward, field)
const struct row config_reward_rows[] = {
    WORD("kind", kind, "", NULL, ROW_FIXED,
         "words, length, regex, math_answer, instruction, r3, plugin, process, http, model, judge"),
    { "name", ROW_STRING, AT(name), "", 0, 0, NULL, ROW_FIXED, "in metric names", "kind" },
    REAL("weight", weight, "1", -1e9, 1e9, ROW_FIXED, "factor of this score in the sum"),
    LIST("words", ROW_STRINGS, words, ROW_FIXED,
         "words: score is the number of different ones that occur", NULL),
    INT("cap", cap, "0", 0, MANY, ROW_FIXED, "words, regex: count at most this many; 0: no cap"),
    WORD("pattern", pattern, "", NULL, ROW_FIXED,
         "regex: POSIX extended; score is the number of matches"),
    WORD("unit", unit, "tokens", "tokens characters words", ROW_FIXED, "length: what is counted"),
    REAL("target", target, "-1", -1, 1e9, ROW_FIXED,
         "length: score is -|length - target|; below 0: the length itself"),
    WORD("column", column, "strength", "strength bias", ROW_FIXED,
         "judge: the verdict on the response, or how much slot A is favoured"),
    WORD("field", field, "answer", NULL, ROW_FIXED,
         "math_answer, r3: where the prompt's line has the right answer"),
    WORD("count", count, "share", "share all", ROW_FIXED,
         "instruction: the share of the instructions that is followed, or 1 only for all"),
    REAL("max_len", max_len, "512", 1, MANY, ROW_FIXED,
         "r3: tokens of a long response, for prompts with an answer"),
    WORD("path", path, "", NULL, ROW_FIXED, "plugin: the shared object"),
    WORD("settings", settings, "", NULL, ROW_FIXED, "plugin: any text, given to its open()"),
    WORD("command", command, "", NULL, ROW_FIXED,
         "process: a command for /bin/sh that reads and writes lines of JSON"),
    LIST("servers", ROW_STRINGS, servers, 0, "http: URLs, each asked in turn", NULL),
    INT("batch", batch, "16", 1, MANY, 0, "http: responses in a request, at most"),
    INT("retries", retries, "3", 0, 1000, 0,
        "process: restarts in a step; http: repeats of a request that failed"),
    REAL("timeout", timeout, "60", 0.01, 1e7, 0,
         "seconds; process: for the scores of a step, http: for a request"),
    WORD("model", model, "", NULL, ROW_FIXED,
         "model: a reward model's folder, checkpoint or run"),
    INT("head", head, "0", 0, MANY, ROW_FIXED, "model: which of its scores"),
    INT("user", user, "-1", -1, MANY, ROW_FIXED, "model, of pal: whose reward; -1: the mean"),
    BOOL("calibrated", calibrated, "false", ROW_FIXED,
         "model: divided by the temperature that was fitted on held-out pairs"),
    LIST("contexts", ROW_STRINGS, contexts, ROW_FIXED,
         "model: texts before the prompt; the score is the chance to beat the other responses",
         NULL),
    { "context_weights", ROW_REALS, AT(context_weights), "", 0, 1e9, NULL, ROW_FIXED,
      "model: what each context counts", "all the same" },
    { "clip", ROW_REALS, AT(clip), "", -1e30, 1e30, NULL, ROW_FIXED,
      "[low, high]: bounds of the score, after normalise and before weight", "no bounds" },
    WORD("normalise", normalise, "none", "none running fixed", ROW_FIXED,
         "(score - mean) / std: of all scores so far, or the fixed ones below"),
    REAL("mean", mean, "0", -1e30, 1e30, ROW_FIXED, "normalise = \"fixed\": the mean"),
    REAL("std", std, "1", 1e-30, 1e30, ROW_FIXED, "normalise = \"fixed\": the standard deviation"),
    WORD("on_failure", on_failure, "skip", "skip error", ROW_FIXED,
         "a score that does not come or is not finite: leave the response out, or end the run"),
    { 0 },
};

#undef AT
#define AT(field) offsetof(struct config_ranks, field)
const struct row config_ranks_rows[] = {
    INT("count", count, "1", 1, MANY, 0, "this many ranks, the next ones in order"),
    LIST("roles", ROW_ROLES, roles, 0, "of actor, learner, reward, refmodel", NULL),
    { 0 },
};

/* The actor: which token is drawn, and where a row ends. */
#include <math.h>

#include "tests/rollouts.h"

static void test_greedy_takes_the_most_likely_token(void **state)
{
    enum { PROMPT = 33, MADE = 6 };
    static float logits[V];
    struct actor_settings set = settings();
    struct actor *actor;
    struct cache *cache;
    struct held h;

    (void)state;
    set.n_eos = 0;
    set.max_new = MADE;
    assert_ok(actor_create(&actor, model, &set));
    actor_set_temperature(actor, 0);
    prompts_make(&h, 3, 1, 2);
    assert_ok(actor_fill(actor, &h.b, PURPOSE_EVAL, 0));
    assert_ok(cache_create(&cache, model, 4, 1, 64));
    int table[4], zero = 0;
    for (int i = 0; i < 4; i++)
        table[i] = cache_page(cache);
    for (int n = PROMPT; n < PROMPT + MADE; n++) {      /* every prefix from nothing */
        int start[2] = {0, n}, best = 0;
        struct extend rows = {1, start, &zero, table, 4};
        assert_ok(model_extend(cache, h.b.tokens, &rows, logits));
        for (int v = 1; v < V; v++)
            best = logits[v] > logits[best] ? v : best;
        assert_int_equal(h.b.tokens[n], best);
        assert_int_equal(h.b.tokens[h.b.start[1] + n], best);
    }
    cache_destroy(cache);
    actor_destroy(actor);
    drop(&h);
}

/* Greedy with a penalty, by its definition; the log-probabilities are those of the model. */
static void test_a_repetition_penalty_lowers_what_is_there(void **state)
{
    enum { MADE = 24 };
    static float logits[V];
    struct actor_settings set = settings();
    struct actor *actor;
    struct cache *cache;
    struct held h;

    (void)state;
    set.n_eos = 0;
    set.max_new = MADE;
    set.repetition_penalty = 1.5f;
    assert_ok(actor_create(&actor, model, &set));
    actor_set_temperature(actor, 0);
    prompts_make(&h, 3, 1, 2);
    int prompt = h.b.start[1];
    assert_ok(actor_fill(actor, &h.b, PURPOSE_EVAL, 0));
    assert_ok(cache_create(&cache, model, 8, 1, 256));
    int table[8], zero = 0;
    for (int i = 0; i < 8; i++)
        table[i] = cache_page(cache);
    for (int n = prompt; n < prompt + MADE; n++) {      /* every prefix from nothing */
        int start[2] = {0, n}, best = 0;
        bool there[V] = {false};
        struct extend rows = {1, start, &zero, table, 8};
        double sum = 0;
        assert_ok(model_extend(cache, h.b.tokens, &rows, logits));
        for (int v = 0; v < V; v++)
            sum += exp(logits[v]);
        assert_true(fabs(h.b.actor_logp[n] - (logits[h.b.tokens[n]] - log(sum))) < 1e-4);
        for (int i = 0; i < n; i++)
            there[h.b.tokens[i]] = true;
        for (int v = 0; v < V; v++)
            if (there[v])
                logits[v] = logits[v] > 0 ? logits[v] / 1.5f : logits[v] * 1.5f;
        for (int v = 1; v < V; v++)
            best = logits[v] > logits[best] ? v : best;
        assert_int_equal(h.b.tokens[n], best);
        assert_int_equal(h.b.tokens[h.b.start[1] + n], best);
    }
    cache_destroy(cache);
    memory_close(&h.memory);
    actor_destroy(actor);
}

static void test_a_row_ends_with_the_context(void **state)
{
    struct actor_settings set = settings();
    struct held h;

    (void)state;
    set.n_eos = 0;
    set.max_new = CONTEXT - 128;        /* just enough for 128, too much for 200 */
    set.rows_at_once = 2;
    fill_with(&h, &set, 5, 2);
    for (int row = 0; row < h.b.N; row++) {
        assert_int_equal(h.b.start[row + 1] - h.b.start[row], CONTEXT);
        assert_int_equal(h.b.finish[row], FINISH_LENGTH);
    }
    drop(&h);
    set.max_new = 0;                    /* nothing to make is no mistake */
    fill_with(&h, &set, 0, 2);
    assert_int_equal(h.b.T, 3 * (1 + 31));
    assert_int_equal(h.b.finish[5], FINISH_LENGTH);
    drop(&h);
}

/* Token i says one of a few syllables. */
static const char *syllable(int id)
{
    static const char *const said[] = { "a", "b", "ab", "ba", "c", "bca", "\\n" };

    return said[id % 7];
}

static struct tokenizer *syllables(void)
{
    struct text text = { 0 };
    struct tokenizer *t;

    text_adds(&text, "{\"decoder\":{\"type\":\"Sequence\",\"decoders\":[");
    for (int i = 0; i < 10; i++)        /* names need to differ: digits have no text */
        text_addf(&text, "{\"type\":\"Replace\",\"pattern\":{\"String\":\"%d\"},"
                  "\"content\":\"\"},", i);
    text_adds(&text, "{\"type\":\"Fuse\"}]},\"model\":{\"type\":\"BPE\",\"merges\":[],"
              "\"vocab\":{");
    for (int i = 0; i < V; i++)
        text_addf(&text, "%s\"%s%d\":%d", i ? "," : "", syllable(i), i, i);
    text_adds(&text, "}}}");
    assert_ok(tokenizer_parse(&t, text.data, text.size, "syllables"));
    text_free(&text);
    return t;
}

/* Tokens of a response up to where its text first holds a string; 0: it never does. */
static int stops_at(char *const *strings, int count, const int *ids, int n)
{
    char said[256] = "";

    for (int i = 0; i < n; i++) {
        strcat(said, ids[i] % 7 == 6 ? "\n" : syllable(ids[i]));
        for (int k = 0; k < count; k++)
            if (strstr(said, strings[k]))
                return i + 1;
    }
    return 0;
}

/* The rows without stop strings, cut: whatever is decoded at once. */
static void test_a_stop_string_ends_a_row(void **state)
{
    static char *strings[] = { "cab", "abcab", "\nba" };
    struct tokenizer *t = syllables();
    struct actor_settings set = settings();
    struct held whole, cut;
    int ended[4] = { 0 };

    (void)state;
    set.max_new = 12;
    fill_with(&whole, &set, 0, GROUPS);
    assert_ok(stop_strings_open(&set.stop, t, strings, 3, "stop"));
    for (int rows = 1; rows <= 32; rows *= 4) {
        set.rows_at_once = rows;
        fill_with(&cut, &set, 0, GROUPS);
        for (int row = 0; row < ROWS; row++) {
            int from = whole.b.start[row], prompt = lengths[row / SAMPLES];
            int n = whole.b.start[row + 1] - from - prompt, finish = whole.b.finish[row];
            const int *ids = whole.b.tokens + from + prompt;
            int at = stops_at(strings, 3, ids, n - (finish == FINISH_EOS));
            if (at > 0)
                n = at, finish = FINISH_STOP;
            assert_int_equal(cut.b.finish[row], finish);
            assert_int_equal(cut.b.start[row + 1] - cut.b.start[row], prompt + n);
            assert_memory_equal(cut.b.tokens + cut.b.start[row], whole.b.tokens + from,
                                (size_t)(prompt + n) * sizeof(int));
            ended[finish]++;
        }
        drop(&cut);
    }
    assert_true(ended[FINISH_EOS] > 0 && ended[FINISH_STOP] > 0 && ended[FINISH_LENGTH] > 0);
    stop_strings_close(set.stop);
    tokenizer_close(t);
    drop(&whole);
}

/* Ids that end rows are one list, whoever names them. */
static void test_a_stop_token_ends_a_row_as_eos_does(void **state)
{
    struct actor_settings set = settings();
    struct held h, other;

    (void)state;
    fill_with(&h, &set, 0, GROUPS);
    set.stop_tokens = set.eos + 5;
    set.n_stop_tokens = set.n_eos - 5;
    set.n_eos = 5;
    fill_with(&other, &set, 0, GROUPS);
    assert_same_rows(&h.b, &other.b, 0);
    drop(&h);
    drop(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy_takes_the_most_likely_token),
        cmocka_unit_test(test_a_repetition_penalty_lowers_what_is_there),
        cmocka_unit_test(test_a_row_ends_with_the_context),
        cmocka_unit_test(test_a_stop_string_ends_a_row),
        cmocka_unit_test(test_a_stop_token_ends_a_row_as_eos_does),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}

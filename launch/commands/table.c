/* commands[]: one row a command. */
#include "launch/commands/commands.h"

const struct command commands[] = {
    { "train", "CONFIG [key=value ...] [--fresh]",
      "under mpirun or srun; the same line starts and resumes", command_train, help_train },
    { "run", "-n RANKS CONFIG [key=value ...]", "training, started again after every loss",
      command_run, help_run },
    { "eval", "CONFIG [key=value ...] [--model MODEL] [--json]",
      "rewards, KL, win rate, ranking, perplexity on held-out data", command_eval, help_eval },
    { "plan", "CONFIG -n RANKS [key=value ...]", "rank -> roles, bytes per rank, messages per step",
      command_plan, help_plan },
    { "generate", "MODEL [--prompt TEXT | --prompts FILE]", "completions of prompts",
      command_generate, help_generate },
    { "score", "MODEL --data FILE.jsonl [--top K]", "log-probabilities per token, as JSONL",
      command_score, help_score },
    { "label", "CONFIG --samples FILE.jsonl", "samples -> pairs, lists or singles, by rewards",
      command_label, help_label },
    { "tokenize", "MODEL [--decode] [--jsonl]", "stdin -> ids, and back", command_tokenize,
      help_tokenize },
    { "export", "RUN|CHECKPOINT --hf DIR", "config.json, safetensors, tokenizer", command_export,
      help_export },
    { "inspect", "CHECKPOINT", "what is in it, and whether its checksums hold", command_inspect,
      NULL },
    { "diff", "A B", "where two runs or checkpoints first differ", command_diff, NULL },
    { "bench", "kernels|rollout|train|checkpoint [options]",
      "JSON lines: figure, unit, share of the machine's ceiling", command_bench, help_bench },
    { 0 },
};

"""Random tiny checkpoints of every family, made and scored by transformers in float64, as goldens.

    families.py GOLDEN FOLDER [SEEDS]

For each family and seed a folder with config.json, safetensors and golden.json (logits, their
log-probabilities and greedy tokens, by the ids), which the program GOLDEN (build/tests/golden)
compares with what our own code finds in it.
"""
import json
import os
import subprocess
import sys

import torch
import transformers

CONTEXT = 160
ROPE = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 40, "rope_theta": 5000.0}


def sizes(seed):
    """What differs between seeds: shared heads, heads of another size, a tied head."""
    heads, shared = [(4, 2), (3, 3), (6, 1)][seed % 3]
    return dict(vocab_size=300 + seed, hidden_size=12 * heads, num_hidden_layers=2 + seed % 2,
                num_attention_heads=heads, num_key_value_heads=shared, intermediate_size=56 + seed,
                max_position_embeddings=CONTEXT, rms_norm_eps=1e-5, attention_dropout=0.0,
                tie_word_embeddings=seed % 2 == 1, bos_token_id=1, eos_token_id=2)


def llama(seed):
    return transformers.LlamaConfig(**sizes(seed), head_dim=[12, 20, 8][seed % 3],
                                    rope_parameters=dict(ROPE))


def linear(seed):
    return transformers.LlamaConfig(**sizes(seed), rope_parameters={
        "rope_type": "linear", "factor": 2.5, "rope_theta": 700.0})


def mistral(seed):
    return transformers.MistralConfig(**sizes(seed), sliding_window=[8, 33, None][seed % 3],
                                      rope_parameters={"rope_type": "default",
                                                       "rope_theta": 1e4})


FAMILIES = dict(llama=llama, linear=linear, mistral=mistral)


def make(config, seed):
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for name, p in model.named_parameters():
            plain = torch.randn_like(p)
            p.copy_(1 + 0.2 * plain if "norm" in name and p.dim() == 1 else 0.15 * plain)
    return model.eval()


def case(model, prompt, more, new):
    ids = torch.tensor([prompt + more])
    logits = model(ids).logits[0]
    logp = torch.log_softmax(logits, -1)
    last = logits[len(prompt) - 1]
    chosen = [logp[t, ids[0, t + 1]].item() for t in range(len(prompt + more) - 1)]
    row, gap, greedy = list(prompt), float("inf"), []
    for _ in range(new):
        z = model(torch.tensor([row])).logits[0, -1]
        top = torch.topk(z, 2)
        gap = min(gap, (top.values[0] - top.values[1]).item())
        greedy.append(top.indices[0].item())
        row.append(greedy[-1])
    top = torch.topk(last, 10)
    at = len(prompt) - 1
    return {
        "prompt_ids": prompt, "continuation_ids": more,
        "last_logits_top10": [[i.item(), v.item()] for v, i in zip(top.values, top.indices)],
        "last_logits_sum": last.sum().item(),
        "logits_rms_per_position": logits[:len(prompt)].pow(2).mean(-1).sqrt().tolist(),
        "prompt_logprob": sum(chosen[:at]),
        "continuation_logprobs": chosen[at:], "continuation_logprob": sum(chosen[at:]),
        "greedy_ids": greedy, "greedy_min_top2_gap": gap,
    }


def write(folder, family, seed):
    model = make(FAMILIES[family](seed), seed)
    model.save_pretrained(folder)                     # fp32; then the same numbers in float64
    model = model.double()
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, model.config.vocab_size, (120,), generator=draw).tolist()
    with torch.no_grad():
        cases = [case(model, ids[:1], ids[1:5], 12), case(model, ids[5:25], ids[25:29], 12),
                 case(model, ids[:100], ids[100:], 12)]
    with open(os.path.join(folder, "golden.json"), "w", encoding="utf-8") as out:
        json.dump({"note": "transformers, float64", "cases": cases}, out)


def main():
    program, root = sys.argv[1:3]
    seeds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    failed = 0
    for family in FAMILIES:
        for seed in range(seeds):
            folder = os.path.join(root, f"{family}-{seed}")
            write(folder, family, seed)
            said = subprocess.run([program, os.path.join(folder, "golden.json")],
                                  capture_output=True, text=True, check=False)
            lines = (said.stdout + said.stderr).strip().splitlines()
            closing = lines[-1] if lines else ""
            if said.returncode or not closing.endswith("3 passed, 0 failed"):
                failed += 1
                print(f"{family} {seed}:", "\n".join(lines[-4:]))
    print(f"{len(FAMILIES) * seeds - failed} checkpoints agree, {failed} do not")
    return failed > 0


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    sys.exit(main())

"""Log-probabilities in bf16 are no further from float64's than PyTorch's in bf16, on the same model
and tokens.  Prints both root mean squares and the largest errors.

    bf16.py RANKWISE FOLDER
"""
import json
import subprocess
import sys

import torch
from transformers import AutoModelForCausalLM

program, folder = sys.argv[1:3]
model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float64).eval()
generator = torch.Generator().manual_seed(1)
rows = []
for n in (20, 40, 60, 80, 100) * 4:
    with torch.no_grad():
        rows.append(model.generate(torch.tensor([[1]]), max_length=n, min_length=n, do_sample=True,
                                   pad_token_id=0)[0].tolist())


def logprobs(dtype):
    m = model.to(dtype)
    out = []
    for ids in rows:
        with torch.no_grad():
            logp = m(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        out += [logp[t - 1, ids[t]].item() for t in range(1, len(ids))]
    return torch.tensor(out, dtype=torch.float64)


exact = logprobs(torch.float64)
theirs = logprobs(torch.bfloat16)
lines = "".join(json.dumps({"prompt_ids": r[:1], "completion_ids": r[1:]}) + "\n" for r in rows)
said = subprocess.run([program, "score", folder, "--data", "-", "--dtype", "bf16"], input=lines,
                      capture_output=True, text=True, check=True).stdout
ours = torch.tensor(sum((json.loads(line)["logprobs"] for line in said.splitlines()), []),
                    dtype=torch.float64)


def report(name, x):
    error = (x - exact).abs()
    print("%-8s rms %.3e  largest %.3e" % (name, error.pow(2).mean().sqrt(), error.max()))
    return error.pow(2).mean().sqrt().item()


a, b = report("ours", ours), report("torch", theirs)
print("%d log-probabilities, ratio of rms %.2f" % (len(ours), a / b))
sys.exit(a > b)

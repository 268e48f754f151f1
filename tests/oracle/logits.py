"""The transformers library loads an exported folder: our logits to 1e-4, our log-probabilities.

    logits.py RANKWISE FOLDER
"""
import json
import subprocess
import sys

import torch
from transformers import AutoModelForCausalLM

program, folder = sys.argv[1:3]
model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32).eval()
vocabulary = model.config.vocab_size
generator = torch.Generator().manual_seed(1)
lines = []
for n in (1, 2, 7, 40, 100):
    ids = [1] + torch.randint(3, vocabulary, (n,), generator=generator).tolist()
    lines.append({"prompt_ids": ids[:1], "completion_ids": ids[1:]})
text = "".join(json.dumps(line) + "\n" for line in lines)
command = [program, "score", folder, "--data", "-", "--top", str(vocabulary)]
out = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
worst = 0.0
for line in map(json.loads, out.splitlines()):
    ids = line["prompt_ids"] + line["completion_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    ours = torch.empty(vocabulary)
    for entry in line["top"]:
        ours[entry["id"]] = entry["logit"]
    logp = logits.double().log_softmax(-1)
    want = [logp[t - 1, ids[t]].item() for t in range(1, len(ids))]
    worst = max([worst, (ours - logits[-1]).abs().max().item()] +
                [abs(a - b) for a, b in zip(want, line["logprobs"])])
print("largest difference %.2e over %d rows" % (worst, len(lines)))
sys.exit(worst > 1e-4)

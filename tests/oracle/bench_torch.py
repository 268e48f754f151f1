"""The work of `rankwise bench rollout|train|step` in PyTorch, tuned: fused projections, a cache
made beforehand, the vocabulary in pieces, fused AdamW, torch.compile where it helps.  Of
the ways to do it the fastest on this machine is taken and named.

    bench_torch.py work=train V=32000 C=288 L=6 H=6 G=6 D=48 F=768 rows=8 prompt=32 new=224 \
                   threads=2 dtype=bf16

It prints {"peer": "torch 2.4.0, bf16 weights"}, then, for each line that it reads, does the work
once and prints {"seconds": ..., "tokens": ..., ...}.  From the environment:
RANKWISE_TORCH_WAY takes one way instead of the fastest ("fp32", "autocast", "bf16"),
RANKWISE_TORCH_COMPILE=0 leaves torch.compile out, which takes a minute or more.
"""
import json
import math
import os
import shutil
import sys
import time


def say(**words):
    print(json.dumps(words), flush=True)


try:
    import torch
    import torch.nn.functional as F
except ImportError as e:
    say(error=f"{sys.executable} has no torch ({e}); RANKWISE_PYTHON names another interpreter")
    sys.exit(1)

words = dict(word.split("=", 1) for word in sys.argv[1:])
V, C, L, H, G, D, FF, rows, prompt, new, threads = (
    int(words[k]) for k in "V C L H G D F rows prompt new threads".split())
work, dtype = words["work"], words["dtype"]
total = prompt + new
torch.set_num_threads(threads)
torch.manual_seed(1)
PIECE = 512                                     # tokens whose logits are there at once


# ---- the model

def make_weights(kind):
    def normal(*shape):
        return (torch.randn(*shape) * 0.02).to(kind).requires_grad_(work != "rollout")

    def ones(n):
        return torch.ones(n, dtype=kind, requires_grad=work != "rollout")

    w = {"embedding": normal(V, C), "norm": ones(C), "layers": []}
    for _ in range(L):
        w["layers"].append({
            "norm1": ones(C), "qkv": normal((H + 2 * G) * D, C), "out": normal(C, H * D),
            "norm2": ones(C), "gate_up": normal(2 * FF, C), "down": normal(C, FF)})
    return w


def parameters(w):
    return [w["embedding"], w["norm"]] + [p for layer in w["layers"] for p in layer.values()]


frequency = 10000.0 ** (-torch.arange(0, D, 2).double() / D)
angle = torch.arange(total).double()[:, None] * frequency
COS, SIN = angle.cos().float(), angle.sin().float()


def rotate(x, cos, sin):                        # x (..., T, D)
    a, b = x.chunk(2, -1)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def project(layer, x, cos, sin):
    B, T, _ = x.shape
    y = F.linear(F.rms_norm(x, (C,), layer["norm1"], 1e-5), layer["qkv"])
    q, k, v = y.view(B, T, H + 2 * G, D).transpose(1, 2).split((H, G, G), 1)
    return rotate(q, cos, sin), rotate(k, cos, sin), v


def finish(layer, x, o):
    B, T, _ = x.shape
    x = x + F.linear(o.transpose(1, 2).reshape(B, T, H * D), layer["out"])
    gate, up = F.linear(F.rms_norm(x, (C,), layer["norm2"], 1e-5), layer["gate_up"]).chunk(2, -1)
    return x + F.linear(F.silu(gate) * up, layer["down"])


def attend(q, k, v, **how):
    return F.scaled_dot_product_attention(q, k, v, enable_gqa=G != H, **how)


def hidden(w, tokens):
    x = F.embedding(tokens, w["embedding"])
    cos, sin = COS[:tokens.shape[1]], SIN[:tokens.shape[1]]
    for layer in w["layers"]:
        q, k, v = project(layer, x, cos, sin)
        x = finish(layer, x, attend(q, k, v, is_causal=True))
    return F.rms_norm(x, (C,), w["norm"], 1e-5)


# ---- log-probabilities, whole or in pieces that stay in the caches

class PieceLoss(torch.autograd.Function):
    """Mean negative log-likelihood; gradients are made on the way forward."""

    @staticmethod
    def forward(ctx, x, w, targets):
        dx, dw, loss = torch.empty_like(x), None, 0.0
        for i in range(0, x.shape[0], PIECE):
            z = F.linear(x[i:i + PIECE], w)
            p = torch.log_softmax(z.float(), -1)
            t = targets[i:i + PIECE, None]
            loss -= p.gather(1, t).sum().item()
            p.exp_().scatter_add_(1, t, torch.full(t.shape, -1.0))
            p = (p / x.shape[0]).to(x.dtype)
            torch.mm(p, w, out=dx[i:i + PIECE])
            dw = p.t() @ x[i:i + PIECE] if dw is None else dw.addmm_(p.t(), x[i:i + PIECE])
        ctx.save_for_backward(dx, dw)
        return x.new_tensor(loss / x.shape[0], dtype=torch.float32)

    @staticmethod
    def backward(ctx, g):
        dx, dw = ctx.saved_tensors
        return dx * g.to(dx.dtype), dw * g.to(dw.dtype), None


def whole_loss(x, w, targets):
    return F.cross_entropy(F.linear(x, w).float(), targets)


def piece_loss(x, w, targets):
    if torch.is_autocast_enabled("cpu"):
        x, w = x.to(torch.bfloat16), w.to(torch.bfloat16)
    return PieceLoss.apply(x, w, targets)


@torch.no_grad()
def logprobs(way, tokens):
    x = way.hidden(way.w, tokens)[:, prompt - 1:-1].reshape(-1, C)
    targets, out = tokens[:, prompt:].reshape(-1), []
    for i in range(0, x.shape[0], PIECE):
        z = F.linear(x[i:i + PIECE], way.w["embedding"]).float()
        out.append(z.gather(1, targets[i:i + PIECE, None])[:, 0] - z.logsumexp(-1))
    return torch.cat(out)


# ---- generation

def draw(z):
    """Tokens from logits (rows, V) by the inverse of the cumulated probabilities."""
    logp = torch.log_softmax(z.float(), -1)
    sums = logp.exp().cumsum(-1)
    u = torch.rand(rows, 1) * sums[:, -1:]
    token = torch.searchsorted(sums, u).clamp_(max=V - 1)
    return token, logp.gather(1, token)


def prefill(w, tokens, keys, values):
    x = F.embedding(tokens, w["embedding"])
    for i, layer in enumerate(w["layers"]):
        q, k, v = project(layer, x, COS[:prompt], SIN[:prompt])
        keys[i][:, :, :prompt] = k
        values[i][:, :, :prompt] = v
        x = finish(layer, x, attend(q, k, v, is_causal=True))
    return F.linear(F.rms_norm(x[:, -1], (C,), w["norm"], 1e-5), w["embedding"])


def next_logits(w, token, keys, values, at):
    """The cache up to `at`: shapes change with every token."""
    x = F.embedding(token, w["embedding"])
    for i, layer in enumerate(w["layers"]):
        q, k, v = project(layer, x, COS[at:at + 1], SIN[at:at + 1])
        keys[i][:, :, at:at + 1] = k
        values[i][:, :, at:at + 1] = v
        x = finish(layer, x, attend(q, keys[i][:, :, :at + 1], values[i][:, :, :at + 1]))
    return F.linear(F.rms_norm(x[:, -1], (C,), w["norm"], 1e-5), w["embedding"])


def next_logits_masked(w, token, keys, values, at, cos, sin, mask):
    """The whole cache under a mask: one shape, for torch.compile."""
    x = F.embedding(token, w["embedding"])
    for i, layer in enumerate(w["layers"]):
        q, k, v = project(layer, x, cos, sin)
        keys[i].index_copy_(2, at, k)
        values[i].index_copy_(2, at, v)
        x = finish(layer, x, attend(q, keys[i], values[i], attn_mask=mask))
    return F.linear(F.rms_norm(x[:, -1], (C,), w["norm"], 1e-5), w["embedding"])


MASKS = torch.tril(torch.ones(total, total, dtype=torch.bool))


@torch.no_grad()
def generate(way, tokens):
    out = torch.empty(rows, total, dtype=torch.long)
    out[:, :prompt] = tokens
    z = prefill(way.w, tokens, way.keys, way.values)
    for at in range(prompt, total):
        token, _ = draw(z)
        out[:, at:at + 1] = token
        if at + 1 == total:
            break
        if way.masked:
            z = way.masked(way.w, token, way.keys, way.values, torch.tensor([at]),
                           COS[at:at + 1], SIN[at:at + 1], MASKS[at:at + 1])
        else:
            z = next_logits(way.w, token, way.keys, way.values, at)
    return out


# ---- a way to do it

class Way:
    def __init__(self, kind, loss=whole_loss, compiled=False):
        self.kind, self.loss, self.compiled = kind, loss, compiled
        number = torch.bfloat16 if kind == "bf16" else torch.float32
        self.w = make_weights(number)
        cached = torch.bfloat16 if kind != "fp32" else torch.float32
        self.keys = [torch.zeros(rows, G, total, D, dtype=cached) for _ in range(L)]
        self.values = [torch.zeros(rows, G, total, D, dtype=cached) for _ in range(L)]
        self.hidden = torch.compile(hidden, dynamic=False) if compiled else hidden
        self.masked = torch.compile(next_logits_masked, dynamic=False) if compiled else None
        if work != "rollout":
            self.optimizer = torch.optim.AdamW(parameters(self.w), lr=1e-5, betas=(0.9, 0.95),
                                               fused=True)

    def name(self):
        kinds = {"fp32": "fp32", "autocast": "autocast to bf16", "bf16": "bf16 weights"}
        loss = ", logits in pieces" if self.loss is piece_loss and work != "rollout" else ""
        return kinds[self.kind] + loss + (", compiled" if self.compiled else "")

    def train(self, tokens, first):
        self.optimizer.zero_grad(set_to_none=True)
        x = self.hidden(self.w, tokens)[:, first - 1:-1].reshape(-1, C)
        loss = self.loss(x, self.w["embedding"], tokens[:, first:].reshape(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters(self.w), 1.0, foreach=True)
        self.optimizer.step()
        return loss.item()

    def once(self):
        """The work, and what it was."""
        tokens = torch.randint(0, V, (rows, total))
        said, t = {}, [time.perf_counter()]

        def lap(name):
            t.append(time.perf_counter())
            said[name] = t[-1] - t[-2]

        with torch.autocast("cpu", torch.bfloat16, enabled=self.kind == "autocast"):
            if work == "rollout":
                made = generate(self, tokens[:, :prompt])
                said["made"] = made.shape[1]
            elif work == "train":
                said["loss"] = self.train(tokens, 1)
            else:
                tokens = generate(self, tokens[:, :prompt])
                lap("generate")
                logprobs(self, tokens)
                logprobs(self, tokens)
                lap("two_logprob_passes")
                said["loss"] = self.train(tokens, prompt)
                lap("train")
        said["seconds"] = time.perf_counter() - t[0]
        said["tokens"] = rows * (new if work == "rollout" else total)
        if not math.isfinite(said.get("loss", 0.0)):
            raise ArithmeticError("the loss is not finite")
        return said

    def measure(self):
        self.once()
        return min(self.once()["seconds"] for _ in range(2))


# ---- the fastest

def products(kind):
    """Seconds of one product of the model's, the best of five."""
    x, w = torch.randn(rows, C).to(kind), torch.randn(FF, C).to(kind)
    x = x if work == "rollout" else torch.randn(rows * total, C).to(kind)
    best = math.inf
    for _ in range(6):
        t = time.perf_counter()
        F.linear(x, w)
        best = min(best, time.perf_counter() - t)
    return best


def kinds():
    if os.environ.get("RANKWISE_TORCH_WAY"):
        return [os.environ["RANKWISE_TORCH_WAY"]]
    if dtype == "fp32":
        return ["fp32"]
    slower = products(torch.bfloat16) / products(torch.float32)
    if slower > 4:                              # no way could win
        print(f"torch's bf16 products take {slower:.0f} times as long as fp32's",
              file=sys.stderr)
        return ["fp32"]
    return ["fp32", "autocast", "bf16"]


def fastest():
    best, seconds = None, math.inf
    for kind in kinds():
        for loss in [whole_loss] if work == "rollout" else [whole_loss, piece_loss]:
            way = Way(kind, loss)
            took = way.measure()
            print(f"torch, {way.name()}: {took:.4f} s", file=sys.stderr)
            if took < seconds:
                best, seconds = way, took
    if os.environ.get("RANKWISE_TORCH_COMPILE", "1") != "0" and shutil.which("g++"):
        try:
            way = Way(best.kind, best.loss, compiled=True)
            took = way.measure()
            print(f"torch, {way.name()}: {took:.4f} s", file=sys.stderr)
            if took < seconds:
                best = way
        except Exception as e:                  # what the compiler cannot do is no way
            print(f"torch.compile: {str(e).splitlines()[0]}", file=sys.stderr)
    return best


try:
    way = fastest()
    say(peer=f"torch {torch.__version__.split('+')[0]}, {way.name()}")
    for line in sys.stdin:
        say(**way.once())
except KeyboardInterrupt:
    sys.exit(1)
except Exception as e:
    say(error=str(e).splitlines()[0] if str(e) else type(e).__name__)
    sys.exit(1)

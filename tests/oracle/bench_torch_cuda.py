"""The work of `rankwise bench rollout|train|step|kernels` in PyTorch on a GPU, as people do it
there: training of layers under torch.compile with flash attention (scaled_dot_product_attention),
fp32 master weights under autocast, fused AdamW, logits in pieces; generation by transformers'
`generate` in bf16.

    bench_torch_cuda.py work=train V=151936 C=2048 L=28 H=16 G=8 D=128 F=6144 tied=1 rows=8 \
                        prompt=1 new=2047 dtype=bf16

It prints {"peer": "torch 2.9.0, ...", "peak_gflops": ..., "copy_gbytes": ...}, the latter two
measured on the same card: a product of 8192 x 8192 x 8192 and a copy of 512 MiB.  Then, for each
line that it reads, it does the work once and prints {"seconds": ..., "tokens": ..., ...}; of
kernels a line for each, and {"done": true}.  From the environment: RANKWISE_TORCH_COMPILE=0 leaves
torch.compile out; RANKWISE_TORCH_WAY=bf16 trains bf16 weights; RANKWISE_TORCH_DEVICE=cpu tries the
script where there is no GPU (the ceilings are then small and mean nothing).
"""
import json
import math
import os
import sys
import time


def say(**words):
    print(json.dumps(words), flush=True)


def give_up(why):
    say(error=str(why).splitlines()[0] if str(why) else type(why).__name__)
    sys.exit(1)


try:
    import torch
    import torch.nn.functional as F
except ImportError as e:
    give_up(f"{sys.executable} has no torch ({e}); RANKWISE_PYTHON names another interpreter")

device = os.environ.get("RANKWISE_TORCH_DEVICE", "cuda")
if device == "cuda" and not torch.cuda.is_available():
    give_up(f"torch {torch.__version__} finds no GPU")

words = dict(word.split("=", 1) for word in sys.argv[1:])
V, C, L, H, G, D, FF, rows, prompt, new, tied = (
    int(words[k]) for k in "V C L H G D F rows prompt new tied".split())
work, dtype = words["work"], words["dtype"]
total = prompt + new
number = torch.bfloat16 if dtype == "bf16" else torch.float32
compiles = os.environ.get("RANKWISE_TORCH_COMPILE", "1") != "0"
PIECE = 2048                                    # tokens whose logits are there at once
torch.manual_seed(1)
torch.set_default_device(device)
if device == "cpu":
    torch.set_num_threads(int(words.get("threads", 1)))


def wait():
    if device == "cuda":
        torch.cuda.synchronize()


def clock():
    wait()
    return time.perf_counter()


def best(run, seconds=0.2):
    """Seconds of a call, the best of some after two that are not counted."""
    run(), run()
    least, end = math.inf, clock() + seconds
    while least == math.inf or time.perf_counter() < end:
        t = clock()
        run()
        least = min(least, clock() - t)
    return least


# ---- the ceilings of the card

def ceilings():
    side, size = (8192, 1 << 27) if device == "cuda" else (256, 1 << 20)
    a, b = (torch.randn(side, side).to(number) for _ in "ab")
    x, y = torch.randn(size), torch.empty(size)
    return {"peak_gflops": 2e-9 * side ** 3 / best(lambda: a @ b),
            "copy_gbytes": 8e-9 * size / best(lambda: y.copy_(x))}


# ---- training

def make_weights(kind):
    def normal(*shape):
        return (torch.randn(*shape) * 0.02).to(kind).requires_grad_()

    def ones(n):
        return torch.ones(n, dtype=kind, requires_grad=True)

    w = {"embedding": normal(V, C), "norm": ones(C), "layers": []}
    w["head"] = w["embedding"] if tied else normal(V, C)
    for _ in range(L):
        w["layers"].append({
            "norm1": ones(C), "qkv": normal((H + 2 * G) * D, C), "out": normal(C, H * D),
            "norm2": ones(C), "gate_up": normal(2 * FF, C), "down": normal(C, FF)})
    return w


def parameters(w):
    alone = [w["embedding"], w["norm"]] + ([] if tied else [w["head"]])
    return alone + [p for layer in w["layers"] for p in layer.values()]


frequency = 10000.0 ** (-torch.arange(0, D, 2).double() / D)
angle = torch.arange(total).double()[:, None] * frequency
COS, SIN = angle.cos().float(), angle.sin().float()


def rotate(x, cos, sin):                        # x (..., T, D)
    a, b = x.chunk(2, -1)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def attend(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=G != H)


def layer_forward(x, cos, sin, norm1, qkv, out, norm2, gate_up, down):
    B, T, _ = x.shape
    y = F.linear(F.rms_norm(x, (C,), norm1.to(x.dtype), 1e-5), qkv)
    q, k, v = y.view(B, T, H + 2 * G, D).transpose(1, 2).split((H, G, G), 1)
    o = attend(rotate(q, cos, sin), rotate(k, cos, sin), v)
    x = x + F.linear(o.transpose(1, 2).reshape(B, T, H * D), out)
    gate, up = F.linear(F.rms_norm(x, (C,), norm2.to(x.dtype), 1e-5), gate_up).chunk(2, -1)
    return x + F.linear(F.silu(gate) * up, down)


class PieceLoss(torch.autograd.Function):
    """Mean negative log-likelihood; gradients are made on the way forward."""

    @staticmethod
    def forward(ctx, x, w, targets):
        dx, dw, losses = torch.empty_like(x), torch.zeros_like(w, dtype=torch.float32), []
        for i in range(0, x.shape[0], PIECE):
            part, t = x[i:i + PIECE], targets[i:i + PIECE, None]
            p = torch.log_softmax(F.linear(part, w).float(), -1)
            losses.append(-p.gather(1, t).sum())
            p.exp_().scatter_add_(1, t, torch.full(t.shape, -1.0))
            p = (p / x.shape[0]).to(x.dtype)
            torch.mm(p, w, out=dx[i:i + PIECE])
            dw += p.t() @ part
        ctx.save_for_backward(dx, dw)
        return torch.stack(losses).sum() / x.shape[0]

    @staticmethod
    def backward(ctx, g):
        dx, dw = ctx.saved_tensors
        return dx * g.to(dx.dtype), dw * g, None


class Trainer:
    def __init__(self):
        self.kind = os.environ.get("RANKWISE_TORCH_WAY", "autocast")
        self.mixed = self.kind == "autocast" and dtype == "bf16"
        self.w = make_weights(torch.float32 if self.mixed else number)
        self.layer = torch.compile(layer_forward, dynamic=False) if compiles else layer_forward
        self.optimizer = torch.optim.AdamW(parameters(self.w), lr=1e-5, betas=(0.9, 0.95),
                                           fused=True)

    def name(self):
        kind = "fp32" if dtype == "fp32" else "autocast to bf16" if self.mixed else "bf16 weights"
        return kind + (", layers compiled" if compiles else "")

    def hidden(self, tokens):
        x = F.embedding(tokens, self.w["embedding"]).to(number)
        cos, sin = COS[:tokens.shape[1]], SIN[:tokens.shape[1]]
        with torch.autocast(device, torch.bfloat16, enabled=self.mixed):
            for layer in self.w["layers"]:
                x = self.layer(x, cos, sin, *layer.values())
        return F.rms_norm(x, (C,), self.w["norm"].to(x.dtype), 1e-5)

    @torch.no_grad()
    def logprobs(self, tokens):
        x = self.hidden(tokens)[:, prompt - 1:-1].reshape(-1, C)
        targets, out = tokens[:, prompt:].reshape(-1), []
        head = self.w["head"].to(x.dtype)
        for i in range(0, x.shape[0], PIECE):
            z = F.linear(x[i:i + PIECE], head).float()
            out.append(z.gather(1, targets[i:i + PIECE, None])[:, 0] - z.logsumexp(-1))
        return torch.cat(out)

    def train(self, tokens, first):
        self.optimizer.zero_grad(set_to_none=True)
        x = self.hidden(tokens)[:, first - 1:-1].reshape(-1, C)
        loss = PieceLoss.apply(x, self.w["head"].to(x.dtype), tokens[:, first:].reshape(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters(self.w), 1.0, foreach=True)
        self.optimizer.step()
        return loss.item()


# ---- generation

class Generator:
    def __init__(self):
        try:
            import transformers
        except ImportError as e:
            give_up(f"{sys.executable} has no transformers ({e})")
        config = transformers.LlamaConfig(
            vocab_size=V, hidden_size=C, intermediate_size=FF, num_hidden_layers=L,
            num_attention_heads=H, num_key_value_heads=G, head_dim=D, rms_norm_eps=1e-5,
            max_position_embeddings=total, tie_word_embeddings=bool(tied), bos_token_id=None,
            eos_token_id=None, pad_token_id=0, attn_implementation="sdpa")
        torch.set_default_dtype(number)
        self.model = transformers.LlamaForCausalLM(config).to(device).eval()
        torch.set_default_dtype(torch.float32)
        self.version = transformers.__version__
        transformers.logging.set_verbosity_error()

    def name(self):
        return f"transformers {self.version} generate, {dtype}"

    @torch.no_grad()
    def generate(self, tokens):
        return self.model.generate(tokens, attention_mask=torch.ones_like(tokens), do_sample=True,
                                   temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=new,
                                   pad_token_id=0)


# ---- kernels by themselves, at a row of `total` tokens

def attention_lines():
    q = torch.randn(1, H, total, D).to(number).requires_grad_()
    k, v = (torch.randn(1, G, total, D).to(number).requires_grad_() for _ in "kv")
    pairs = 0.5 * total * (total + 1.0) * H * D
    shape = {"T": total, "H": H, "G": G, "D": D}
    with torch.no_grad():
        seconds = best(lambda: attend(q, k, v))
    say(bench="torch attention_forward", gflops=4e-9 * pairs / seconds, **shape)
    o = attend(q, k, v)
    d = torch.randn_like(o)
    seconds = best(lambda: torch.autograd.grad(o, (q, k, v), d, retain_graph=True))
    say(bench="torch attention_backward", gflops=10e-9 * pairs / seconds, **shape)


def product_lines():
    for N, K in dict.fromkeys([(H * D, C), (C, H * D), (G * D, C), (FF, C), (C, FF)]):
        for M in (1, 8, 64, 256, total):
            x, w = torch.randn(M, K).to(number), torch.randn(N, K).to(number)
            seconds = best(lambda: F.linear(x, w), 0.02)
            say(bench="torch linear", M=M, N=N, K=K, gflops=2e-9 * M * N * K / seconds,
                weight_gbytes=1e-9 * w.nbytes / seconds)


@torch.no_grad()
def logprob_line():
    T = min(total, 1024)
    x, w = torch.randn(T, C).to(number), (torch.randn(V, C) * 0.02).to(number)
    targets = torch.zeros(T, 1, dtype=torch.long)

    def run():
        z = F.linear(x, w).float()
        return z.gather(1, targets)[:, 0] - z.logsumexp(-1)

    say(bench="torch logprob_forward", T=T, V=V, C=C, gflops=2e-9 * T * V * C / best(run))


# ---- one piece of work

class Work:
    def __init__(self):
        self.trainer = Trainer() if work in ("train", "step") else None
        self.generator = Generator() if work in ("rollout", "step") else None

    def name(self):
        parts = [part.name() for part in (self.generator, self.trainer) if part]
        return "; ".join([f"torch {torch.__version__.split('+')[0]}"] + parts)

    def once(self):
        tokens = torch.randint(0, V, (rows, total))
        said, t = {}, [clock()]

        def lap(name):
            t.append(clock())
            said[name] = t[-1] - t[-2]

        if self.generator:
            tokens = self.generator.generate(tokens[:, :prompt])
            lap("generate")
        if work == "step":
            self.trainer.logprobs(tokens)
            self.trainer.logprobs(tokens)
            lap("two_logprob_passes")
        if self.trainer:
            said["loss"] = self.trainer.train(tokens, 1 if work == "train" else prompt)
            lap("train")
        said["seconds"] = clock() - t[0]
        said["tokens"] = rows * (new if work == "rollout" else total)
        if tokens.shape != (rows, total):
            raise ValueError(f"{tuple(tokens.shape)} tokens were made")
        if not math.isfinite(said.get("loss", 0.0)):
            raise ArithmeticError("the loss is not finite")
        return said


try:
    best_there = ceilings()
    if work == "kernels":
        say(peer=f"torch {torch.__version__.split('+')[0]}", **best_there)
        attention_lines(), product_lines(), logprob_line()
        say(done=True)
        sys.exit(0)
    doing = Work()
    for _ in range(2):                          # compiles, and warms up
        doing.once()
    say(peer=doing.name(), **best_there)
    for line in sys.stdin:
        say(**doing.once())
except KeyboardInterrupt:
    sys.exit(1)
except Exception as e:
    give_up(e)

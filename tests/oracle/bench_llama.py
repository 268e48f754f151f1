"""The work of `rankwise bench rollout` in llama.cpp: a random Llama is written as GGUF and its own
llama-batched-bench, which must be on PATH, decodes as many rows and tokens.

    bench_llama.py work=rollout V=32000 C=288 L=6 H=6 G=6 D=48 F=768 rows=8 prompt=32 new=64 \
                   threads=2 dtype=bf16

It prints {"peer": "llama.cpp"}, then, for each line that it reads, runs the program once and prints
{"seconds": ..., "tokens": ...}: prefill and decoding, without its start and its warm-up.  It draws
no tokens, which ours does.  Needs nothing but Python.
"""
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile

PROGRAM = "llama-batched-bench"
TRIES = 10                                      # it may end before its thread has written the line
SECONDS = 600                                   # of one run of it
ALIGNMENT = 32
F32, BF16 = 0, 30                               # types of tensors
UINT32, FLOAT32, STRING = 4, 6, 8               # types of values


def say(**words):
    print(json.dumps(words), flush=True)


def text(s):
    return struct.pack("<Q", len(s)) + s.encode()


def value(key, kind, x):
    packed = text(x) if kind == STRING else struct.pack("<I" if kind == UINT32 else "<f", x)
    return text(key) + struct.pack("<I", kind) + packed


def values(w):
    counts = {"context_length": 4096, "embedding_length": w["C"], "block_count": w["L"],
              "feed_forward_length": w["F"], "attention.head_count": w["H"],
              "attention.head_count_kv": w["G"], "attention.key_length": w["D"],
              "attention.value_length": w["D"], "rope.dimension_count": w["D"],
              "vocab_size": w["V"]}
    return [value("general.architecture", STRING, "llama"),
            value("general.name", STRING, "random"),
            value("tokenizer.ggml.model", STRING, "none"),
            value("llama.attention.layer_norm_rms_epsilon", FLOAT32, 1e-5),
            value("llama.rope.freq_base", FLOAT32, 10000.0)] + [
            value("llama." + key, UINT32, n) for key, n in counts.items()]


def tensors(w):
    """(name, shape with the innermost first)"""
    C, Q, K, FF = w["C"], w["H"] * w["D"], w["G"] * w["D"], w["F"]
    out = [("token_embd.weight", (C, w["V"])), ("output_norm.weight", (C,))]
    for i in range(w["L"]):
        shapes = {"attn_norm": (C,), "attn_q": (C, Q), "attn_k": (C, K), "attn_v": (C, K),
                  "attn_output": (Q, C), "ffn_norm": (C,), "ffn_gate": (C, FF),
                  "ffn_up": (C, FF), "ffn_down": (FF, C)}
        out += [(f"blk.{i}.{name}.weight", shape) for name, shape in shapes.items()]
    return out


def content(shape, kind):
    """Ones for norms; else numbers of 0.008 to 0.03 of both signs, which repeat."""
    n = 1
    for d in shape:
        n *= d
    if len(shape) == 1:
        return struct.pack("<f", 1.0) * n
    r = random.Random(n)
    low = b"" if kind == BF16 else b"\0\0"
    block = b"".join(low + bytes((r.randrange(256), r.choice((0x3c, 0xbc))))
                     for _ in range(min(n, 65521)))
    size = n * (2 if kind == BF16 else 4)
    return (block * (size // len(block) + 1))[:size]


def padding(n):
    return b"\0" * (-n % ALIGNMENT)


def write_model(path, w, kind):
    listed, at = [], 0
    for name, shape in tensors(w):
        of = F32 if len(shape) == 1 else kind
        listed.append((name, shape, of, at))
        size = len(content(shape, of))
        at += size + len(padding(size))
    keys = values(w)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(listed), len(keys)) + b"".join(keys)
    for name, shape, of, offset in listed:
        head += text(name) + struct.pack("<I", len(shape)) + b"".join(
            struct.pack("<Q", d) for d in shape) + struct.pack("<IQ", of, offset)
    with open(path, "wb") as f:
        f.write(head + padding(len(head)))
        for _, shape, of, _ in listed:
            data = content(shape, of)
            f.write(data + padding(len(data)))


def once(path, w):
    """The first new token comes from the prefill's logits, so one pass less decodes."""
    passes = max(w["new"] - 1, 1)
    command = [PROGRAM, "-m", path, "-c", str(w["rows"] * (w["prompt"] + w["new"]) + 64),
               "-npp", str(w["prompt"]), "-ntg", str(passes), "-npl", str(w["rows"]),
               "-t", str(w["threads"]), "-tb", str(w["threads"]), "--output-format", "jsonl"]
    for _ in range(TRIES):
        said = subprocess.run(command, capture_output=True, text=True, errors="replace",
                              timeout=SECONDS)
        for line in said.stdout.splitlines():
            if line.startswith("{") and "t_tg" in line:
                return times(json.loads(line), w, passes)
        if said.returncode != 0:
            break
    errors = said.stderr.strip().splitlines() or ["no words"]
    raise ValueError(f"{PROGRAM} gave no times (exit status {said.returncode}): {errors[-1]}")


def times(t, w, passes):
    missing = [k for k in ("pp", "tg", "pl", "t_pp", "t_tg") if k not in t]
    if missing:
        raise ValueError(f"{PROGRAM} printed a line without {', '.join(missing)}")
    if (t["pp"], t["tg"], t["pl"]) != (w["prompt"], passes, w["rows"]):
        raise ValueError(f"{PROGRAM} did other work: {t}")
    return {"seconds": t["t_pp"] + t["t_tg"], "prefill": t["t_pp"], "decode": t["t_tg"],
            "tokens": w["rows"] * w["new"]}


def main():
    words = dict(word.split("=", 1) for word in sys.argv[1:])
    w = {k: int(x) for k, x in words.items() if k not in ("work", "dtype")}
    if words["work"] != "rollout":
        return say(error="llama.cpp generates only; --against llama.cpp goes with rollout")
    if not shutil.which(PROGRAM):
        return say(error=f"no {PROGRAM} on PATH")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "random.gguf")
        write_model(path, w, BF16 if words["dtype"] == "bf16" else F32)
        once(path, w)
        say(peer="llama.cpp, " + words["dtype"])
        for _ in sys.stdin:
            say(**once(path, w))


try:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))       # the model's file does not stay
    main()
except KeyboardInterrupt:
    sys.exit(1)
except Exception as e:
    say(error=str(e).splitlines()[0] if str(e) else type(e).__name__)
    sys.exit(1)

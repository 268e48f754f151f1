#!/usr/bin/env python3
"""Compares `rankwise tokenize` with the `tokenizers` library, on random texts and random ids.

  tests/oracle/tokenizer.py BUILD/rankwise FOLDER ... [texts per tokenizer]

Takes each folder's tokenizer.json (byte-pair, as Llama's), then variants of it: other normalizers,
Metaspace, flags of added tokens, unknown tokens that do not fuse, other decoders.  Prints the first
differences of each and closes with `N passed, N failed`; exits 1 if any failed, 77 without the
library.
"""
import copy
import json
import os
import random
import subprocess
import sys
import tempfile

try:
    import tokenizers
except ImportError:
    print("skipped: the Python library `tokenizers` is not installed")
    sys.exit(77)

WORDS = ["Once", "upon", "a", "time", "there", "was", "little", "girl", "named", "Lily.", "She",
         "the", "happy", "said,", "\"Hello!\"", "don't", "3.14", "2024", "É", "naïve",
         "straße", "İstanbul", "日本語", "мир", "שלום", "नमस्ते",
         "ｆｕｌｌ", "ﬁn", "e\u0301", "\U0001f469\u200d\U0001f467", "🙂", "½"]
MARKS = ["<s>", "</s>", "<unk>", "<|start_story|>", "<|end_story|>", "<0x0A>", "<pad>", "<tag>",
         "<two words>", "<", ">", "s>", "▁", "▁▁", "<s><s>", " <s>", "<s> ", "ing"]
SPACES = [" ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u2003", "\u3000", "\u200b", ""]


def random_text(rng):
    kind = rng.random()
    if kind < 0.15:
        return "".join(chr(rng.choice([rng.randrange(0, 128), rng.randrange(0, 0xd800),
                                       rng.randrange(0xe000, 0x110000)]))
                       for _ in range(rng.randrange(0, 24)))
    parts = []
    for _ in range(rng.randrange(0, 14)):
        parts.append(rng.choice(WORDS if rng.random() < 0.65 else MARKS))
        parts.append(rng.choice(SPACES) if rng.random() < 0.5 else " ")
    text = "".join(parts)
    return text.strip(" ") if kind < 0.4 else rng.choice(SPACES) + text


def random_ids(rng, size, odd):
    ids = [rng.randrange(0, size) for _ in range(rng.randrange(0, 20))]
    if rng.random() < 0.6:        # runs of bytes, UTF-8 and not, where byte tokens are 3 .. 258
        for _ in range(rng.randrange(1, 4)):
            run = rng.choice(WORDS).encode() if rng.random() < 0.6 else rng.randbytes(3)
            at = rng.randrange(0, len(ids) + 1)
            ids[at:at] = [3 + b for b in run if 3 + b < size]
    return [i for i in ids if i not in odd]


def token(tid, content, **flags):
    base = {"id": tid, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": False}
    base.update(flags)
    return base


def variants(spec):
    """The tokenizer as it is, then with one thing changed."""
    yield "as it is", spec
    size = 1 + max(spec["model"]["vocab"].values())

    def changed(**parts):
        new = copy.deepcopy(spec)
        for key, value in parts.items():
            if key in new:
                new[key] = value
            else:
                new["model"][key] = value
        return new

    def added(*tokens):        # (content, flags): new ids behind the vocabulary's
        new, free = [], size
        for content, flags in tokens:
            known = spec["model"]["vocab"].get(content)
            new.append(token(free if known is None else known, content, **flags))
            free += known is None
        return changed(added_tokens=spec["added_tokens"] + new)

    metaspace = {"type": "Metaspace", "replacement": "▁"}
    for scheme in ("always", "first", "never"):
        for split in (True, False):
            part = dict(metaspace, prepend_scheme=scheme, split=split)
            yield "metaspace %s %s" % (scheme, split), changed(
                normalizer=None, pre_tokenizer=part, decoder=part)
    for form in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase"):
        yield form, changed(normalizer={"type": "Sequence", "normalizers": [
            {"type": form}, spec["normalizer"]]})
    yield "no normalizer", changed(normalizer=None, decoder=None)
    yield "no fuse", changed(fuse_unk=False)
    yield "no bytes", changed(byte_fallback=False)
    yield "no bytes, no fuse", changed(byte_fallback=False, fuse_unk=False)
    yield "no unknown", changed(byte_fallback=False, unk_token=None)
    yield "ignore merges", changed(ignore_merges=True,
                                   pre_tokenizer=dict(metaspace, prepend_scheme="first"))
    yield "few bytes", changed(vocab={k: v for k, v in spec["model"]["vocab"].items()
                                      if not k.startswith("<0xE")})
    yield "pairs", changed(merges=[m.split(" ") for m in spec["model"]["merges"]])
    yield "strip two", changed(decoder={"type": "Sequence", "decoders": [
        {"type": "ByteFallback"}, {"type": "Strip", "content": "▁", "start": 2, "stop": 0},
        {"type": "Replace", "pattern": {"String": "in"}, "content": "<out>"}]})
    for flag in ("normalized", "lstrip", "rstrip", "single_word", "special"):
        yield "added " + flag, added(*((content, {flag: True})
                                       for content in ("<pad>", "ing", "<two words>")))
    yield "added all", added(
        ("<pad>", {"lstrip": True, "rstrip": True, "normalized": True, "special": True}),
        ("a", {"single_word": True}), ("<s><s>", {}), ("  ", {"lstrip": True}),
        ("happy", {"normalized": True, "rstrip": True, "single_word": True}))


def ask(program, path, lines, *options):
    out = subprocess.run([program, "tokenize", path, "--jsonl", *options], text=True, check=True,
                         input="".join(json.dumps(line) + "\n" for line in lines),
                         stdout=subprocess.PIPE).stdout
    answers = [json.loads(line) for line in out.split("\n")[:-1]]
    assert len(answers) == len(lines), "%d answers to %d lines" % (len(answers), len(lines))
    return answers


def compare(name, questions, got, want):
    wrong = [i for i in range(len(want)) if got[i] != want[i]]
    for i in wrong[:3]:
        print("%s: %r\n  want %r\n  got  %r" % (name, questions[i], want[i], got[i]))
    return len(want) - len(wrong), len(wrong)


def check(program, folder, spec, name, n, rng):
    path = os.path.join(folder, "tokenizer.json")
    with open(path, "w", encoding="utf-8") as out:
        json.dump(spec, out, ensure_ascii=False)
    oracle = tokenizers.Tokenizer.from_file(path)
    texts = [{"text": random_text(rng), "add_special": rng.random() < 0.5} for _ in range(n)]
    # the library from 0.23 on writes such a token in its normalized form, and never skips it
    odd = {t["id"] for t in spec["added_tokens"] if oracle.id_to_token(t["id"]) != t["content"]}
    size = oracle.get_vocab_size()
    ids = [{"ids": random_ids(rng, size, odd), "skip_special": rng.random() < 0.5}
           for _ in range(n)]
    encoded = compare(name, texts, [a["ids"] for a in ask(program, path, texts)],
                      [oracle.encode(t["text"], add_special_tokens=t["add_special"]).ids
                       for t in texts])
    decoded = compare(name, ids, [a["text"] for a in ask(program, path, ids, "--decode")],
                      [oracle.decode(i["ids"], skip_special_tokens=i["skip_special"])
                       for i in ids])
    return encoded[0] + decoded[0], encoded[1] + decoded[1]


def main():
    program, folders, n = sys.argv[1], sys.argv[2:], 200
    if folders[-1].isdigit():
        n = int(folders.pop())
    rng = random.Random(20240611)
    passed = failed = 0
    for model in folders:
        with open(os.path.join(model, "tokenizer.json"), encoding="utf-8") as file:
            spec = json.load(file)
        with tempfile.TemporaryDirectory() as folder:
            for name, variant in variants(spec):
                good, bad = check(program, folder, variant, model + ", " + name,
                                  10 * n if name == "as it is" else n, rng)
                passed += good
                failed += bad
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

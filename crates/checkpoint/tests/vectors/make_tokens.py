"""Token ids of varied texts by independent implementations.

SmolLM2 by llama.cpp (pip install cyllama), glassllm by its own tokenizer, MiniLM by the
tokenizers package:

    pip install cyllama tokenizers glassllm==0.1.0
    python make_tokens.py MODELS > tokens.json

MODELS is the folder that tests/real.rs describes. Ids are stored as "special ids" (control
tokens in the text count) and, where different, "plain ids".
"""

import json
import random
import sys

from cyllama.llama import llama_cpp
from glassllm.tokenizer import Tokenizer as Glass
from make_texts import HAND, WORDS
from tokenizers import Tokenizer


def texts():
    rng = random.Random(20261124)
    out = list(HAND)
    while len(out) < 230:
        words = [rng.choice(WORDS) for _ in range(rng.randint(1, 9))]
        out.append(rng.choice(["", " ", "  "]).join(words))
    return out


def main(models):
    model = llama_cpp.LlamaModel(f"{models}/smollm2.gguf")  # owns the vocabulary
    vocab = model.get_vocab()
    glass = Glass.load(f"{models}/glassllm/en.tokenizer.json")
    mini = Tokenizer.from_file(f"{models}/minilm/tokenizer.json")
    mini.no_padding(), mini.no_truncation()
    rows = []
    for text in texts():
        special = list(vocab.tokenize(text, False, True)) if text else []
        plain = list(vocab.tokenize(text, False, False)) if text else []
        row = {"text": text, "smollm2": special}
        if plain != special:
            row["smollm2_plain"] = plain
        row["glassllm"] = glass.encode(text)
        row["minilm"] = mini.encode(text).ids
        rows.append(row)
    print("[")
    print(",\n".join(json.dumps(row, separators=(",", ":")) for row in rows))
    print("]")


main(sys.argv[1])

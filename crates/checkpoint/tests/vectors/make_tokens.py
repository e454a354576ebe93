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
from tokenizers import Tokenizer

HAND = [
    "", " ", "  ", "\n", "\n\n", " \n ", "\t\tx", "a", " a", "a ", "Hello, world!",
    "The quick brown fox jumps over the lazy dog.", "I'll we've they're it's don't I'd I'm",
    "I'LL WE'VE", "x = 12345 + 67.89e-10;", "2026-11-24T11:26:03Z", "٣٤٥ ½ Ⅷ ①②③ 一二三",
    "naïve café résumé", "nai\u0308ve cafe\u0301", "Zażółć gęślą jaźń", "Привет, мир!", "Γειά σου Κόσμε",
    "שלום עולם", "مرحبا بالعالم", "नमस्ते दुनिया", "สวัสดีชาวโลก", "你好，世界。", "こんにちは世界", "안녕하세요 세계",
    "😀😃 🇵🇱 👩‍👩‍👧‍👦 ❤️", "\u200b\u200d\ufeff", "a\u00a0b\u2003c\u3000d", "\r\n\r\n", "if (a<b && c>d) { return a|b; }",
    "def f(x):\n    return x ** 2\n\n\nclass A:\n\tpass\n", "https://example.com/a?b=c&d=%20#e",
    "foo@bar.baz #hashtag @user $100 50% ~/path C:\\dir", "<|im_start|>user\nHi<|im_end|>\n",
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "x<|im_start|>y", "<|im_start |>", "<<|im_end|>>",
    "<|im_start|><|im_start|>", " <|im_end|> ", "<repo_name>a<file_sep>b", "<|IM_START|>", "<gh_stars>5",
    "[CLS] [SEP] [PAD] [MASK] [UNK]", "<pad> <unk> <bos> <eos>", "null\u0000byte", "\u001b[31mred\u001b[0m",
    "ＦＵＬＬ ｗｉｄｔｈ", "ﬁ ligature ǅ ß ẞ", "İstanbul ılık", "e\u0301\u0301\u0301", "\ud7ff\ue000\uffff",
    "\U0010ffff\U00010000", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "          indented", "trailing   ",
    "MixedCASE camelCase snake_case kebab-case", "1,000,000.00", "O(n log n) ≤ ∑∫√∞ ≠ π", "“quotes” ‘single’ —dash–",
    "...!!!???", "\\n \\t \\\\", "'s 't 're", "''''", "Alice was beginning to get very tired",
    "'the Queen's-down,' said the Queen", "▁▁ lower ▁ block", "a\u2028b\u2029c\u0085d\u000bd\u000c",
]
WORDS = (
    "alpha Beta the of to and 12 3 007 99 don't it's isn't über straße 東京 मित्र дом \n \n\n \t ( ) [ ] { } , . ; : ! ? "
    "- -- _ = == += \" ' ` / // \\ | & && % ^ ~ # @ $ € £ 😀 🚀 é e\u0301 İ <|im_end|> <|im_start|> function int return"
).split(" ")


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

"""Texts that tokenizers get wrong: scripts, spaces, digits, control tokens, joined marks."""

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


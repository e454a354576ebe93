"""A small SentencePiece BPE vocabulary and token ids by llama.cpp.

    pip install sentencepiece gguf==0.19.0 cyllama
    python make_pieces.py TEXT > pieces.json

TEXT is any English text (the Brown corpus was used). Special tokens are not parsed.
"""

import io
import json
import sys
import tempfile

import gguf
import numpy as np
import sentencepiece
from cyllama.llama import llama_cpp
from make_texts import HAND

model = io.BytesIO()
sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(open(sys.argv[1]).read()[:400_000].splitlines()),
    model_writer=model, model_type="bpe", vocab_size=700, byte_fallback=True,
    normalization_rule_name="identity", remove_extra_whitespaces=False, num_threads=1,
    minloglevel=2,
)
pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
ids = range(pieces.get_piece_size())
tokens = [pieces.id_to_piece(i) for i in ids]
scores = [pieces.get_score(i) for i in ids]
types = [
    2 if pieces.is_unknown(i) else 3 if pieces.is_control(i) else 6 if pieces.is_byte(i) else 1
    for i in ids
]
with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
    writer = gguf.GGUFWriter(file.name, "llama")
    for add, value in [
        ("block_count", 1), ("context_length", 64), ("embedding_length", 32), ("head_count", 1),
        ("feed_forward_length", 32), ("layer_norm_rms_eps", 1e-5), ("vocab_size", len(tokens)),
    ]:
        getattr(writer, f"add_{add}")(value)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_add_space_prefix(True)
    writer.add_head_count_kv(1)
    writer.add_rope_dimension_count(32)
    shapes = {"token_embd": (len(tokens), 32), "output_norm": (32,)}
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        shapes[f"blk.0.{name}"] = (32, 32)
    for name in ("attn_norm", "ffn_norm"):
        shapes[f"blk.0.{name}"] = (32,)
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    llama = llama_cpp.LlamaModel(file.name)  # owns the vocabulary
    vocab = llama.get_vocab()
    rows = [[text, list(vocab.tokenize(text, False, False))] for text in HAND if text]
print(json.dumps({"tokens": tokens, "scores": scores, "types": types, "rows": rows}, separators=(",", ":")))

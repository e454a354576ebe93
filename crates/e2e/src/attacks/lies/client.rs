//! The client, who signs the receipt or hands over the proof, lies about its own end: tokens, sampler, tables.

use nesa_codec::Digest;

use super::{Lie, end};

const END: &str = "model-level lie";
const ATLAS: &str = "jolt-atlas #230, #247: statement not absorbed";

/// All of them.
pub(super) const LIES: &[Lie] = &[
    end(
        "another prompt token",
        ATLAS,
        |b| b.inference.prompt[1] ^= 1,
        |p| p.inference.prompt[1] ^= 1,
        ["Ends(the prompt)", "Range(0..1, Work)"],
    ),
    end(
        "tokens of another tokenizer",
        END,
        |b| b.inference.prompt.iter_mut().for_each(|t| *t += 1),
        |p| p.inference.prompt.iter_mut().for_each(|t| *t += 1),
        ["Ends(the prompt)", "Range(0..1, Work)"],
    ),
    end(
        "prompt tokens exchanged",
        END,
        |b| b.inference.prompt.swap(0, 1),
        |p| p.inference.prompt.swap(0, 1),
        ["Ends(the prompt)", "Range(0..1, Work)"],
    ),
    end(
        "the prompt's first token left out",
        "truncated context",
        |b| {
            b.inference.prompt.remove(0);
        },
        |p| {
            p.inference.prompt.remove(0);
        },
        [
            "Ends(the number of tokens)",
            "Range(0..1, Statement(\"number of rows\"))",
        ],
    ),
    end(
        "a token beyond the vocabulary",
        END,
        |b| b.inference.prompt[0] = u32::MAX,
        |p| p.inference.prompt[0] = u32::MAX,
        [
            "Model(Range(\"a token id\"))",
            "Model(Range(\"a token id\"))",
        ],
    ),
    end(
        "no prompt",
        END,
        |b| b.inference.prompt.clear(),
        |p| p.inference.prompt.clear(),
        ["Ends(the number of tokens)", "Malformed(\"tokens\")"],
    ),
    end(
        "another first answer token",
        ATLAS,
        |b| b.inference.answer[0] ^= 1,
        |p| p.inference.answer[0] ^= 1,
        ["Ends(the prompt)", "Range(0..1, Work)"],
    ),
    end(
        "another last answer token",
        ATLAS,
        |b| b.inference.answer[1] ^= 1,
        |p| p.inference.answer[1] ^= 1,
        ["Ends(the answer)", "Token(1)"],
    ),
    end(
        "the answer's last token left out",
        END,
        |b| {
            b.inference.answer.pop();
        },
        |p| {
            p.inference.answer.pop();
        },
        [
            "Ends(the number of tokens)",
            "Range(0..1, Statement(\"number of rows\"))",
        ],
    ),
    end(
        "one more answer token",
        END,
        |b| b.inference.answer.push(5),
        |p| p.inference.answer.push(5),
        ["Ends(the number of tokens)", "Invalid(\"packed rows\")"],
    ),
    end(
        "another seed",
        "wrong seed",
        |b| b.inference.sampling.seed = 1 << 40,
        |p| p.inference.sampling.seed = 1 << 40,
        ["Ends(the answer)", "Token(0)"],
    ),
    end(
        "greedy instead of drawn",
        "greedy instead of sampled",
        |b| b.inference.sampling.temperature_milli = 0,
        |p| p.inference.sampling.temperature_milli = 0,
        ["Ends(the answer)", "Token(0)"],
    ),
    end(
        "a higher temperature",
        END,
        |b| b.inference.sampling.temperature_milli = 50_000,
        |p| p.inference.sampling.temperature_milli = 50_000,
        ["Ends(the answer)", "Token(0)"],
    ),
    end(
        "the most likely token alone",
        END,
        |b| b.inference.sampling.top_k = 1,
        |p| p.inference.sampling.top_k = 1,
        ["Ends(the answer)", "Token(0)"],
    ),
    end(
        "another model's root",
        "stwo-ml audit H5",
        |b| b.inference.model = Digest([7; 32]),
        |p| p.inference.model = Digest([7; 32]),
        ["Ends(the model)", "Other(\"model\")"],
    ),
    end(
        "one bit of the model's root",
        "replay under another model",
        |b| b.inference.model.0[31] ^= 1,
        |p| p.inference.model.0[31] ^= 1,
        ["Ends(the model)", "Other(\"model\")"],
    ),
    end(
        "another version of the integer semantics",
        "stwo-ml audit C3",
        |b| b.inference.spec.0[0] ^= 1,
        |p| p.inference.spec.0[0] ^= 1,
        [
            "Ends(the model)",
            "Other(\"version of the integer semantics\")",
        ],
    ),
];

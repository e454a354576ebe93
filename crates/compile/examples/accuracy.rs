//! Compile a checkpoint and print its agreement with the float model:
//! `accuracy CHECKPOINT TEXT [tokens]`.
#![allow(clippy::unwrap_used, reason = "an example for developers")]

use nesa_checkpoint::Checkpoint;
use nesa_codec::Decode;
use nesa_compile::{compile, eval};
use nesa_model::block::Common;
use nesa_model::manifest::PartId;
use nesa_model::{Block, Vocabulary, bounds};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let ckpt = Checkpoint::open(args[1].as_ref()).unwrap();
    let text = std::fs::read_to_string(&args[2]).unwrap();
    let want: usize = args.get(3).map_or(2000, |v| v.parse().unwrap());
    let tok = ckpt.tokenizer().unwrap();
    let ids = tok
        .encode(&text[..text.len().min(want * 8 + 40_000)], false)
        .unwrap();
    let len = 256.min(ckpt.config.context);
    let (cal, test) = ids.split_at(2048);
    let cal: Vec<Vec<u32>> = cal.chunks(len).map(<[u32]>::to_vec).collect();
    let mut parts = Vec::new();
    let t = std::time::Instant::now();
    let mut sink = |id: PartId, b: &[u8]| {
        parts.push((id, b.to_vec()));
        Ok(())
    };
    let m = compile(&ckpt, 8192, &cal, &mut sink, &mut |_| ()).unwrap();
    println!(
        "compiled {} in {:.1} s",
        m.root(),
        t.elapsed().as_secs_f32()
    );
    let common = Common::from_bytes(&parts[0].1).unwrap();
    let vocabulary = Vocabulary::from_bytes(&parts[1].1).unwrap();
    let blocks: Vec<Block> = parts[2..]
        .iter()
        .map(|p| Block::from_bytes(&p.1).unwrap())
        .collect();
    for (i, b) in blocks.iter().enumerate() {
        if let nesa_model::Ffn::Gated {
            product_max, down, ..
        } = &b.ffn
        {
            println!("block {i}: product_max {product_max} lift {}", down.lift);
        }
    }
    let bounds = bounds::check_model(&m.shape, &blocks, vocabulary.head.as_ref(), 32767).unwrap();
    println!("{bounds:?} {:?}", bounds::lookups(&m.shape));
    let whole = eval::Whole::new(&m.shape, common, vocabulary, &blocks).unwrap();
    let float = eval::FloatModel::load(&ckpt).unwrap();
    let chunks: Vec<Vec<u32>> = test
        .chunks(len)
        .take(want / len)
        .map(<[u32]>::to_vec)
        .collect();
    let t = std::time::Instant::now();
    let a = eval::agreement(&float, &whole, &chunks, &|| ()).unwrap();
    let n = a.tokens as f64;
    println!(
        "{} tokens {:.1} s: ppl float {:.3} int {:.3} ratio of nats {:.5} KL {:.5} top1 {:.4}",
        a.tokens,
        t.elapsed().as_secs_f32(),
        (a.float_nats / n).exp(),
        (a.int_nats / n).exp(),
        a.int_nats / a.float_nats,
        a.kl_nats / n,
        a.same_top as f64 / n
    );
}

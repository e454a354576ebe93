//! Sealing in one go, resumed, interrupted, and over damaged or foreign leftovers.

use super::*;
use crate::{DeploymentKey, RowKey};
use nesa_model::KvCache;
use nesa_model::reference::Reference;
use nesa_model::testing::{self, Model};
use std::collections::BTreeMap;

/// A store in memory that fails after a number of writes.
#[derive(Default, Clone)]
struct Memory {
    parts: BTreeMap<PartId, Kept>,
    writes: usize,
    writes_max: Option<usize>,
}

impl Sink for Memory {
    fn kept(&mut self, part: PartId) -> Result<Option<Kept>, StoreError> {
        Ok(self.parts.get(&part).cloned())
    }

    fn keep(&mut self, part: PartId, _: &Digest, kept: Kept) -> Result<(), StoreError> {
        if self.writes_max == Some(self.writes) {
            return Err("disk full".into());
        }
        self.writes += 1;
        self.parts.insert(part, kept);
        Ok(())
    }
}

fn key(n: u8) -> DeploymentKey {
    DeploymentKey::from_bytes([n; 32])
}

fn base(m: &Model, part: PartId) -> Vec<u8> {
    match part {
        PartId::Common => m.common.to_bytes(),
        PartId::Layer(i) => m.blocks[i as usize].to_bytes(),
        PartId::Vocabulary => panic!("sealing never reads the vocabulary"),
    }
}

/// The papers and the number of layers read and resumed.
fn run(m: &Model, key: &DeploymentKey, sink: &mut Memory) -> (Sealed, usize, usize) {
    let mut read = 0;
    let mut seen = Vec::new();
    let sealed = seal(
        &m.manifest,
        key,
        &mut |p| {
            read += usize::from(p != PartId::Common);
            Ok(base(m, p))
        },
        sink,
        &mut |p| seen.push(p),
    )
    .unwrap();
    let total = m.blocks.len();
    let done: Vec<usize> = seen.iter().map(|p| p.done).collect();
    assert_eq!(done, (1..=total).collect::<Vec<_>>());
    assert!(seen.iter().all(|p| p.total == total));
    (sealed, read, seen[total - 1].resumed)
}

#[test]
fn a_sealed_model_opens_and_computes_hidden_rows() {
    for s in testing::shapes() {
        let m = testing::model(&s, 6);
        let mut sink = Memory::default();
        let (sealed, ..) = run(&m, &key(1), &mut sink);
        let manifest = Manifest::from_bytes(&sealed.manifest.to_bytes()).unwrap();
        let common = manifest
            .open_common(&sink.parts[&PartId::Common].bytes)
            .unwrap();
        let blocks: Vec<Block> = (0..s.layers as u32)
            .map(|i| {
                let bytes = &sink.parts[&PartId::Layer(i)].bytes;
                manifest.open_layer(i, bytes, &common).unwrap()
            })
            .collect();
        let rows = RowKey::new(&key(1).for_model(&m.manifest.root()), &s);
        let mut plain = m.vocabulary.embed(&s, &[4, 0, 9, 9], 0).unwrap();
        let mut hidden = plain.clone();
        rows.hide_in_place(&mut hidden).unwrap();
        let reference = Reference::new(&s, &common);
        let cache = || KvCache::new(&s, &(0..s.layers), 8);
        reference.forward(&m.blocks, &mut plain, &mut cache());
        reference.forward(&blocks, &mut hidden, &mut cache());
        rows.reveal_in_place(&mut hidden).unwrap();
        assert_eq!(hidden, plain);
    }
}

#[test]
fn a_sealed_manifest_says_nothing_of_the_text_side() {
    let mut m = testing::model(&testing::shapes()[0], 6);
    m.manifest.name = "very-secret-model".to_owned();
    m.manifest.text.tokenizer = Digest([0x71; 32]);
    m.manifest.text.template = Digest([0x72; 32]);
    m.manifest.text.eos = vec![49_152];
    let (sealed, ..) = run(&m, &key(1), &mut Memory::default());
    let text = &m.manifest.text;
    assert_eq!(sealed.manifest.text, TextSide::default());
    assert_eq!(sealed.manifest.sealed_under, Some(key(1).id()));
    assert_eq!(sealed.manifest.part_root(PartId::Vocabulary), None);
    assert!(sealed.manifest.name.starts_with("sealed-"));
    let bytes = sealed.manifest.to_bytes();
    let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|w| w == needle);
    assert!(holds(&m.manifest.common.0), "the search works");
    for secret in [
        text.vocabulary,
        text.tokenizer,
        text.template,
        m.manifest.root(),
    ] {
        assert!(!holds(&secret.0));
    }
    assert!(!holds(b"very-secret") && !holds(&49_152u32.to_le_bytes()));
    for layer in &m.manifest.layers {
        assert!(!holds(&layer.0));
    }
    // Nothing that says that two sealed models come from one base model, or from one key's name.
    let (other, ..) = run(&m, &key(2), &mut Memory::default());
    assert_ne!(other.manifest.name, sealed.manifest.name);
}

#[test]
fn roots_differ_by_key_and_repeat_under_one() {
    let m = testing::model(&testing::shapes()[1], 6);
    let (a, ..) = run(&m, &key(1), &mut Memory::default());
    let (again, ..) = run(&m, &key(1), &mut Memory::default());
    let (b, ..) = run(&m, &key(2), &mut Memory::default());
    assert_eq!(a, again);
    assert_ne!(a.manifest.root(), b.manifest.root());
    assert_ne!(a.manifest.root(), m.manifest.root());
    for (a, b) in a.manifest.layers.iter().zip(&b.manifest.layers) {
        assert_ne!(a, b);
    }
}

#[test]
fn an_interrupted_run_resumes_to_the_same_bytes() {
    let m = testing::model(&testing::shapes()[0], 6);
    let mut whole = Memory::default();
    let (expected, read, resumed) = run(&m, &key(1), &mut whole);
    assert_eq!((read, resumed, whole.writes), (3, 0, 4));
    for writes in 0..4 {
        let mut sink = Memory {
            writes_max: Some(writes),
            ..Memory::default()
        };
        let read = &mut |p| Ok(base(&m, p));
        let error = seal(&m.manifest, &key(1), read, &mut sink, &mut |_| ()).unwrap_err();
        assert!(matches!(error, PrivacyError::Store { .. }));
        assert!(error.to_string().contains("disk full"), "{error}");
        sink.writes_max = None;
        let (sealed, read, resumed) = run(&m, &key(1), &mut sink);
        assert_eq!(sealed, expected);
        assert_eq!(resumed, writes.saturating_sub(1));
        assert_eq!(read, 3 - resumed);
        assert_eq!(sink.parts, whole.parts);
    }
    let (_, read, resumed) = run(&m, &key(1), &mut whole);
    assert_eq!((read, resumed, whole.writes), (0, 3, 4));
}

#[test]
fn leftovers_that_do_not_match_are_sealed_again() {
    let m = testing::model(&testing::shapes()[0], 6);
    let mut good = Memory::default();
    let (expected, ..) = run(&m, &key(1), &mut good);
    let mut foreign = Memory::default();
    run(&m, &key(2), &mut foreign);
    let layer = PartId::Layer(1);
    let mut damaged = vec![
        foreign.parts[&layer].clone(),
        good.parts[&PartId::Layer(0)].clone(),
        Kept {
            bytes: m.blocks[1].to_bytes(),
            mark: good.parts[&layer].mark,
        },
        Kept {
            bytes: good.parts[&layer].bytes.clone(),
            mark: Digest::default(),
        },
        Kept {
            bytes: Vec::new(),
            mark: good.parts[&layer].mark,
        },
    ];
    for at in [0, 40, 500] {
        let mut kept = good.parts[&layer].clone();
        kept.bytes[at] ^= 4;
        damaged.push(kept);
    }
    for kept in damaged {
        let mut sink = good.clone();
        sink.parts.insert(layer, kept);
        let (sealed, read, resumed) = run(&m, &key(1), &mut sink);
        assert_eq!((read, resumed), (1, 2));
        assert_eq!(sealed, expected);
        assert_eq!(sink.parts, good.parts);
    }
}

#[test]
fn wrong_base_parts_are_refused() {
    let m = testing::model(&testing::shapes()[0], 6);
    let other = testing::model(&testing::shapes()[0], 7);
    for wrong in [PartId::Common, PartId::Layer(0), PartId::Layer(2)] {
        let read = &mut |p| Ok(base(if p == wrong { &other } else { &m }, p));
        let mut sink = Memory::default();
        let error = seal(&m.manifest, &key(1), read, &mut sink, &mut |_| ()).unwrap_err();
        assert!(matches!(error, PrivacyError::Model(_)), "{error}");
        assert!(!sink.parts.contains_key(&wrong));
    }
    let read = &mut |p| {
        if p == PartId::Layer(1) {
            Err("unplugged".into())
        } else {
            Ok(base(&m, p))
        }
    };
    let error = seal(
        &m.manifest,
        &key(1),
        read,
        &mut Memory::default(),
        &mut |_| (),
    )
    .unwrap_err();
    assert!(
        error.to_string().contains("layer-0001: unplugged"),
        "{error}"
    );
}

#[test]
fn a_sealed_model_is_not_sealed_again() {
    let m = testing::model(&testing::shapes()[0], 6);
    let (sealed, ..) = run(&m, &key(1), &mut Memory::default());
    let read = &mut |p| Ok(base(&m, p));
    let again = seal(
        &sealed.manifest,
        &key(1),
        read,
        &mut Memory::default(),
        &mut |_| (),
    );
    assert!(matches!(again, Err(PrivacyError::AlreadySealed)));
}

#[test]
fn a_link_is_the_word_of_its_key_alone() {
    let m = testing::model(&testing::shapes()[0], 6);
    let (sealed, ..) = run(&m, &key(1), &mut Memory::default());
    let link = Link::from_bytes(&sealed.link.to_bytes()).unwrap();
    assert_eq!(link, sealed.link);
    assert_eq!(link.base_root, m.manifest.root());
    assert_eq!(link.sealed_root, sealed.manifest.root());
    assert!(link.check(&key(1)).is_ok());
    assert!(matches!(link.check(&key(2)), Err(PrivacyError::Link)));
    let bytes = link.to_bytes();
    for i in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[i] ^= 1;
        assert!(
            Link::from_bytes(&bad).unwrap().check(&key(1)).is_err(),
            "{i}"
        );
        assert!(Link::from_bytes(&bytes[..i]).is_err());
    }
}

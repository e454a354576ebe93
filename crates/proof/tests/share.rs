//! What holders of shares sign, by hand; and evidence of a wrong answer, refused for each part that does not fit.
#![allow(clippy::unwrap_used, reason = "tests")]

use ed25519_dalek::{Signer, SigningKey};
use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer, merkle};
use nesa_field::P;
use nesa_model::spec::{TILE_ROWS, limits};
use nesa_model::split::{Product, multiply_reference};
use nesa_model::testing::{self, Model};
use nesa_proof::HolderStatement;
use nesa_proof::share::{
    AnswerStatement, NotProven, ROWS_MAX, Share, Tile, VALUES_MAX, WrongAnswer, advance,
    advance_by, answer_bytes_digest, answer_digest, put_values, read_point, read_ranges,
    read_values, write_ranges, write_values,
};
use nesa_proof::statement::signed_bytes;

const ROWS: u32 = 3;

fn sign(digest: &[u8]) -> [u8; 64] {
    let key = SigningKey::from_bytes(&[3; 32]);
    let digest = Digest(digest.try_into().unwrap());
    key.sign(&signed_bytes(&digest)).to_bytes()
}

fn statement(model: &Model, product: Product, share: &Share, answer: &[u32]) -> AnswerStatement {
    AnswerStatement {
        node: SigningKey::from_bytes(&[3; 32]).verifying_key().to_bytes(),
        session: Digest([1; 32]),
        model: model.manifest.root(),
        layer: 1,
        product: product.code(),
        flight: 12,
        rows: ROWS,
        share: share.digest(ROWS),
        answer: answer_digest(answer),
    }
}

/// Evidence of a wrong value at `at` of an answer (rows, outputs).
fn evidence(model: &Model, product: Product, at: usize) -> WrongAnswer {
    let block = &model.blocks[1];
    let cols = product.matrices(block)[0].cols;
    let values: Vec<u32> = (0..ROWS * cols as u32).map(|i| P - 1 - i * 77).collect();
    let share = Share::Values(values.clone());
    let mut answer = multiply_reference(block, product, &values);
    answer[at] ^= 1;
    let s = statement(model, product, &share, &answer);
    let signature = s.sign(&sign);
    WrongAnswer::find(s, signature, share, answer, &model.manifest, block).unwrap()
}

#[test]
fn limits_are_those_of_the_specification() {
    assert_eq!((VALUES_MAX, ROWS_MAX), (8_388_544, 16_384));
}

#[test]
fn values_of_any_number_survive_in_four_bytes_each() {
    for n in [0, 1, 3, 1023, 1024, 1025, 2048, 5000] {
        let values: Vec<u32> = (0..n)
            .map(|i: u32| i.wrapping_mul(0x0102_0304) % P)
            .collect();
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut put = vec![9];
        put_values(&mut put, &values);
        assert_eq!((put[0], &put[1..]), (9, &bytes[..]));
        let mut w = Writer::default();
        write_values(&mut w, &values);
        assert_eq!(w.as_slice()[w.as_slice().len() - bytes.len()..], bytes);
        let read = read_values(&mut Reader::new(w.as_slice()));
        assert_eq!(read.as_ref(), Ok(&values));
        let by_hand = Hasher::new("nesa.share.answer.v1").bytes(&bytes).finish();
        assert_eq!(answer_digest(&values), by_hand);
        assert_eq!(answer_bytes_digest(&bytes), by_hand);
        let share = Share::Values(values);
        assert_eq!(share.to_bytes().len(), 1 + w.as_slice().len());
        assert_eq!(Share::from_bytes(&share.to_bytes()).unwrap(), share);
    }
    let read = |v: u32| {
        let mut w = Writer::default();
        write_values(&mut w, &[1, v, 2]);
        read_values(&mut Reader::new(w.as_slice()))
    };
    assert!(read(P - 1).is_ok());
    assert!(matches!(read(P), Err(DecodeError::Invalid(_))));
    assert!(matches!(read(u32::MAX), Err(DecodeError::Invalid(_))));
    let mut w = Writer::default();
    w.len(VALUES_MAX + 1);
    let long = read_values(&mut Reader::new(w.as_slice()));
    assert!(matches!(long, Err(DecodeError::TooLong { .. })), "{long:?}");
}

#[test]
fn encodings_have_the_length_that_is_reserved_for_them() {
    let seed = Share::Seed([4; 32]);
    assert_eq!((seed.to_bytes().len(), seed.encoded_len()), (33, 33));
    // A count takes at most four bytes.
    let values = Share::Values(vec![1; 3000]);
    assert_eq!(values.encoded_len(), 5 + 4 * 3000);
    assert!(values.to_bytes().len() <= values.encoded_len());
    assert!(matches!(
        Share::from_bytes(&[2; 33]),
        Err(DecodeError::Invalid(_))
    ));
    let printed = format!("{seed:?} {values:?}");
    assert_eq!(printed, "Share::Seed(..) Share::Values(3000 elements)");
}

#[test]
fn shares_expand_to_their_size_alone() {
    let values = Share::Values(vec![7; 6]);
    assert_eq!(values.clone().expand(2, 3), Some(vec![7; 6]));
    assert_eq!(values.clone().expand(3, 3), None);
    assert_eq!(values.expand(2, 2), None);
    let seed = Share::Seed([4; 32]);
    let expanded = seed.clone().expand(2, 3).unwrap();
    assert_eq!(expanded, nesa_field::uniform(&[4; 32], 6));
    let nothing = |_: &[u8; 32], _: &mut [u32]| ();
    let size = |rows, cols| {
        seed.clone()
            .expand_with(rows, cols, nothing)
            .map(|v| v.len())
    };
    assert_eq!(size(VALUES_MAX, 1), Some(VALUES_MAX));
    assert_eq!(size(VALUES_MAX + 1, 1), None);
    assert_eq!(size(usize::MAX, 2), None);
}

#[test]
fn running_hashes_take_the_last_value_and_the_answer() {
    let model = testing::model(&testing::shapes()[0], 4);
    let s = statement(&model, Product::Qkv, &Share::Seed([1; 32]), &[1, 2]);
    let (zero, last) = (Digest::default(), Digest([7; 32]));
    let by_hand = Hasher::new("nesa.share.transcript.v1")
        .digest(&last)
        .digest(&s.digest())
        .finish();
    assert_eq!(advance(&last, &s), by_hand);
    assert_eq!(advance_by(&last, &s.digest()), by_hand);
    assert_ne!(advance(&zero, &s), by_hand);
    let other = AnswerStatement { flight: 13, ..s };
    assert_ne!(advance(&last, &other), by_hand);
    assert!(s.is_signed(&s.sign(&sign)));
    assert!(!other.is_signed(&s.sign(&sign)));
}

#[test]
fn ranges_ascend_and_touch_nothing() {
    let read = |ranges: &[(u32, u32)]| {
        let mut w = Writer::default();
        write_ranges(&mut w, ranges);
        read_ranges(&mut Reader::new(w.as_slice())).ok()
    };
    let most = nesa_model::spec::limits::LAYERS as u32;
    for good in [&[(0, 1)][..], &[(0, most)], &[(1, 2), (3, 4), (9, 12)]] {
        assert_eq!(read(good).as_deref(), Some(good));
    }
    let bad: [&[(u32, u32)]; 7] = [
        &[],
        &[(1, 1)],
        &[(2, 1)],
        &[(0, 1), (1, 2)],
        &[(0, 3), (2, 5)],
        &[(4, 5), (0, 1)],
        &[(0, most + 1)],
    ];
    for ranges in bad {
        assert_eq!(read(ranges), None, "{ranges:?}");
    }
    let many: Vec<(u32, u32)> = (0..17).map(|i| (2 * i, 2 * i + 1)).collect();
    assert_eq!(read(&many[..16]).as_deref(), Some(&many[..16]));
    assert_eq!(read(&many), None);
    assert!(read_point(&mut Reader::new(&[0])).is_err());
    assert_eq!(read_point(&mut Reader::new(&[200])), Ok(200));
}

#[test]
fn a_holder_holds_its_ranges() {
    let s = HolderStatement {
        node: [0; 32],
        session: Digest::default(),
        model: Digest::default(),
        ranges: vec![(1, 3), (5, 6)],
        point: 1,
        flights: 0,
        rows: 0,
        transcript: Digest::default(),
        price: 0,
    };
    let held: Vec<u32> = (0..8).filter(|l| s.holds(*l)).collect();
    assert_eq!(held, [1, 2, 5]);
    let by_hand = Hasher::new("nesa.proof.holder.v1").bytes(&s.to_bytes());
    assert_eq!(s.digest(), by_hand.finish());
    let node = SigningKey::from_bytes(&[3; 32]).verifying_key().to_bytes();
    let signed = |node| HolderStatement { node, ..s.clone() }.signed(&sign);
    assert!(signed(node).is_signed() && !signed([0; 32]).is_signed());
    let mut other = signed(node);
    other.statement.rows += 1;
    assert!(!other.is_signed());
}

/// Changes `e`, makes its digests those of what it now has, and judges it.
fn judge(e: &WrongAnswer, change: impl FnOnce(&mut WrongAnswer)) -> Result<(), NotProven> {
    let mut e = e.clone();
    change(&mut e);
    e.statement.share = e.share.digest(e.statement.rows);
    e.statement.answer = answer_digest(&e.answer);
    e.judge()
}

#[test]
fn evidence_is_refused_for_the_part_that_does_not_fit() {
    for shape in testing::shapes() {
        let model = testing::model(&shape, 4);
        for product in Product::ALL {
            let outputs: usize = (product.matrices(&model.blocks[1]).iter())
                .map(|m| m.rows)
                .sum();
            // In the first tile, in one between, and in the last of the last matrix.
            for output in [0, outputs / 2, outputs - 1] {
                refused_in_parts(&evidence(&model, product, outputs + output), outputs);
            }
        }
    }
}

fn refused_in_parts(e: &WrongAnswer, outputs: usize) {
    assert_eq!(judge(e, |_| ()), Ok(()));
    assert_eq!((e.row, e.verify().is_ok()), (1, true));
    let model = |what| Err(NotProven::Model(what));
    let (block, matrix, tile) = (model("the block"), model("the matrix"), model("the tile"));
    let flip = |d: &mut Digest| d.0[5] ^= 1;
    assert_eq!(
        judge(e, |e| flip(&mut e.statement.model)),
        model("the manifest")
    );
    assert_eq!(judge(e, |e| e.statement.layer = 0), block);
    assert_eq!(judge(e, |e| e.statement.layer = 99), block);
    assert_eq!(judge(e, |e| e.tile.operators.truncate(3)), block);
    assert_eq!(
        judge(e, |e| e.tile.operators.push(Digest::default())),
        block
    );
    assert_eq!(judge(e, |e| flip(&mut e.tile.operators[0])), block);
    assert_eq!(judge(e, |e| e.tile.clamp ^= 1), matrix);
    assert_eq!(judge(e, |e| e.tile.lift ^= 1), matrix);
    assert_eq!(judge(e, |e| flip(&mut e.tile.tiles)), matrix);
    assert_eq!(judge(e, |e| e.tile.constants[0].0 ^= 1), tile);
    assert_eq!(judge(e, |e| e.tile.constants[0].1 ^= 1), tile);
    assert_eq!(judge(e, |e| e.tile.constants.truncate(1)), tile);
    assert_eq!(judge(e, |e| e.tile.weights[0] ^= 1), tile);
    assert_eq!(judge(e, |e| e.tile.weights.truncate(1)), tile);
    assert_eq!(judge(e, |e| e.tile.weights.push(0)), tile);
    assert_eq!(judge(e, |e| e.tile.path.0.push(Digest::default())), tile);
    assert_eq!(judge(e, |e| e.statement.product = 4), model("the product"));
    assert_eq!(judge(e, |e| e.output = outputs as u32), model("the output"));
    assert_eq!(judge(e, |e| e.output = u32::MAX), model("the output"));
    let digest = |what| Err(NotProven::Digest(what));
    assert_eq!(judge(e, |e| e.row = ROWS), digest("the row"));
    assert_eq!(judge(e, |e| e.statement.rows = 0), digest("the row"));
    assert_eq!(judge(e, |e| e.statement.rows = 1 << 31), digest("the row"));
    assert_eq!(
        judge(e, |e| e.statement.rows += 1),
        digest("the share's size")
    );
    let short = |e: &mut WrongAnswer| e.share = Share::Values(vec![1; 5]);
    assert_eq!(judge(e, short), digest("the share's size"));
    // The value that was made wrong, put right; and the rows beside it, which always were.
    assert_eq!(judge(e, |e| e.row = 2), Err(NotProven::Right));
    assert_eq!(judge(e, |e| e.row = 0), Err(NotProven::Right));
    let at = outputs + e.output as usize;
    assert_eq!(judge(e, |e| e.answer[at] ^= 1), Err(NotProven::Right));
    // Another size is wrong, whatever it says.
    let longer = |e: &mut WrongAnswer| {
        e.answer[at] ^= 1;
        e.answer.push(0);
    };
    assert_eq!(judge(e, longer), Ok(()));
    let mut other = e.clone();
    flip(&mut other.statement.share);
    assert_eq!(other.judge(), digest("the share"));
    let mut other = e.clone();
    flip(&mut other.statement.answer);
    assert_eq!(other.judge(), digest("the answer"));
    assert_eq!(other.verify(), Err(NotProven::Signature));
}

#[test]
fn sizes_are_bounded_before_anything_is_expanded() {
    let model = testing::model(&testing::shapes()[0], 4);
    // Down has more columns than outputs, the feed-forward more outputs than columns.
    for product in [Product::Down, Product::Ffn] {
        let mut e = evidence(&model, product, 0);
        let matrices = product.matrices(&model.blocks[1]);
        let outputs: usize = matrices.iter().map(|m| m.rows).sum();
        let largest = matrices[0].cols.max(outputs);
        e.share = Share::Seed([5; 32]);
        let rows = (VALUES_MAX / largest) as u32;
        assert_eq!(judge(&e, |e| e.statement.rows = rows), Ok(()));
        let beyond = judge(&e, |e| e.statement.rows = rows + 1);
        assert_eq!(beyond, Err(NotProven::Digest("the row")));
    }
}

#[test]
fn tiles_decode_up_to_the_widest_model() {
    let model = testing::model(&testing::shapes()[0], 4);
    let read = |n: usize| {
        let mut tile = evidence(&model, Product::Down, 0).tile;
        tile.weights = vec![-3; n];
        Tile::from_bytes(&tile.to_bytes()).map(|t| t.weights.len())
    };
    let most = TILE_ROWS * limits::FFN;
    assert_eq!(read(most), Ok(most));
    assert!(read(most + 1).is_err());
}

#[test]
fn seeded_shares_are_judged_row_by_row() {
    let model = testing::model(&testing::shapes()[1], 4);
    let (block, product) = (&model.blocks[1], Product::Output);
    let cols = product.matrices(block)[0].cols;
    let share = Share::Seed([6; 32]);
    let values = share.clone().expand(ROWS as usize, cols).unwrap();
    let mut answer = multiply_reference(block, product, &values);
    let at = answer.len() - 1;
    answer[at] ^= 1;
    let s = statement(&model, product, &share, &answer);
    let e = WrongAnswer::find(s, s.sign(&sign), share, answer, &model.manifest, block).unwrap();
    assert_eq!((e.row, e.verify()), (ROWS - 1, Ok(s.node)));
    assert_eq!(judge(&e, |e| e.row = 0), Err(NotProven::Right));
    assert_eq!(judge(&e, |e| e.answer[at] ^= 1), Err(NotProven::Right));
    assert_eq!(
        e.tile.path,
        merkle::Path::from_bytes(&e.tile.path.to_bytes()).unwrap()
    );
}

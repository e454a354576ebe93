//! The distinguisher on two chosen prompts: payload rows under `ee` and under `hss`.

use nesa_field::{P, centred};
use nesa_kernels::Level;
use nesa_model::reference::Reference;
use nesa_model::split::Product;
use nesa_model::testing::Noise;
use nesa_privacy::shares::{Dealer, Scheme};

use crate::distinguisher::{Verdict, features, judge};
use crate::holders::entropy;
use crate::lab::{Expect, Subject, Tier};
use crate::{AttackError, Base, Stage};

/// Rows that train a classifier.
const TRAIN: usize = 6_000;
/// Rows that test it.
const TEST: usize = 12_000;

/// What the classifiers make of one kind of payload.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The tier.
    pub tier: Tier,
    /// What was judged.
    pub payload: String,
    /// The areas.
    pub verdict: Verdict,
    /// Chance, or far from it.
    pub expect: Expect,
}

/// Judges rows of 32-bit words as they were sent, each with whether it is of the second prompt; `known`
/// are plain rows that the attacker compares with. As many train as a third of all.
#[must_use]
pub fn judge_words(rows: &[(Vec<u32>, bool)], known: &[Vec<i32>], seed: u64) -> Verdict {
    let sample = |(words, second): &(Vec<u32>, bool)| {
        let values: Vec<i32> = words.iter().map(|w| centred(*w)).collect();
        (features(words, &values, known), *second)
    };
    let samples: Vec<_> = rows.iter().map(sample).collect();
    judge(&samples, samples.len() / 3, seed)
}

/// The inputs (n, cols) of each product of block 0, for `text`.
fn inputs(base: &Base, text: &[u32]) -> Result<Vec<(Product, Vec<i32>)>, AttackError> {
    let block = base.blocks.first().ok_or(AttackError::Stage)?;
    let mut rows = base.vocabulary.embed(&base.shape, text, 0)?;
    let mut cache = nesa_model::KvCache::new(&base.shape, &(0..1), text.len());
    let reference = Reference::new(&base.shape, &base.common);
    let steps = reference.block(block, 0, &mut rows, 0, &mut cache);
    let named = |name: &str| -> Vec<i32> {
        let ops = steps.iter().flat_map(|s| &s.ops);
        ops.filter(|o| o.0 == name)
            .flat_map(|o| o.1.clone())
            .collect()
    };
    let last = if base.shape.gated {
        "product"
    } else {
        "activation"
    };
    let names = ["input", "attention", "ffn_input", last];
    Ok(Product::ALL.into_iter().zip(names.map(named)).collect())
}

/// Judges payload rows of two prompts, of `n` rows each.
///
/// # Errors
/// What the model refuses.
pub fn distinguish(
    subject: &Subject,
    prompts: [&[u32]; 2],
    schemes: &[Scheme],
    seed: u64,
) -> Result<Vec<Told>, AttackError> {
    let base = &subject.base;
    let mut out = vec![hidden(subject, prompts)?];
    let [first, second] = [inputs(base, prompts[0])?, inputs(base, prompts[1])?];
    for scheme in schemes {
        for ((product, a), (_, b)) in first.iter().zip(&second) {
            // The first flight alone is judged for all products; joint views for the first one.
            if scheme.t() > 1 && *product != Product::Qkv {
                continue;
            }
            let (_, cols) = product.dims(&base.shape);
            let verdict = shared([a, b], cols, *scheme, seed ^ u64::from(product.code()))?;
            let who = match scheme.t() {
                1 => "the holder that is sent values".to_owned(),
                t => format!("{t} holders together"),
            };
            out.push(Told {
                tier: Tier::Hss(scheme.t(), scheme.n()),
                payload: format!("inputs of {product:?}, {who}"),
                verdict,
                expect: Expect::Chance,
            });
        }
    }
    Ok(out)
}

/// Rows under the deployment key, each as often as it takes: the positive control.
fn hidden(subject: &Subject, prompts: [&[u32]; 2]) -> Result<Told, AttackError> {
    let texts: Vec<Vec<u32>> = prompts.iter().map(|p| p.to_vec()).collect();
    let open = subject.base.view(Stage::Boundary(0), &texts)?;
    let ee = subject.hidden(&open)?;
    let known = known(&open.sessions[0], &open.sessions[1], open.dim);
    let rows: Vec<(Vec<f64>, bool)> = ee
        .rows()
        .map(|(s, _, row)| {
            let words: Vec<u32> = row.iter().map(|v| v.cast_unsigned()).collect();
            (features(&words, row, &known), s == 1)
        })
        .collect();
    let mut noise = Noise(1);
    let draw = |_| rows[(noise.bits() % rows.len() as u64) as usize].clone();
    let samples: Vec<_> = (0..TRAIN + TEST).map(draw).collect();
    Ok(Told {
        tier: Tier::Ee,
        payload: "rows at the first boundary".to_owned(),
        verdict: judge(&samples, TRAIN, 1),
        expect: Expect::Broken,
    })
}

/// Plain rows that the attacker compares with: two of each prompt.
fn known(a: &[i32], b: &[i32], dim: usize) -> Vec<Vec<i32>> {
    let rows = |x: &[i32]| {
        x.chunks_exact(dim)
            .take(2)
            .map(<[i32]>::to_vec)
            .collect::<Vec<_>>()
    };
    [rows(a), rows(b)].concat()
}

/// Shares of the inputs of two prompts (n, cols), every session dealt anew; what the last `t` holders
/// received of a row is one sample.
fn shared(
    inputs: [&Vec<i32>; 2],
    cols: usize,
    scheme: Scheme,
    seed: u64,
) -> Result<Verdict, AttackError> {
    let noise = &mut Noise(seed);
    let known = known(inputs[0], inputs[1], cols);
    let points: Vec<u8> = (1..=scheme.n() as u8).collect();
    let coalition = scheme.n() - scheme.t()..scheme.n();
    let mut samples = Vec::with_capacity(TRAIN + TEST);
    let mut second = false;
    while samples.len() < TRAIN + TEST {
        let mut dealer = Dealer::new(entropy(noise));
        let flight = dealer.deal(
            Level::detect(),
            scheme.t(),
            &points,
            inputs[usize::from(second)],
        )?;
        let shares: Vec<&[u32]> = coalition.clone().filter_map(|i| flight.share(i)).collect();
        let rows = inputs[0].len().min(inputs[1].len()) / cols;
        for r in 0..rows {
            let row = |s: &&[u32]| s[r * cols..(r + 1) * cols].to_vec();
            let words = shares.iter().map(row).collect::<Vec<_>>().concat();
            debug_assert!(words.iter().all(|w| *w < P));
            let values: Vec<i32> = words.iter().map(|w| centred(*w)).collect();
            samples.push((features(&words, &values, &known), second));
        }
        second = !second;
    }
    Ok(judge(&samples, TRAIN, seed))
}

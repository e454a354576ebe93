//! What an answer cost and what it gave away: counted, and predicted by a formula.

use nesa_model::split::{Outline, Product};

use super::padding::Padding;
use super::placement::Placement;

/// Bytes of a flight's message besides its share: number, layer, product, rows, and the frame's header.
const SHARES_HEADER: u64 = 17 + 5;
/// Bytes of a share that is a seed.
const SEED_BYTES: u64 = 33;
/// Bytes of a share's header where its values are sent.
const VALUES_HEADER: u64 = 5;
/// Bytes of an answer besides its values: number, signature, count, and the frame's header.
const ANSWER_HEADER: u64 = 8 + 64 + 4 + 5;

/// Counters of one answer. Bytes are those of frames, before encryption and packets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Bytes sent, by holder.
    pub up: Vec<u64>,
    /// Bytes of the answers that came, by holder.
    pub down: Vec<u64>,
    /// Flights sent, by holder.
    pub sent_flights: Vec<u64>,
    /// Rows sent, by holder: what it may meter.
    pub sent_rows: Vec<u64>,
    /// Flights dealt, each to all holders of its layer.
    pub flights: u64,
    /// Rows dealt, limbs and padding counted, over all flights.
    pub rows: u64,
    /// Rows that the prompt was sent as.
    pub prompt_rows: usize,
    /// Steps after the prompt, those of padding included.
    pub steps: usize,
    /// Steps that gave tokens.
    pub real_steps: usize,
    /// Rows of a step.
    pub width: usize,
    /// Tokens guessed ahead that were right.
    pub drafts_right: usize,
    /// Tokens guessed ahead.
    pub drafts: usize,
}

/// Bytes up and down that `rows` positions in one flight per product cost over all holders, and the
/// flights that are: the formula that counters must equal.
#[must_use]
pub fn predict(outline: &Outline, placement: &Placement, rows: usize) -> (u64, u64, u64) {
    let (mut up, mut down, mut flights) = (0, 0, 0);
    let scheme = placement.scheme();
    let (t, n) = (scheme.t() as u64, scheme.n() as u64);
    for layer in 0..outline.shape().layers {
        for product in Product::ALL {
            let (outputs, inputs) = outline.dims(layer, product);
            let rows = (rows * outline.limbs(layer, product).count) as u64;
            let values = VALUES_HEADER + rows * inputs as u64 * 4;
            up += n * SHARES_HEADER + t * SEED_BYTES + (n - t) * values;
            down += n * (ANSWER_HEADER + rows * outputs as u64 * 4);
            flights += 1;
        }
    }
    (up, down, flights)
}

impl Traffic {
    pub(super) fn new(holders: usize, width: usize) -> Self {
        Self {
            up: vec![0; holders],
            down: vec![0; holders],
            sent_flights: vec![0; holders],
            sent_rows: vec![0; holders],
            width,
            ..Self::default()
        }
    }

    pub(super) fn sent(&mut self, holder: usize, rows: usize, share_bytes: usize) {
        self.up[holder] += SHARES_HEADER + share_bytes as u64;
        self.sent_flights[holder] += 1;
        self.sent_rows[holder] += rows as u64;
    }

    pub(super) fn answered(&mut self, holder: usize, values: usize) {
        self.down[holder] += ANSWER_HEADER + 4 * values as u64;
    }

    /// The leakage statement of this answer (JSON, one line).
    #[must_use]
    pub fn leakage(&self, placement: &Placement, padding: Padding) -> String {
        let (t, n) = (placement.scheme().t(), placement.scheme().n());
        format!(
            r#"{{"tier":"hss","label":"private","scheme":{{"t":{t},"n":{n}}},"holders":{},"prompt_rows":{},"step_rows":{},"steps":{},"padding":"{}","a_node_learns":["which model and layers","a prompt of at most prompt_rows tokens","at most steps times step_rows further tokens","when flights came"],"a_node_does_not_learn":["tokens, activations, logits, or any function of them"],"stops":["the network between client and nodes","any {t} colluding nodes","wrong answers: each passes with probability below 2^-61.9"],"assumes":["no {} nodes of the session collude","shares sent as seeds: ChaCha20 keystreams cannot be told from random"],"operators":"self-declared"}}"#,
            placement.nodes().len(),
            self.prompt_rows,
            self.width,
            self.steps,
            padding.name(),
            t + 1,
        )
    }
}

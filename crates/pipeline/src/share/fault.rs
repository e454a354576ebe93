//! Ways in which a holder of shares can lie, for tests. An honest node has none.

/// One kind of lie about products of shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShareFault {
    /// One element of each answer is off by one.
    OneOff,
    /// Multiplies by the matrices of another block.
    WrongLayer,
    /// Answers with what it answered the last time to the same product.
    Stale,
    /// Answers with zeros.
    Zeros,
    /// Runs another model's weights: every 97th weight is off by one.
    OtherWeights,
    /// Answers nothing.
    NoAnswer,
    /// Answers right, but too late.
    LateAnswer,
    /// Answers right, but signs something else.
    BadSignature,
}

impl ShareFault {
    /// All faults.
    pub const ALL: [Self; 8] = [
        Self::OneOff,
        Self::WrongLayer,
        Self::Stale,
        Self::Zeros,
        Self::OtherWeights,
        Self::NoAnswer,
        Self::LateAnswer,
        Self::BadSignature,
    ];
    /// Flights of a session that a liar answers honestly first, so that it is trusted.
    pub const HONEST_FLIGHTS: u64 = 6;
    /// How late late answers are, in ms.
    pub const LATE_MS: u64 = 20_000;

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OneOff => "share-one-off",
            Self::WrongLayer => "share-wrong-layer",
            Self::Stale => "share-stale",
            Self::Zeros => "share-zeros",
            Self::OtherWeights => "share-other-weights",
            Self::NoAnswer => "share-no-answer",
            Self::LateAnswer => "share-late",
            Self::BadSignature => "share-bad-signature",
        }
    }

    /// Changes an answer; `past` is what was computed for the same product before.
    pub(super) fn corrupt(self, values: &mut [u32], past: Option<&[u32]>) {
        match self {
            Self::OneOff => {
                let at = values.len() * 2 / 3;
                if let Some(v) = values.get_mut(at) {
                    *v = if *v == 0 { 1 } else { *v - 1 };
                }
            }
            Self::Zeros => values.fill(0),
            Self::Stale => {
                if let Some(past) = past.filter(|p| p.len() == values.len()) {
                    values.copy_from_slice(past);
                }
            }
            _ => {}
        }
    }
}

//! What a hop can do wrong while every product is checked.

use nesa_model::split::Product;

/// What a hop did wrong. Hops count from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// Sums that are not those of the model on what came before.
    #[error(
        "hop {hop}, layer {layer}, position {position}: the sums of product {product:?} are not the \
         model's"
    )]
    Sums {
        /// The hop.
        hop: usize,
        /// The layer.
        layer: u32,
        /// The product.
        product: Product,
        /// The position.
        position: u32,
    },
    /// Sums that were not next: skipped, repeated, reordered, or of rows that nobody sent.
    #[error("hop {hop}: sums from position {start}, unit {unit} on were not next")]
    Order {
        /// The hop.
        hop: usize,
        /// The flight that they were said to belong to.
        start: u32,
        /// Their place in it.
        unit: u32,
    },
    /// Bytes that encode no sums.
    #[error("hop {hop}, layer {layer}, position {position}: the sums do not decode")]
    Malformed {
        /// The hop.
        hop: usize,
        /// The layer.
        layer: u32,
        /// The position of the first row of the flight.
        position: u32,
    },
    /// Sums that never came.
    #[error("hop {hop}: no sums of the rows from position {position} on, layer {layer}")]
    Missing {
        /// The hop.
        hop: usize,
        /// The layer.
        layer: u32,
        /// The first position of the flight.
        position: u32,
    },
    /// A returned row that the sums do not lead to.
    #[error("hop {hop}, position {position}: the row that it returned is not the model's")]
    Row {
        /// The last hop.
        hop: usize,
        /// The position.
        position: u32,
    },
    /// A signed statement about other rows than those that the sums lead to.
    #[error("hop {hop}: it signed {what} other than what its sums lead to")]
    Statement {
        /// The hop.
        hop: usize,
        /// What it signed.
        what: &'static str,
    },
}

impl Wrong {
    /// The hop at fault.
    #[must_use]
    pub fn hop(&self) -> usize {
        match self {
            Self::Sums { hop, .. }
            | Self::Order { hop, .. }
            | Self::Malformed { hop, .. }
            | Self::Missing { hop, .. }
            | Self::Row { hop, .. }
            | Self::Statement { hop, .. } => *hop,
        }
    }
}

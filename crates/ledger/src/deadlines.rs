//! What is due when: every job has an end that comes without anyone's doing.

use nesa_codec::Digest;

use crate::dispatch::{contain, expire};
use crate::state::{Mark, Overlay, Table};
use crate::{Context, Refusal, tables};

/// Jobs by the height at which they end, then by family and id.
pub const DEADLINES: Table<(u64, u8, Digest), Mark> = Table::new(tables::DEADLINES);

/// The most jobs that one block ends; the others end in the next.
pub const DUE_MAX: usize = 1_000;

/// Ends the job `id` of a family in the block of that height.
pub fn schedule(state: &mut Overlay, height: u64, family: u8, id: &Digest) {
    DEADLINES.set(state, &(height, family, *id), &Mark);
}

/// Takes a job out of the queue: it ended before its time.
pub fn cancel(state: &mut Overlay, height: u64, family: u8, id: &Digest) {
    DEADLINES.remove(state, &(height, family, *id));
}

/// Ends what is due.
///
/// # Errors
/// Fatal refusals.
pub(crate) fn run(ctx: &mut Context<'_>) -> Result<(), Refusal> {
    let mut due = Vec::new();
    for row in DEADLINES.rows(&*ctx.state, None).take(DUE_MAX) {
        let (key, _) = row?;
        if key.0 > ctx.env.height {
            break;
        }
        due.push(key);
    }
    for key in due {
        // An earlier one may have ended it.
        if DEADLINES.has(&*ctx.state, &key) {
            DEADLINES.remove(ctx.state, &key);
            contain(ctx, |ctx| expire(ctx, key.1, &key.2))?;
        }
    }
    Ok(())
}

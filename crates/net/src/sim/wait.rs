//! Waiting for the world to change.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::Network;
use super::world::World;

/// What a look at the world gives to one who waits for something.
pub(super) enum Look<T> {
    Ready(T),
    /// Look again after a change.
    Changed(Arc<Notify>),
    /// Look again after a change or in so many ms.
    ChangedOrIn(Arc<Notify>, u64),
}

/// Looks at the world, again after each change, until `look` is ready.
pub(super) async fn wait_for<T>(
    network: &Network,
    mut look: impl FnMut(&mut World) -> Look<T> + Send,
) -> T {
    loop {
        let (changed, ms) = {
            let outcome = look(&mut network.world());
            match outcome {
                Look::Ready(t) => return t,
                Look::Changed(n) => (n, None),
                Look::ChangedOrIn(n, ms) => (n, Some(ms)),
            }
        };
        // Nothing changed since the look: one thread runs all tasks, and no await lies in between.
        match ms {
            None => changed.notified().await,
            Some(ms) => {
                let _ = timeout(Duration::from_millis(ms), changed.notified()).await;
            }
        }
    }
}

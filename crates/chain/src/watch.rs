//! Passes the engine's reports on and keeps what proves a contradiction.

use std::sync::Arc;

use commonware_actor::Feedback;
use commonware_consensus::Reporter;

use crate::convert::{Activity, evidence};
use crate::core::Core;
use crate::machine::Machine;

/// A reporter in front of another.
#[derive(Debug)]
pub(crate) struct Watch<M: Machine, R> {
    pub(crate) core: Arc<Core<M>>,
    pub(crate) inner: R,
}

impl<M: Machine, R: Clone> Clone for Watch<M, R> {
    fn clone(&self) -> Self {
        Self {
            core: self.core.clone(),
            inner: self.inner.clone(),
        }
    }
}

impl<M: Machine, R: Reporter<Activity = Activity>> Reporter for Watch<M, R> {
    type Activity = Activity;

    fn report(&mut self, activity: Activity) -> Feedback {
        if let Some(found) = evidence(&activity, &self.core.domain, &self.core.validators) {
            self.core.accuse(found);
        }
        self.inner.report(activity)
    }
}

//! What goes in and what comes out.

use nesa_codec::{Decode, DecodeError, Encode, Hasher, Reader, Writer};

use crate::{DecisionError, limits};

/// What the scores mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// One score: class 1 when it is above 0, else class 0.
    Binary,
    /// One score per class: the largest, the lowest class on ties.
    Classes,
    /// One score, which is the answer.
    Regression,
}

/// Names of features and classes, and the task; all of it is part of the model's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    features: Vec<String>,
    classes: Vec<String>,
    task: Task,
    places: u8,
}

/// What a model says about one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The class, but for a regression.
    pub class: Option<u32>,
    /// (scores) in steps of `2^-places` of the schema.
    pub scores: Vec<i64>,
}

impl Schema {
    /// A schema of at least one feature.
    ///
    /// `places`: a score of `2^places` is 1 in the unit of the original's margins.
    ///
    /// # Errors
    /// [`DecisionError::Invalid`] beyond [`limits`] or where the classes do not fit the task.
    pub fn new(
        features: Vec<String>,
        classes: Vec<String>,
        task: Task,
        places: u8,
    ) -> Result<Self, DecisionError> {
        let fits = match task {
            Task::Binary => classes.len() == 2,
            Task::Classes => classes.len() >= 2,
            Task::Regression => classes.is_empty(),
        };
        if !fits || classes.len() > limits::CLASSES {
            return Err(DecisionError::Invalid("number of classes"));
        }
        if features.is_empty() || features.len() > limits::FEATURES {
            return Err(DecisionError::Invalid("number of features"));
        }
        let long = |n: &String| n.len() > limits::NAME_BYTES;
        if features.iter().any(long) || classes.iter().any(long) {
            return Err(DecisionError::Invalid("length of a name"));
        }
        if places > limits::PLACES {
            return Err(DecisionError::Invalid("binary places of scores"));
        }
        Ok(Self {
            features,
            classes,
            task,
            places,
        })
    }

    /// Names of the features, in the order of a row.
    #[must_use]
    pub fn features(&self) -> &[String] {
        &self.features
    }

    /// Names of the classes; none for a regression.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// What the scores mean.
    #[must_use]
    pub fn task(&self) -> Task {
        self.task
    }

    /// Binary places of a score.
    #[must_use]
    pub fn places(&self) -> u8 {
        self.places
    }

    /// Scores of one decision.
    #[must_use]
    pub fn scores(&self) -> usize {
        match self.task {
            Task::Binary | Task::Regression => 1,
            Task::Classes => self.classes.len(),
        }
    }

    /// The decision that `scores` mean.
    #[must_use]
    pub fn decision(&self, scores: Vec<i64>) -> Decision {
        let class = match self.task {
            Task::Regression => None,
            Task::Binary => Some(u32::from(scores.first().is_some_and(|s| *s > 0))),
            Task::Classes => {
                let mut best = 0;
                for (i, s) in scores.iter().enumerate() {
                    if *s > scores[best] {
                        best = i;
                    }
                }
                Some(best as u32)
            }
        };
        Decision { class, scores }
    }

    /// Adds everything to a hash.
    pub(crate) fn hash(&self, h: Hasher) -> Hasher {
        h.bytes(&self.to_bytes())
    }
}

fn names(r: &mut Reader<'_>, max: usize) -> Result<Vec<String>, DecodeError> {
    let n = r.len(max)?;
    let mut out = Vec::with_capacity(n.min(r.remaining() / 4 + 1));
    for _ in 0..n {
        out.push(r.str(limits::NAME_BYTES)?.to_owned());
    }
    Ok(out)
}

impl Encode for Schema {
    fn encode(&self, w: &mut Writer) {
        for list in [&self.features, &self.classes] {
            w.len(list.len());
            for name in list {
                w.str(name);
            }
        }
        w.u8(match self.task {
            Task::Binary => 0,
            Task::Classes => 1,
            Task::Regression => 2,
        });
        w.u8(self.places);
    }
}

impl Decode for Schema {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let features = names(r, limits::FEATURES)?;
        let classes = names(r, limits::CLASSES)?;
        let task = match r.u8()? {
            0 => Task::Binary,
            1 => Task::Classes,
            2 => Task::Regression,
            _ => return Err(DecodeError::Invalid("task")),
        };
        Self::new(features, classes, task, r.u8()?).map_err(crate::refused)
    }
}

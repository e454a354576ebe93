//! Every known break and every lie about a model, told at every level of evidence.
//!
//! A malicious party runs the honest one and changes one thing. An [`Attack`] is that one thing, with what each level
//! must say to it: the exact refusal, or that the level does not claim to find it, or that the level has no such
//! message. [`run`] tells it for real and compares.
//!
//! ```text
//! World (honest model, client, hops) ─ Attack ─► evidence ─► verifier of the level ─► refusal = expected?
//! ```

mod circuit;
mod dispute;
mod hop;
mod levels;
mod lies;
mod openings;
mod proofs;
mod receipts;
pub mod report;
mod session;
mod statements;
mod sums;
mod world;

pub use world::World;

use std::time::Duration;

/// The levels of evidence, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Signed, chained statements.
    Receipt,
    /// Cells opened and recomputed; here all of them.
    Spot,
    /// Every product checked while it runs.
    Checked,
    /// Bisection to one step, which a third party executes.
    Refereed,
    /// The succinct proof.
    Proof,
}

impl Level {
    /// All levels.
    pub const ALL: [Self; 5] = [
        Self::Receipt,
        Self::Spot,
        Self::Checked,
        Self::Refereed,
        Self::Proof,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Receipt => "receipt",
            Self::Spot => "spot",
            Self::Checked => "checked",
            Self::Refereed => "refereed",
            Self::Proof => "proof",
        }
    }
}

/// What a level must say to an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Refused, for exactly this reason.
    Refused(&'static str),
    /// Refused for this reason once a wrong cell is opened: with `k` of `n` cells opened and `b` of them wrong, with
    /// chance `1 − C(n−b, k) / C(n, k)`. The attack is run with all cells opened.
    Chance(&'static str),
    /// Accepted: the level does not claim to find it.
    NotClaimed,
    /// There is nothing at this level to tell the lie with, and why.
    NotApplicable(&'static str),
}

/// What a verifier said, and what that cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The refusal; `None` where the evidence was accepted.
    pub refusal: Option<String>,
    /// Bytes of the evidence.
    pub bytes: u64,
    /// Time of the verifier.
    pub time: Duration,
}

/// One attack at one level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The level.
    pub level: Level,
    /// What must come.
    pub expected: Expected,
    /// What came; `None` where the level is not applicable.
    pub judged: Option<Judged>,
}

impl Cell {
    /// Why the attack was refused, where it was.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        self.judged.as_ref()?.refusal.as_deref()
    }

    /// Whether what came is what must come.
    #[must_use]
    pub fn holds(&self) -> bool {
        let refusal = self.judged.as_ref().map(|j| j.refusal.as_deref());
        match self.expected {
            Expected::Refused(reason) | Expected::Chance(reason) => refusal == Some(Some(reason)),
            Expected::NotClaimed => refusal == Some(None),
            Expected::NotApplicable(_) => refusal.is_none(),
        }
    }
}

/// An attack at every level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What kind of thing is attacked.
    pub group: &'static str,
    /// The attack.
    pub name: String,
    /// Whose break it is, or which lie.
    pub source: &'static str,
    /// One cell per level.
    pub cells: Vec<Cell>,
}

impl Row {
    /// Whether every level said what it must.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.cells.iter().all(Cell::holds)
    }

    /// Whether no level refuses it.
    #[must_use]
    pub fn is_undetected(&self) -> bool {
        self.cells.iter().all(|c| c.refusal().is_none())
    }
}

/// The group of the one row in which nothing is changed.
const CONTROL: &str = "control";

/// Tells the attack to the verifier of a level.
type Tell = Box<dyn Fn(&World, Level) -> crate::Result<Judged>>;

/// One thing that a malicious party changes.
pub struct Attack {
    /// What kind of thing is attacked.
    pub group: &'static str,
    /// The attack.
    pub name: String,
    /// Whose break it is, or which lie.
    pub source: &'static str,
    /// What each level must say.
    pub expected: [Expected; 5],
    tell: Tell,
}

impl std::fmt::Debug for Attack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Attack({}: {})", self.group, self.name)
    }
}

impl Attack {
    /// Tells the attack to one level, if it exists there.
    ///
    /// # Errors
    /// [`crate::Error`] where the honest part of the run breaks off.
    pub fn tell(&self, world: &World, level: Level) -> crate::Result<Cell> {
        let expected = self.expected[level as usize];
        let judged = match expected {
            Expected::NotApplicable(_) => None,
            _ => Some((self.tell)(world, level)?),
        };
        Ok(Cell {
            level,
            expected,
            judged,
        })
    }

    /// Tells the attack to every level.
    ///
    /// # Errors
    /// As [`Attack::tell`].
    pub fn run(&self, world: &World) -> crate::Result<Row> {
        let cells = Level::ALL.map(|level| self.tell(world, level));
        Ok(Row {
            group: self.group,
            name: self.name.clone(),
            source: self.source,
            cells: cells.into_iter().collect::<crate::Result<_>>()?,
        })
    }
}

/// The control, and all attacks.
#[must_use]
pub fn all() -> Vec<Attack> {
    let mut all = vec![lies::control()];
    all.extend(lies::attacks());
    all.extend(statements::attacks());
    all.extend(receipts::attacks());
    all.extend(openings::attacks());
    all.extend(sums::attacks());
    all.extend(dispute::attacks());
    all.extend(circuit::attacks());
    all
}

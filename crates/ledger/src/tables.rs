//! The numbers of all tables, in one place so that no two families share one.
//!
//! Core 0–15, staking 16–31, operators and models 32–63, sessions 64–79, receipts, audits and
//! disputes 80–111, governance 112–127, contracts 128–143.

/// `()` → [`crate::Params`].
pub const PARAMS: u8 = 0;
/// [`crate::Address`] → [`crate::Account`].
pub const ACCOUNTS: u8 = 1;
/// (pot kind, id) → [`crate::Amount`].
pub const POTS: u8 = 2;
/// pot kind → [`crate::Amount`]; kind 255 is what was ever minted, genesis included.
pub const TOTALS: u8 = 3;
/// (height, family, id) → (): what is due when.
pub const DEADLINES: u8 = 4;
/// `()` → [`crate::epoch::Epoch`].
pub const EPOCH: u8 = 5;
/// ed25519 key → [`crate::staking::Validator`].
pub const VALIDATORS: u8 = 16;
/// (validator, delegator) → [`crate::staking::Delegation`].
pub const DELEGATIONS: u8 = 17;
/// id → [`crate::staking::Unbonding`].
pub const UNBONDING: u8 = 18;
/// `()` → u64: unbondings ever begun, which numbers them.
pub const UNBONDINGS: u8 = 20;
/// `()` → [`crate::staking::Seats`].
pub const SEATS: u8 = 21;
/// ed25519 key → [`crate::operators::Operator`].
pub const OPERATORS: u8 = 32;
/// id → [`crate::operators::Lease`].
pub const LEASES: u8 = 33;
/// (model, lease) → ().
pub const LEASES_BY_MODEL: u8 = 34;
/// (node, lease) → ().
pub const LEASES_BY_NODE: u8 = 35;
/// root → [`crate::models::Model`].
pub const MODELS: u8 = 48;
/// root → [`crate::models::Shards`].
pub const MODEL_SHARDS: u8 = 49;
/// (root, address) → ().
pub const MODEL_ALLOWED: u8 = 50;
/// (root of the first version, number) → root.
pub const MODEL_VERSIONS: u8 = 51;
/// (publisher, root) → ().
pub const MODELS_BY_PUBLISHER: u8 = 52;
/// id → [`crate::sessions::Session`].
pub const SESSIONS: u8 = 64;
/// (session, number) → [`crate::sessions::Lane`].
pub const LANES: u8 = 65;
/// [`crate::Address`] → u64: sessions ever opened, which names them.
pub const OPENED: u8 = 66;
/// (payer, session) → ().
pub const SESSIONS_BY_PAYER: u8 = 67;
/// name → [`crate::disputes::Dispute`].
pub const DISPUTES: u8 = 80;
/// dispute → what it is about.
pub const DISPUTE_MATTERS: u8 = 81;
/// (dispute, number) → a signed answer.
pub const DISPUTE_MOVES: u8 = 82;
/// (node, dispute) → ().
pub const DISPUTES_BY_NODE: u8 = 83;
/// digest of a statement that was punished → [`crate::disputes::Offence`].
pub const OFFENCES: u8 = 84;
/// flight of which a share is public → ().
pub const DISCLOSED: u8 = 85;
/// (session, lane) → [`crate::Amount`]: what its payer got back.
pub const REFUNDED: u8 = 86;
/// subject of statements → [`crate::disputes::Lies`].
pub const LIES: u8 = 87;
/// result of a subject that the ledger has seen → ().
pub const RESULTS: u8 = 88;
/// job → [`crate::disputes::audits::Audit`].
pub const AUDITS: u8 = 96;
/// ed25519 key of a node that audits → ().
pub const AUDITORS_ENLISTED: u8 = 97;
/// (session, lane) → [`crate::Amount`]: what was handed to auditors.
pub const AUDITS_RECORDED: u8 = 98;
/// number → [`crate::governance::Proposal`].
pub const PROPOSALS: u8 = 112;
/// (number, voter) → [`crate::governance::Vote`].
pub const VOTES: u8 = 113;
/// `()` → u64: proposals ever made, which numbers them.
pub const PROPOSED: u8 = 114;
/// `()` → [`crate::governance::Spending`].
pub const SPENDING: u8 = 115;
/// number → (): proposals that are voted on.
pub const VOTING: u8 = 116;
/// Keccak hash → code of contracts; written by their engine.
pub const CODE: u8 = 128;
/// (contract, slot) → word; written by their engine.
pub const STORAGE: u8 = 129;
/// (root, number) → a chunk of a decision model's file.
pub const MODEL_CHUNKS: u8 = 130;
/// root → [`crate::requests::File`].
pub const MODEL_FILES: u8 = 131;
/// id → [`crate::requests::Request`].
pub const REQUESTS: u8 = 132;
/// id → what is asked.
pub const REQUEST_INPUTS: u8 = 133;
/// id → what was answered.
pub const REQUEST_OUTPUTS: u8 = 134;
/// [`crate::Address`] → u64: requests ever made, which names them.
pub const REQUESTS_ASKED: u8 = 135;
/// number → id of a request whose callback is due.
pub const CALLBACKS: u8 = 136;
/// `()` → u64: callbacks that ever became due, which orders them.
pub const CALLBACKS_COUNT: u8 = 137;

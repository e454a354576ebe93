//! Sessions, audits and convictions in bulk: every step a signed transaction on a real ledger.

use std::collections::HashMap;

use alloy_primitives::{B256, U256};
use anyhow::{Context as _, Result, ensure};
use ed25519_dalek::{Signer as _, SigningKey};
use nesa_codec::{Digest, Encode as _, Hasher, merkle};
use nesa_ledger::disputes::abi::IDisputes::{
    commitCall, enlistCall, recordCall, revealCall, revealClaimCall, submitEvidenceCall,
};
use nesa_ledger::disputes::{self, Evidence, Link, audits};
use nesa_ledger::models::{self, abi::IModels::registerCall as registerModel};
use nesa_ledger::operators::{self, abi::IOperators::registerCall as registerNode};
use nesa_ledger::sessions::abi::ISessions::{openCall, settleManyCall};
use nesa_ledger::sessions::{self, Chain, Claim, SignedVoucher, Voucher};
use nesa_ledger::{Address, Amount, Params};
use nesa_proof::statement::signed_bytes;
use nesa_proof::{Contradiction, HopStatement, SignedHop};

use crate::keys;
use crate::world::World;

/// What one job pays, before the split.
pub(crate) const FEE: Amount = Amount::nes(1);
/// Jobs of one session: lanes of equal shares.
const LANES: u32 = 50;
/// The model.
const MODEL: [u8; 32] = [5; 32];
/// A worker's and an auditor's bond: no sum of slashes reaches it.
const BOND: Amount = Amount::nes(1_000_000);

/// Parameters that make time short, take slashes and chances exactly as asked, and let scores decide nothing.
pub(crate) fn params(audit_ppm: u32, auditors: u32, slash: Amount) -> Params {
    Params {
        gas_limit: 1_000_000_000,
        session_grace_blocks: 2,
        session_keep_blocks: 30,
        session_deposit_min: Amount(1),
        work_bucket: 1,
        reputation_threshold: 0,
        reputation_fault_loss: 1,
        heartbeat_blocks: 1 << 30,
        audit_ppm,
        audit_ppm_max: audit_ppm,
        audit_auditors: auditors,
        audit_commit_blocks: 2,
        audit_reveal_blocks: 2,
        audit_dispute_blocks: 2,
        dispute_gain_ppm: 0,
        dispute_value_ppm: 0,
        dispute_slash_min: slash,
        ..Params::default()
    }
}

/// One job: a lane that is settled, and what its worker signed about it.
pub(crate) struct Job {
    id: Digest,
    session: Digest,
    lane: u8,
    leaf: Digest,
    salt: Digest,
    stated: HopStatement,
    /// Who was drawn, as accounts; empty where nobody was.
    pub(crate) seats: Vec<u32>,
}

impl Job {
    /// The result that the worker's statement claims.
    pub(crate) fn claimed(&self) -> Digest {
        audits::result(&self.salt, &self.stated.trace)
    }

    /// The salt of its commitments.
    pub(crate) fn salt(&self) -> Digest {
        self.salt
    }

    /// A result that other arithmetic gives.
    pub(crate) fn other(&self) -> Digest {
        audits::result(&self.salt, &other(&self.stated).trace)
    }
}

fn other(s: &HopStatement) -> HopStatement {
    HopStatement {
        output: Digest([2; 32]),
        trace: Digest([3; 32]),
        ..s.clone()
    }
}

/// A world with a model, a payer, workers and auditors.
pub(crate) struct Market {
    pub(crate) w: World,
    made: u64,
    owners: HashMap<Address, u32>,
    nodes: HashMap<u32, SigningKey>,
}

impl Market {
    /// A market of `people` accounts, of which the last publishes the model.
    pub(crate) fn new(params: Params, people: u32) -> Result<Self> {
        let mut w = World::new(params, people)?;
        let model = registerModel {
            model: MODEL.into(),
            previous: [0; 32].into(),
            manifest: [6; 32].into(),
            shards: vec![[1; 32].into()],
            price: U256::from(1),
            royalty: 0,
            modes: 15,
            allowed: vec![],
        };
        w.call(people - 1, models::ADDRESS, Amount::ZERO, &model)?;
        let owners = (0..people).map(|i| (w.address(i), i)).collect();
        let (made, nodes) = (0, HashMap::new());
        Ok(Self {
            w,
            made,
            owners,
            nodes,
        })
    }

    /// An account bonds a node of its own.
    pub(crate) fn join(&mut self, who: u32, audits: bool) -> Result<()> {
        let key = keys::ed25519("node", who);
        let node = key.verifying_key().to_bytes();
        let capability = Digest([1; 32]);
        let message = operators::capability_message(
            self.w.ledger.domain(),
            &self.w.address(who),
            &capability,
            1,
        );
        let signature = key.sign(&message.0);
        let call = registerNode {
            node: node.into(),
            capability: capability.0.into(),
            sequence: 1,
            r: (*signature.r_bytes()).into(),
            s: (*signature.s_bytes()).into(),
        };
        self.w.call(who, operators::ADDRESS, BOND, &call)?;
        if audits {
            let call = enlistCall { node: node.into() };
            self.w.call(who, disputes::ADDRESS, Amount::ZERO, &call)?;
        }
        self.nodes.insert(who, key);
        Ok(())
    }

    fn node(&self, who: u32) -> Result<&SigningKey> {
        self.nodes.get(&who).context("an account without a node")
    }

    /// Balance and bond of an account.
    pub(crate) fn wealth(&self, who: u32) -> Result<Amount> {
        let mut sum = self.w.balance(who)?;
        if let Some(key) = self.nodes.get(&who) {
            let bond = operators::bond(&self.w.tip.state, &key.verifying_key().to_bytes())?;
            sum = sum.plus(bond).context("a sum")?;
        }
        Ok(sum)
    }

    /// What is left of an account's bond.
    pub(crate) fn bond(&self, who: u32) -> Result<Amount> {
        let node = self.node(who)?.verifying_key().to_bytes();
        Ok(operators::bond(&self.w.tip.state, &node)?)
    }

    /// Opens sessions of `payer` for at least `jobs` jobs of `worker`, each paid [`FEE`], and settles them.
    pub(crate) fn work(&mut self, payer: u32, worker: u32, jobs: u32) -> Result<Vec<Job>> {
        let n = jobs.div_ceil(LANES);
        let owner = self.w.address(worker);
        let first = self.made;
        self.made += u64::from(n);
        let opened = sessions::OPENED;
        let payer_address = self.w.address(payer);
        let before = opened
            .get(&self.w.tip.state, &payer_address)?
            .unwrap_or_default()
            .0;
        let expiry = self.w.next_height() + 1_000;
        for k in 0..u64::from(n) {
            let key = self.session_key(first + k);
            let payee = |lane: u32| {
                B256::from(sessions::commit_payee(&owner, &self.salt(first + k, lane)).0)
            };
            let call = openCall {
                key: key.verifying_key().to_bytes().into(),
                model: MODEL.into(),
                price: FEE.to_u256(),
                expiry,
                payees: (0..LANES).map(payee).collect(),
                shares: vec![1_000_000 / LANES; LANES as usize],
            };
            let deposit = FEE.times(LANES.into()).context("a deposit")?;
            self.w.push(payer, sessions::ADDRESS, deposit, &call);
        }
        self.done()?;
        let mut out = Vec::new();
        for k in 0..u64::from(n) {
            let id = sessions::session_id(self.w.ledger.domain(), &payer_address, before + k);
            let mut claims = Vec::new();
            for lane in 0..LANES {
                let job = self.job(worker, id, lane as u8, self.salt(first + k, lane))?;
                claims.push(self.claim(first + k, owner, &job).to_bytes().into());
                out.push(job);
            }
            self.w.push(
                worker,
                sessions::ADDRESS,
                Amount::ZERO,
                &settleManyCall { claims },
            );
        }
        self.done()?;
        Ok(out)
    }

    fn session_key(&self, n: u64) -> SigningKey {
        keys::ed25519("market", (n % (1 << 32)) as u32)
    }

    fn salt(&self, session: u64, lane: u32) -> Digest {
        let h = Hasher::new("nesa.drill.salt.v1");
        h.u64(session).u64(lane.into()).finish()
    }

    fn job(&self, worker: u32, session: Digest, lane: u8, salt: Digest) -> Result<Job> {
        let stated = HopStatement {
            node: self.node(worker)?.verifying_key().to_bytes(),
            session,
            model: Digest(MODEL),
            first: 0,
            end: 1,
            positions: 1,
            input: salt,
            output: Digest([1; 32]),
            trace: Hasher::new("nesa.drill.trace.v1").digest(&salt).finish(),
            transcript: Digest([4; 32]),
            nonce_commitment: Digest([5; 32]),
            price: 0,
        };
        let leaf = disputes::work(&salt, &stated.digest());
        Ok(Job {
            id: audits::job_id(&session, lane, &leaf),
            session,
            lane,
            leaf,
            salt,
            stated,
            seats: Vec::new(),
        })
    }

    fn claim(&self, session: u64, owner: Address, job: &Job) -> Claim {
        let voucher = Voucher {
            session: job.session,
            lane: job.lane,
            sequence: 1,
            work: 1,
            amount: FEE,
            transcript: merkle::root(&[job.leaf]),
            last: true,
        };
        let chain = Chain {
            id: self.w.ledger.chain_id(),
            domain: *self.w.ledger.domain(),
        };
        let signature = self.session_key(session).sign(&voucher.digest(&chain).0);
        Claim {
            signed: SignedVoucher {
                voucher,
                signature: signature.to_bytes(),
            },
            payee: owner,
            salt: job.salt,
        }
    }

    /// A block of what was pushed, all of which must succeed.
    pub(crate) fn done(&mut self) -> Result<()> {
        for receipt in self.w.block()? {
            ensure!(receipt.succeeded, "refused: {}", receipt.reason);
        }
        Ok(())
    }

    /// The payer records jobs, and the beacon draws; fills in [`Job::seats`]. Where `plant` says so the claim is a
    /// canary's.
    pub(crate) fn draw(
        &mut self,
        payer: u32,
        worker: u32,
        jobs: &mut [Job],
        plant: &dyn Fn(usize) -> bool,
    ) -> Result<()> {
        let node = self.node(worker)?.verifying_key().to_bytes();
        let payer_address = self.w.address(payer);
        for (i, job) in jobs.iter().enumerate() {
            let claimed = if plant(i) {
                audits::plant(&job.salt)
            } else {
                job.claimed()
            };
            let claim = audits::commitment(&job.leaf, &payer_address, &job.salt, &claimed);
            let call = recordCall {
                session: job.session.0.into(),
                lane: job.lane,
                node: node.into(),
                work: job.leaf.0.into(),
                index: 0,
                of: 1,
                path: vec![],
                claim: claim.0.into(),
            };
            self.w.push(payer, disputes::ADDRESS, Amount::ZERO, &call);
        }
        self.done()?;
        for _ in 0..Params::default().audit_delay_blocks {
            self.done()?;
        }
        for job in jobs {
            let audit = audits::find(&self.w.tip.state, &job.id)?;
            let seats = audit.into_iter().flat_map(|a| a.seats);
            job.seats = seats
                .filter_map(|s| self.owners.get(&s.owner).copied())
                .collect();
        }
        Ok(())
    }

    /// Every drawn auditor commits and reveals what `says` gives for it; the payer opens its claim.
    pub(crate) fn audit(
        &mut self,
        payer: u32,
        jobs: &[Job],
        says: &dyn Fn(usize, &Job, u32) -> Digest,
        plant: &dyn Fn(usize) -> bool,
    ) -> Result<()> {
        let seats = |jobs: &[Job]| -> Vec<(usize, u32)> {
            let all = jobs.iter().enumerate();
            all.flat_map(|(i, j)| j.seats.iter().map(move |s| (i, *s)))
                .collect()
        };
        for (i, who) in seats(jobs) {
            let (job, owner) = (&jobs[i], self.w.address(who));
            let commitment = audits::commitment(&job.id, &owner, &job.salt, &says(i, job, who));
            let call = commitCall {
                job: job.id.0.into(),
                node: self.node(who)?.verifying_key().to_bytes().into(),
                commitment: commitment.0.into(),
            };
            self.w.push(who, disputes::ADDRESS, Amount::ZERO, &call);
        }
        self.done()?;
        self.done()?;
        for (i, who) in seats(jobs) {
            let job = &jobs[i];
            let call = revealCall {
                job: job.id.0.into(),
                node: self.node(who)?.verifying_key().to_bytes().into(),
                result: says(i, job, who).0.into(),
                salt: job.salt.0.into(),
            };
            self.w.push(who, disputes::ADDRESS, Amount::ZERO, &call);
        }
        for (i, job) in jobs.iter().enumerate().filter(|(_, j)| !j.seats.is_empty()) {
            let claimed = if plant(i) {
                audits::plant(&job.salt)
            } else {
                job.claimed()
            };
            let call = revealClaimCall {
                job: job.id.0.into(),
                result: claimed.0.into(),
                salt: job.salt.0.into(),
            };
            self.w.push(payer, disputes::ADDRESS, Amount::ZERO, &call);
        }
        self.done()?;
        self.done()
    }

    /// Shows that a worker signed two results for one job.
    pub(crate) fn convict(&mut self, who: u32, worker: u32, job: &Job) -> Result<()> {
        let key = self.node(worker)?.clone();
        let sign = |s: HopStatement| -> SignedHop {
            s.signed(&|digest: &[u8]| {
                let mut d = [0; 32];
                d.copy_from_slice(digest);
                key.sign(&signed_bytes(&Digest(d))).to_bytes()
            })
        };
        let two = [sign(job.stated.clone()), sign(other(&job.stated))];
        let evidence = Evidence::Contradiction(Contradiction::Hops(Box::new(two)));
        let link = Link {
            session: job.session,
            lane: job.lane,
            salt: job.salt,
            index: 0,
            of: 1,
            path: merkle::Path(Vec::new()),
        };
        let call = submitEvidenceCall {
            evidence: evidence.to_bytes().into(),
            link: link.to_bytes().into(),
        };
        self.w.push(who, disputes::ADDRESS, Amount::ZERO, &call);
        Ok(())
    }

    /// The name of a job on the ledger, and the salt of its commitments.
    pub(crate) fn plant_of(job: &Job) -> nesa_ledger::disputes::abi::IDisputes::revealPlantCall {
        nesa_ledger::disputes::abi::IDisputes::revealPlantCall {
            job: job.id.0.into(),
            salt: job.salt.0.into(),
        }
    }

    /// Evidence against honest work, which proves nothing: the same statement twice.
    pub(crate) fn accuse(&mut self, who: u32, job: &Job) -> Result<()> {
        let signed = SignedHop {
            statement: job.stated.clone(),
            signature: [1; 64],
        };
        let two = [signed.clone(), signed];
        let evidence = Evidence::Contradiction(Contradiction::Hops(Box::new(two)));
        let call = submitEvidenceCall {
            evidence: evidence.to_bytes().into(),
            link: Vec::new().into(),
        };
        self.w.push(who, disputes::ADDRESS, Amount::ZERO, &call);
        Ok(())
    }

    /// Sessions that nobody serves.
    pub(crate) fn open_idle(&mut self, who: u32, n: u32) -> Result<usize> {
        let expiry = self.w.next_height() + 1_000;
        for i in 0..n {
            let call = openCall {
                key: keys::ed25519("idle", i).verifying_key().to_bytes().into(),
                model: MODEL.into(),
                price: FEE.to_u256(),
                expiry,
                payees: vec![[7; 32].into(); 64],
                shares: vec![1_000_000 / 64; 64],
            };
            self.w.push(who, sessions::ADDRESS, FEE, &call);
        }
        Ok(n as usize)
    }

    /// Claims that were settled before, again.
    pub(crate) fn claim_again(&mut self, who: u32, jobs: &[Job]) -> Result<usize> {
        let owner = self.owners.iter().find(|(_, i)| **i == 3).map(|(a, _)| *a);
        let owner = owner.context("a worker")?;
        for job in jobs {
            let claims = vec![self.claim(0, owner, job).to_bytes().into()];
            self.w.push(
                who,
                sessions::ADDRESS,
                Amount::ZERO,
                &settleManyCall { claims },
            );
        }
        Ok(jobs.len())
    }

    /// Blocks until nothing waits for a deadline of an audit.
    pub(crate) fn rest(&mut self) -> Result<()> {
        (0..4).try_for_each(|_| self.done())
    }
}

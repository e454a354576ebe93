//! revm's journal with the ledger's overlay at its side, step by step.

use nesa_codec::Decode as _;
use nesa_ledger::account::{Account, account};
use nesa_ledger::dispatch::{self, Action};
use nesa_ledger::state::{Checkpoint, StateError};
use nesa_ledger::supply::{self, Pot, SupplyError};
use nesa_ledger::{Amount, Context, Log, Refusal, tables};
use revm::Journal;
use revm::context_interface::context::{SStoreResult, SelfDestructResult, StateLoad};
use revm::context_interface::journaled_state::account::{
    JournaledAccount, JournaledAccountTr as _,
};
use revm::context_interface::journaled_state::{
    AccountInfoLoad, AccountLoad, JournalCheckpoint, JournalLoadError, JournalTr, TransferError,
};
use revm::primitives::hardfork::SpecId;
use revm::primitives::{
    Address, AddressMap, AddressSet, B256, HashSet, LogData, StorageKey, StorageValue, U256,
};
use revm::state::{Account as EvmAccount, Bytecode, EvmState};

use crate::db::{Broken, Db, info};

/// Both journals.
#[derive(Debug)]
pub(crate) struct Steps<'a> {
    pub(crate) inner: Journal<Db<'a>>,
    /// The overlay's mark of every checkpoint that is open in revm.
    marks: Vec<Checkpoint>,
}

/// A call into a module whose value is on its account already.
pub(crate) struct ModuleCall {
    pub(crate) caller: Address,
    pub(crate) module: Address,
    pub(crate) value: U256,
}

impl<'a> Steps<'a> {
    pub(crate) fn db(&mut self) -> &mut Db<'a> {
        &mut self.inner.database
    }

    fn mark(&mut self) -> Checkpoint {
        self.db().state.begin()
    }

    /// Makes in the overlay what revm just made in its journal.
    fn pay(&mut self, from: &Pot, to: Address, sum: U256) {
        self.move_(from, &Pot::Account(to.into()), sum);
    }

    fn move_(&mut self, from: &Pot, to: &Pot, sum: U256) {
        let db = self.db();
        let sum = Amount::try_from(sum).map_err(|_| SupplyError::Overflow);
        if let Err(e) = sum.and_then(|sum| supply::move_(db.state, from, to, sum)) {
            // revm had the money that the overlay lacks.
            let broken = match e {
                SupplyError::State(e) => e.into(),
                _ => SupplyError::Broken("a contract's transfer is not the ledger's").into(),
            };
            db.breaks(broken);
        }
    }

    fn balance(&self, address: &Address) -> U256 {
        let found = self.inner.state.get(address);
        found.map(|a| a.info.balance).unwrap_or_default()
    }

    /// Runs an action of a module; whatever it does is undone with the frame that called it. The
    /// outer error is fatal.
    pub(crate) fn module(
        &mut self,
        call: &ModuleCall,
        action: Action,
    ) -> Result<Result<Vec<u8>, Refusal>, Refusal> {
        let mark = self.mark();
        let mut logs = Vec::new();
        let db = self.db();
        let mut ctx = Context {
            state: &mut *db.state,
            env: db.env,
            params: db.params,
            caller: call.caller.into(),
            module: call.module.into(),
            value: Amount::try_from(call.value).map_err(|_| SupplyError::Overflow)?,
            logs: &mut logs,
        };
        match dispatch::enter(&mut ctx, action) {
            Err(refusal) if refusal.is_fatal() => Err(refusal),
            Err(refusal) => Ok(Err(refusal)),
            Ok(answer) => {
                self.learn(mark)?;
                for log in &logs {
                    self.inner.log(evm_log(log));
                }
                Ok(Ok(answer))
            }
        }
    }

    /// Enters into revm's journal what changed in balances since the mark, so that it reads and
    /// undoes it. Accounts that it did not know yet come in as they were, and cold.
    fn learn(&mut self, mark: Checkpoint) -> Result<(), Refusal> {
        let table = tables::ACCOUNTS;
        for (key, old) in self.db().state.before(mark, table) {
            let bytes: Option<[u8; 20]> = key.get(1..).and_then(|a| a.try_into().ok());
            let address = Address::from(bytes.ok_or(StateError::Corrupt { table })?);
            let old = old.map(|row| Account::from_bytes(&row)).transpose();
            let old = old.map_err(|_| StateError::Corrupt { table })?;
            let new = account(&*self.db().state, &address.into())?.balance;
            let Journal { database, inner } = &mut self.inner;
            let id = inner.transaction_id;
            inner.state.entry(address).or_insert_with(|| {
                let mut known = EvmAccount::from(info(&address, &old.unwrap_or_default()));
                known.transaction_id = id;
                known.mark_cold();
                known
            });
            if let Some(mut known) = inner.get_account_mut(database, address) {
                known.set_balance(U256::from(new.0));
            }
        }
        Ok(())
    }
}

fn evm_log(log: &Log) -> revm::primitives::Log {
    let topics = log.topics.iter().map(|t| t.0.into()).collect();
    revm::primitives::Log {
        address: log.address.into(),
        data: LogData::new_unchecked(topics, log.data.clone().into()),
    }
}

/// The ledger's log of a log of revm.
pub(crate) fn ledger_log(log: &revm::primitives::Log) -> Log {
    let topics = log.data.topics().iter();
    Log {
        address: log.address.into(),
        topics: topics.map(|t| nesa_codec::Digest(t.0)).collect(),
        data: log.data.data.to_vec(),
    }
}

/// The steps that concern both.
impl<'a> Steps<'a> {
    fn open(&mut self) -> JournalCheckpoint {
        let mark = self.mark();
        self.marks.push(mark);
        self.inner.checkpoint()
    }

    fn undo(&mut self, to: JournalCheckpoint) {
        self.inner.checkpoint_revert(to);
        match self.marks.pop() {
            Some(mark) => self.db().state.revert(mark),
            None => self
                .db()
                .breaks(SupplyError::Broken("a checkpoint of contracts has no mark").into()),
        }
    }

    fn destroy(
        &mut self,
        address: Address,
        target: Address,
        skip_cold: bool,
    ) -> Result<StateLoad<SelfDestructResult>, JournalLoadError<Broken>> {
        let sum = self.balance(&address);
        let done = self.inner.selfdestruct(address, target, skip_cold)?;
        let from = Pot::Account(address.into());
        if address != target {
            self.pay(&from, target, sum);
        } else if self.balance(&address) != sum {
            // Created and destroyed in one transaction, for itself: the EVM burns it.
            self.move_(&from, &Pot::BURNED, sum);
        }
        Ok(done)
    }
}

impl<'a> JournalTr for Steps<'a> {
    type Database = Db<'a>;
    type State = EvmState;
    type JournaledAccount<'b>
        = JournaledAccount<'b, Db<'a>>
    where
        Self: 'b;

    fn new(database: Db<'a>) -> Self {
        Self {
            inner: Journal::new(database),
            marks: Vec::new(),
        }
    }

    fn checkpoint(&mut self) -> JournalCheckpoint {
        self.open()
    }

    fn checkpoint_commit(&mut self) {
        self.inner.checkpoint_commit();
        self.marks.pop();
    }

    fn checkpoint_revert(&mut self, checkpoint: JournalCheckpoint) {
        self.undo(checkpoint);
    }

    fn create_account_checkpoint(
        &mut self,
        caller: Address,
        address: Address,
        balance: U256,
        spec_id: SpecId,
    ) -> Result<JournalCheckpoint, TransferError> {
        let mark = self.mark();
        let made = self
            .inner
            .create_account_checkpoint(caller, address, balance, spec_id)?;
        self.marks.push(mark);
        self.pay(&Pot::Account(caller.into()), address, balance);
        Ok(made)
    }

    fn transfer(
        &mut self,
        from: Address,
        to: Address,
        balance: U256,
    ) -> Result<Option<TransferError>, Broken> {
        self.inner.load_account(from)?;
        self.inner.load_account(to)?;
        Ok(self.transfer_loaded(from, to, balance))
    }

    fn transfer_loaded(
        &mut self,
        from: Address,
        to: Address,
        balance: U256,
    ) -> Option<TransferError> {
        let refused = self.inner.transfer_loaded(from, to, balance);
        if refused.is_none() {
            self.pay(&Pot::Account(from.into()), to, balance);
        }
        refused
    }

    fn balance_incr(&mut self, address: Address, balance: U256) -> Result<(), Broken> {
        self.db()
            .breaks(SupplyError::Broken("a contract's balance grew by itself").into());
        self.inner.balance_incr(address, balance)
    }

    fn selfdestruct(
        &mut self,
        address: Address,
        target: Address,
        skip_cold_load: bool,
    ) -> Result<StateLoad<SelfDestructResult>, JournalLoadError<Broken>> {
        self.destroy(address, target, skip_cold_load)
    }

    fn commit_tx(&mut self) {
        self.marks.clear();
        self.inner.commit_tx();
    }

    fn discard_tx(&mut self) {
        if let Some(first) = self.marks.first().copied() {
            self.db().state.revert(first);
        }
        self.marks.clear();
        self.inner.discard_tx();
    }

    // The rest is revm's alone.

    fn db_and_state(&self) -> (&Db<'a>, &EvmState) {
        self.inner.db_and_state()
    }

    fn db_and_state_mut(&mut self) -> (&mut Db<'a>, &mut EvmState) {
        self.inner.db_and_state_mut()
    }

    fn sload_skip_cold_load(
        &mut self,
        address: Address,
        key: StorageKey,
        skip: bool,
    ) -> Result<StateLoad<StorageValue>, JournalLoadError<Broken>> {
        self.inner.sload_skip_cold_load(address, key, skip)
    }

    fn sstore_skip_cold_load(
        &mut self,
        address: Address,
        key: StorageKey,
        value: StorageValue,
        skip: bool,
    ) -> Result<StateLoad<SStoreResult>, JournalLoadError<Broken>> {
        self.inner.sstore_skip_cold_load(address, key, value, skip)
    }

    fn tload(&mut self, address: Address, key: StorageKey) -> StorageValue {
        self.inner.tload(address, key)
    }

    fn tstore(&mut self, address: Address, key: StorageKey, value: StorageValue) {
        self.inner.tstore(address, key, value);
    }

    fn log(&mut self, log: revm::primitives::Log) {
        self.inner.log(log);
    }

    fn take_logs(&mut self) -> Vec<revm::primitives::Log> {
        self.inner.take_logs()
    }

    fn logs(&self) -> &[revm::primitives::Log] {
        self.inner.logs()
    }

    fn warm_access_list(&mut self, list: AddressMap<HashSet<StorageKey>>) {
        self.inner.warm_access_list(list);
    }

    fn warm_coinbase_account(&mut self, address: Address) {
        self.inner.warm_coinbase_account(address);
    }

    fn warm_precompiles(&mut self, addresses: &AddressSet) {
        self.inner.warm_precompiles(addresses);
    }

    fn precompile_addresses(&self) -> &AddressSet {
        self.inner.precompile_addresses()
    }

    fn set_spec_id(&mut self, spec_id: SpecId) {
        self.inner.set_spec_id(spec_id);
    }

    fn set_eip7708_config(&mut self, disabled: bool, delayed_disabled: bool) {
        self.inner.set_eip7708_config(disabled, delayed_disabled);
    }

    fn touch_account(&mut self, address: Address) {
        self.inner.touch_account(address);
    }

    #[allow(
        deprecated,
        reason = "the trait asks for it; it concerns fees, which are the ledger's"
    )]
    fn caller_accounting_journal_entry(&mut self, address: Address, old: U256, bump: bool) {
        self.inner
            .caller_accounting_journal_entry(address, old, bump);
    }

    #[allow(deprecated, reason = "the trait asks for it")]
    fn nonce_bump_journal_entry(&mut self, address: Address) {
        self.inner.nonce_bump_journal_entry(address);
    }

    fn load_account(&mut self, address: Address) -> Result<StateLoad<&EvmAccount>, Broken> {
        self.inner.load_account(address)
    }

    fn load_account_with_code(
        &mut self,
        address: Address,
    ) -> Result<StateLoad<&EvmAccount>, Broken> {
        self.inner.load_account_with_code(address)
    }

    fn load_account_delegated(
        &mut self,
        address: Address,
    ) -> Result<StateLoad<AccountLoad>, Broken> {
        self.inner.load_account_delegated(address)
    }

    fn load_account_mut_skip_cold_load(
        &mut self,
        address: Address,
        skip: bool,
    ) -> Result<StateLoad<Self::JournaledAccount<'_>>, JournalLoadError<Broken>> {
        self.inner.load_account_mut_skip_cold_load(address, skip)
    }

    fn load_account_mut_optional_code(
        &mut self,
        address: Address,
        load_code: bool,
    ) -> Result<StateLoad<Self::JournaledAccount<'_>>, Broken> {
        self.inner
            .load_account_mut_optional_code(address, load_code)
    }

    fn set_code_with_hash(&mut self, address: Address, code: Bytecode, hash: B256) {
        self.inner.set_code_with_hash(address, code, hash);
    }

    fn depth(&self) -> usize {
        self.inner.depth()
    }

    fn finalize(&mut self) -> EvmState {
        self.inner.finalize()
    }

    fn load_account_info_skip_cold_load(
        &mut self,
        address: Address,
        load_code: bool,
        skip: bool,
    ) -> Result<AccountInfoLoad<'_>, JournalLoadError<Broken>> {
        self.inner
            .load_account_info_skip_cold_load(address, load_code, skip)
    }
}

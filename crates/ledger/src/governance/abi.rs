//! The Solidity interface of governance, at `0x…4e455306`.

#![allow(missing_docs, reason = "generated from the interface below")]

alloy_sol_types::sol! {
    /// Proposals are numbered from 1. Sums are in units of 10^-18 NES, times are block heights.
    /// Choices: 1 yes, 2 no, 3 abstain, 4 no with veto. Stages: 0 voting, 1 passed and waiting,
    /// 2 executed, 3 rejected, 4 quorum missed, 5 vetoed, 6 expired.
    interface IGovernance {
        event Proposed(uint64 indexed id, address indexed proposer, uint64 snapshot, uint64 ends);
        event Voted(uint64 indexed id, address indexed voter, uint8 choice, uint256 weight);
        event Decided(uint64 indexed id, uint8 stage, uint256 returned, uint256 burned, uint64 executes);
        event Executed(uint64 indexed id);
        event Postponed(uint64 indexed id, uint64 expires, string reason);
        event Expired(uint64 indexed id, string reason);

        /// Asks the holders to set a parameter; the value sent along is the deposit.
        function proposeParameter(string calldata title, string calldata name, uint256 value) external payable returns (uint64 id);
        /// Asks the holders to pay from the treasury; the value sent along is the deposit.
        function proposeSpend(string calldata title, address to, uint256 amount) external payable returns (uint64 id);
        /// Votes once, with what the caller held at the end of the block before the proposal's; `holdings` proves it.
        function vote(uint64 id, uint8 choice, bytes calldata holdings) external returns (uint256 weight);
        /// Executes what passed and could not be executed when its timelock ended. Anyone may.
        function execute(uint64 id) external;
    }
}

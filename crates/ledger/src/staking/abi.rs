//! The Solidity interface of staking, at `0x…4e455301`.

#![allow(missing_docs, reason = "generated from the interface below")]

alloy_sol_types::sol! {
    /// A validator is named by its ed25519 key. Sums are in units of 10^-18 NES, rates in parts
    /// per million.
    interface IStaking {
        event ValidatorCreated(bytes32 indexed validator, address indexed owner, uint32 commission);
        event Bonded(bytes32 indexed validator, address indexed delegator, uint256 amount);
        event UnbondingStarted(bytes32 indexed validator, address indexed delegator, uint256 amount, uint64 release, bytes32 id);
        event Unbonded(bytes32 indexed validator, address indexed delegator, uint256 amount, bytes32 id);
        event CommissionSet(bytes32 indexed validator, uint32 commission);
        event RewardsPaid(bytes32 indexed validator, address indexed delegator, uint256 amount);
        event Slashed(bytes32 indexed validator, uint256 amount, uint256 burned);
        event Jailed(bytes32 indexed validator, uint64 until, bool forever);
        event Unjailed(bytes32 indexed validator);

        /// The value is the owner's bond; r and s are the key's signature over (chain, owner).
        function createValidator(bytes32 validator, bytes32 r, bytes32 s, uint32 commission) external payable;
        /// Bonds the value to a validator.
        function delegate(bytes32 validator) external payable;
        /// Starts to unbond a sum; it arrives by itself. The largest uint256 means all.
        function undelegate(bytes32 validator, uint256 amount) external returns (bytes32 id);
        /// Pays out what the caller's bond earned.
        function withdrawRewards(bytes32 validator) external returns (uint256 amount);
        /// Changes the owner's commission, by a step at most and once per epoch.
        function setCommission(bytes32 validator, uint32 commission) external;
        /// Ends a jail whose time is over, once the owner's bond suffices again.
        function unjail(bytes32 validator) external;
    }
}

//! The Solidity interface of operators, at `0x…4e455302`.

#![allow(missing_docs, reason = "generated from the interface below")]

alloy_sol_types::sol! {
    /// A node is named by its ed25519 key and belongs to the account that bonds for it. Sums are in
    /// units of 10^-18 NES, times are block heights.
    interface IOperators {
        event Joined(bytes32 indexed node, address indexed owner, uint256 bond);
        event BondAdded(bytes32 indexed node, uint256 amount);
        event CapabilitySet(bytes32 indexed node, bytes32 capability, uint64 sequence);
        event Leased(bytes32 indexed node, bytes32 indexed model, uint32 first, uint32 end, uint64 until);
        event LeaseEnded(bytes32 indexed node, bytes32 indexed model, uint32 first, uint32 end);
        event Draining(bytes32 indexed node);
        event Leaving(bytes32 indexed node, uint64 release);
        event Left(bytes32 indexed node, uint256 amount);
        event Slashed(bytes32 indexed node, uint256 amount, uint256 burned);
        event Reputation(bytes32 indexed node, uint8 cause, uint32 before, uint32 score, uint32 threshold);

        /// The value is the bond; r and s are the node key's signature over its capability record
        /// (chain, owner, digest, sequence). A node that left comes back with the reputation it had.
        function register(bytes32 node, bytes32 capability, uint64 sequence, bytes32 r, bytes32 s) external payable;
        /// Adds the value to the bond.
        function addBond(bytes32 node) external payable;
        /// Replaces the capability record by one of a higher sequence.
        function setCapability(bytes32 node, bytes32 capability, uint64 sequence, bytes32 r, bytes32 s) external;
        /// Promises to serve layers [first, end) of a model until a block; again to renew.
        function lease(bytes32 node, bytes32 model, uint32 first, uint32 end, uint64 until) external;
        /// Says that the node is there.
        function heartbeat(bytes32 node) external;
        /// Takes no new lease; those it has run out.
        function drain(bytes32 node) external;
        /// Starts to take the bond back; it arrives by itself and can be slashed until then.
        function leave(bytes32 node) external returns (uint64 release);
    }
}

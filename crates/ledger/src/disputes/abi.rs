//! The Solidity interface of disputes and audits, at `0x…4e455305`.

#![allow(missing_docs, reason = "generated from the interface below")]
#![allow(
    clippy::too_many_arguments,
    reason = "an event says where every part of a slash went"
)]

alloy_sol_types::sol! {
    /// Whoever computed wrongly pays, to the unit; whoever accuses wrongly pays too. Bytes are
    /// encoded as `nesa-proof` encodes them; sums are in units of 10^-18 NES, times are block
    /// heights. `link` is an encoded link from a statement to what was paid for it, or empty.
    interface IDisputes {
        event Opened(bytes32 indexed dispute, bytes32 indexed accused, address indexed challenger, uint256 deposit, uint64 ends);
        event Answered(bytes32 indexed dispute, uint8 side, uint32 round, uint32 next, uint64 ends);
        event Ended(bytes32 indexed dispute, bool lostA, bool lostB, string reason, uint64 bytesPublic);
        event Convicted(bytes32 indexed node, bytes32 indexed offence, address indexed challenger, uint256 slashed, uint256 burned, uint256 refunded, uint256 compensation, uint256 reward, uint256 pot, uint64 bytesPublic);
        event DepositReturned(bytes32 indexed dispute, address indexed challenger, uint256 amount);
        event DepositLost(bytes32 indexed dispute, address indexed challenger, uint256 toAccused, uint256 burned);
        event Enlisted(bytes32 indexed node);
        event Retired(bytes32 indexed node);
        event Recorded(bytes32 indexed job, bytes32 indexed session, uint8 lane, bytes32 indexed node, bytes32 work, uint64 draw);
        event NotDrawn(bytes32 indexed job);
        event Drawn(bytes32 indexed job, bytes32[] auditors, uint64 ends);
        event Committed(bytes32 indexed job, bytes32 indexed node);
        event Revealed(bytes32 indexed job, bytes32 indexed node, bytes32 result);
        event ClaimRevealed(bytes32 indexed job, bytes32 result);
        event PlantRevealed(bytes32 indexed job);
        event Audited(bytes32 indexed job, uint8 outcome, uint256 paid, uint256 slashed);

        /// Convicts a node by what it signed. Returns the bytes that this made public.
        function submitEvidence(bytes calldata evidence, bytes calldata link) external returns (uint64 bytesPublic);
        /// Convicts whom a dispute that was played elsewhere convicts. Returns the bytes that this
        /// made public.
        function settle(bytes calldata transcript, bytes calldata link) external returns (uint64 bytesPublic);
        /// Opens a dispute between two signed statements; the value is the deposit. Side A is a node.
        function open(bytes calldata matter, bytes calldata link) external payable returns (bytes32 dispute);
        /// A signed answer of a side, by whoever carries it. Silence until the deadline loses.
        function answer(bytes32 dispute, bytes calldata signedMove) external;

        /// The node's owner offers it as an auditor.
        function enlist(bytes32 node) external;
        /// It is not drawn any more; what it was drawn for, it finishes.
        function retire(bytes32 node) external;
        /// The payer of a session hands settled open work to the auditors: a salted commitment that
        /// leads to the lane's transcript, and the commitment of the result that it was given.
        function record(bytes32 session, uint8 lane, bytes32 node, bytes32 work, uint32 index, uint32 of, bytes32[] calldata path, bytes32 claim) external returns (bytes32 job);
        /// A drawn auditor's commitment.
        function commit(bytes32 job, bytes32 node, bytes32 commitment) external;
        /// Opens it.
        function reveal(bytes32 job, bytes32 node, bytes32 result, bytes32 salt) external;
        /// The payer opens the claim of its record.
        function revealClaim(bytes32 job, bytes32 result, bytes32 salt) external;
        /// The payer shows that no computation can have the claimed result: the job was a canary.
        function revealPlant(bytes32 job, bytes32 salt) external;
    }
}

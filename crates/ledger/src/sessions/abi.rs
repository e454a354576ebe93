//! The Solidity interface of sessions, at `0x…4e455304`.

#![allow(missing_docs, reason = "generated from the interface below")]

alloy_sol_types::sol! {
    /// A session is a payment channel: one payer, one key that signs vouchers, one lane per payee.
    /// Sums are in units of 10^-18 NES, shares in parts per million, times are block heights.
    interface ISessions {
        event Opened(bytes32 indexed session, address indexed payer, bytes32 indexed model, uint256 deposit, uint64 expiry);
        event ToppedUp(bytes32 indexed session, uint256 deposit, uint64 expiry);
        event Settled(bytes32 indexed session, address indexed payee, uint8 lane, uint64 sequence, uint64 work, uint256 amount, uint256 paid, bytes32 transcript);
        event NotSettled(uint32 index, string reason);
        event CloseRequested(bytes32 indexed session, uint64 ends);
        event Closed(bytes32 indexed session, uint256 paid, uint256 refunded);

        /// The value is the escrow. `payees[i]` is a salted commitment to who is paid from lane i,
        /// `shares[i]` the part of the escrow that no other lane can touch; shares sum to 10^6.
        function open(bytes32 key, bytes32 model, uint256 price, uint64 expiry, bytes32[] calldata payees, uint32[] calldata shares) external payable returns (bytes32 session);
        /// Adds the value to the escrow and moves the expiry to a later block; 0 leaves it.
        function topUp(bytes32 session, uint64 expiry) external payable;
        /// Pays what an encoded claim is worth beyond what its lane was paid. Anyone may send it.
        function settle(bytes calldata claim) external returns (uint256 amount);
        /// Settles claims of any sessions; one that is refused does not stop the others, but one
        /// must succeed.
        function settleMany(bytes[] calldata claims) external returns (uint256 amount);
        /// The payer ends the session after the grace in which claims still settle.
        function requestClose(bytes32 session) external returns (uint64 ends);
    }
}

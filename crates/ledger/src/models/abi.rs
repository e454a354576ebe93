//! The Solidity interface of the model registry, at `0x…4e455303`.

#![allow(missing_docs, reason = "generated from the interface below")]

alloy_sol_types::sol! {
    /// A model is named by its root. Prices are in units of 10^-18 NES per unit of work, royalties
    /// in parts per million of a payment. Modes: 1 receipt, 2 spot, 4 checked, 8 refereed, 16 proof.
    interface IModels {
        event Registered(bytes32 indexed model, address indexed publisher, bytes32 indexed line, uint32 version, bytes32 manifest);
        event Updated(bytes32 indexed model, uint256 price, uint32 royalty, uint8 modes);
        event Allowed(bytes32 indexed model, address indexed who, bool allowed);
        event Deprecated(bytes32 indexed model);

        /// Publishes a model; `previous` is the version that it follows, or zero. An empty
        /// allow-list lets everybody use it, for ever.
        function register(bytes32 model, bytes32 previous, bytes32 manifest, bytes32[] calldata shards, uint256 price, uint32 royalty, uint8 modes, address[] calldata allowed) external;
        /// Changes what sessions opened from now on pay, and how their work can be checked.
        function update(bytes32 model, uint256 price, uint32 royalty, uint8 modes) external;
        /// Puts an address on the allow-list, or takes it off.
        function allow(bytes32 model, address who, bool allowed) external;
        /// Ends new sessions with the model; open ones run on.
        function deprecate(bytes32 model) external;
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// Asks decision models from contracts. Only a proved answer is paid, and final at once; see
/// docs/spec/ledger.md. Sums are in units of 10^-18 NES, times are block heights.
interface INesaInference {
    event Published(bytes32 indexed model, uint32 bytes_);
    event Requested(bytes32 indexed id, address indexed requester, bytes32 indexed model, bytes input, uint256 fee, uint64 deadline);
    event Answered(bytes32 indexed id, address indexed worker, bytes output, uint256 paid);
    event Expired(bytes32 indexed id, uint256 refunded);
    event CalledBack(bytes32 indexed id, bool succeeded, uint64 gasUsed, string reason);

    /// One chunk of a registered decision model's file, by its publisher, until it is sealed.
    function publish(bytes32 model, uint32 index, bytes calldata chunk) external;

    /// Ends the publication: the chunks must be the model with the registered root.
    function seal(bytes32 model, uint32 chunks) external;

    /// Asks. The value is the fee and what the callback's gas costs; `estimateFee` tells the least.
    /// `assurance` is 16: an answer counts only with a succinct proof.
    function requestInference(bytes32 model, bytes calldata input, uint64 callbackGas, uint64 deadline, uint8 assurance) external payable returns (bytes32 id);

    /// Answers with a proof. Anyone may; the first is paid.
    function answer(bytes32 id, bytes calldata output, bytes calldata evidence) external returns (uint256 paid);

    /// The least value of a request in this block.
    function estimateFee(bytes32 model, uint64 callbackGas) external view returns (uint256 value);

    /// Whether an answer was proved.
    function isFinalized(bytes32 id) external view returns (bool finalized);

    /// The answer: `abi.encode(int64 class, int64[] scores)`; no class (-1) for a regression.
    function answerOf(bytes32 id) external view returns (bytes memory output);
}

/// What a contract that asks with gas for a callback implements.
interface INesaInferenceCallback {
    /// Called by the module at the end of the block that proved the answer, or of a later one. If
    /// it fails, the answer stays readable and nothing else happens.
    function onInference(bytes32 id, bytes calldata output) external;
}

// Where models are asked.
INesaInference constant NESA = INesaInference(0x000000000000000000000000000000004e455307);

// The only assurance that requests have: a succinct proof.
uint8 constant PROOF = 16;

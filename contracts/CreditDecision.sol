// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {INesaInferenceCallback, NESA, PROOF} from "./INesaInference.sol";
import {Doubles} from "./Doubles.sol";

/// Lends to whom a published model finds creditworthy. Anyone can check a decision later: the
/// model is on the ledger, the features are in the request, and validators verified the proof.
///
/// An example. A real lender would have the features attested, and would want its money back.
contract CreditDecision is INesaInferenceCallback {
    enum State { None, Waiting, Granted, Denied }

    struct Application {
        address payable applicant;
        uint256 amount;
        State state;
        int64 score;
    }

    event Applied(bytes32 indexed id, address indexed applicant, uint256 amount);
    event Decided(bytes32 indexed id, bool granted, int64 score);

    error OnlyTheModule();
    error NotWaiting(bytes32 id);
    error TooMuch(uint256 amount);

    uint64 public constant CALLBACK_GAS = 200_000;
    uint64 public constant PATIENCE = 600;
    /// The model's root: it has the features income and debt, and class 1 is "lend".
    bytes32 public immutable model;
    /// What is promised to applications that wait.
    uint256 public promised;
    mapping(bytes32 id => Application) public applications;

    constructor(bytes32 model_) payable {
        model = model_;
    }

    receive() external payable {}

    /// What `applyFor` must be sent.
    function fee() external view returns (uint256) {
        return NESA.estimateFee(model, CALLBACK_GAS);
    }

    /// Asks the model. The value pays for its answer.
    function applyFor(int64 income, int64 debt, uint256 amount) external payable returns (bytes32 id) {
        if (amount > address(this).balance - msg.value - promised) revert TooMuch(amount);
        promised += amount;
        bytes memory input = abi.encodePacked(Doubles.bits(income), Doubles.bits(debt));
        id = NESA.requestInference{value: msg.value}(model, input, CALLBACK_GAS, uint64(block.number) + PATIENCE, PROOF);
        applications[id] = Application(payable(msg.sender), amount, State.Waiting, 0);
        emit Applied(id, msg.sender, amount);
    }

    /// The verdict: here, and nowhere else, money moves.
    function onInference(bytes32 id, bytes calldata output) external {
        if (msg.sender != address(NESA)) revert OnlyTheModule();
        Application storage a = applications[id];
        if (a.state != State.Waiting) revert NotWaiting(id);
        (int64 class, int64[] memory scores) = abi.decode(output, (int64, int64[]));
        promised -= a.amount;
        a.score = scores[0];
        a.state = class == 1 ? State.Granted : State.Denied;
        emit Decided(id, class == 1, scores[0]);
        if (class == 1) {
            // An applicant that takes no money gets none, and blocks nobody.
            (bool taken, ) = a.applicant.call{value: a.amount, gas: 30_000}("");
            if (!taken) a.state = State.Denied;
        }
    }
}

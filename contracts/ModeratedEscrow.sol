// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

import {INesaInferenceCallback, NESA, PROOF} from "./INesaInference.sol";
import {Doubles} from "./Doubles.sol";

/// Money between a buyer and a seller, released by a model's verdict on what both state.
///
/// An example. Its model has two features, what the seller says was delivered and what the buyer
/// says was missing; class 1 releases to the seller.
contract ModeratedEscrow is INesaInferenceCallback {
    enum State { None, Open, Judged, Released, Returned }

    struct Deal {
        address payable buyer;
        address payable seller;
        uint256 amount;
        int64 delivered;
        int64 missing;
        bool sellerStated;
        bool buyerStated;
        State state;
        uint64 judgedUntil;
    }

    event Opened(uint256 indexed deal, address indexed buyer, address indexed seller, uint256 amount);
    event Asked(uint256 indexed deal, bytes32 indexed id);
    event Ended(uint256 indexed deal, bool released);

    error OnlyTheModule();
    error NotYours();
    error NotNow();

    uint64 public constant CALLBACK_GAS = 200_000;
    uint64 public constant PATIENCE = 600;
    bytes32 public immutable model;
    uint256 public count;
    mapping(uint256 deal => Deal) public deals;
    mapping(bytes32 id => uint256 deal) public asked;
    /// What somebody may take who could not be paid by a call.
    mapping(address who => uint256 sum) public owed;

    constructor(bytes32 model_) {
        model = model_;
    }

    function open(address payable seller) external payable returns (uint256 deal) {
        deal = ++count;
        Deal storage d = deals[deal];
        (d.buyer, d.seller, d.amount, d.state) = (payable(msg.sender), seller, msg.value, State.Open);
        emit Opened(deal, msg.sender, seller, msg.value);
    }

    /// The buyer is content.
    function release(uint256 deal) external {
        Deal storage d = deals[deal];
        if (msg.sender != d.buyer) revert NotYours();
        if (d.state != State.Open) revert NotNow();
        end(deal, true);
    }

    /// Each side states one number, once.
    function state(uint256 deal, int64 number) external {
        Deal storage d = deals[deal];
        if (d.state != State.Open) revert NotNow();
        if (msg.sender == d.seller && !d.sellerStated) (d.delivered, d.sellerStated) = (number, true);
        else if (msg.sender == d.buyer && !d.buyerStated) (d.missing, d.buyerStated) = (number, true);
        else revert NotYours();
    }

    /// Either side asks the model once both have spoken, and again if nobody answered in time.
    function judge(uint256 deal) external payable returns (bytes32 id) {
        Deal storage d = deals[deal];
        if (msg.sender != d.buyer && msg.sender != d.seller) revert NotYours();
        bool again = d.state == State.Judged && block.number > d.judgedUntil;
        if ((d.state != State.Open && !again) || !d.sellerStated || !d.buyerStated) revert NotNow();
        d.state = State.Judged;
        d.judgedUntil = uint64(block.number) + PATIENCE;
        bytes memory input = abi.encodePacked(Doubles.bits(d.delivered), Doubles.bits(d.missing));
        id = NESA.requestInference{value: msg.value}(model, input, CALLBACK_GAS, d.judgedUntil, PROOF);
        asked[id] = deal;
        emit Asked(deal, id);
    }

    function onInference(bytes32 id, bytes calldata output) external {
        if (msg.sender != address(NESA)) revert OnlyTheModule();
        uint256 deal = asked[id];
        if (deals[deal].state != State.Judged) revert NotNow();
        (int64 class, ) = abi.decode(output, (int64, int64[]));
        end(deal, class == 1);
    }

    /// What could not be delivered by a call.
    function take() external {
        uint256 sum = owed[msg.sender];
        owed[msg.sender] = 0;
        (bool taken, ) = msg.sender.call{value: sum}("");
        if (!taken) revert NotNow();
    }

    function end(uint256 deal, bool released) private {
        Deal storage d = deals[deal];
        d.state = released ? State.Released : State.Returned;
        address payable to = released ? d.seller : d.buyer;
        emit Ended(deal, released);
        (bool taken, ) = to.call{value: d.amount, gas: 30_000}("");
        if (!taken) owed[to] += d.amount;
    }
}

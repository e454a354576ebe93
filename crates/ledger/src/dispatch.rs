//! From an address and calldata to a typed action, and to whoever applies it.

use alloy_sol_types::SolInterface;
use alloy_sol_types::abi::AbiDecoderConfig;
use nesa_codec::Digest;

use crate::supply::Pot;
use crate::{Address, Context, Refusal, supply};

/// The most bytes that decoding the arguments of one call may take.
const DECODED_MAX: usize = 1 << 20;
/// How deep arguments may nest.
const NESTED_MAX: usize = 8;

/// A family of native actions behind one system address.
pub trait Family {
    /// Its place in the list below: the last byte of its address, its number in the queue of
    /// deadlines. Never reused.
    const INDEX: u8;

    /// The functions of its Solidity interface.
    type Call: SolInterface;

    /// Gas of an action beyond the envelope's; bounds its work.
    fn gas(call: &Self::Call) -> u64;

    /// Whether an action changes nothing: contracts may call it where they may not write.
    fn reads(_: &Self::Call) -> bool {
        false
    }

    /// Applies an action and returns its ABI-encoded answer. Takes all value or refuses it.
    ///
    /// # Errors
    /// A [`Refusal`]; then the caller reverts.
    fn apply(ctx: &mut Context<'_>, call: Self::Call) -> Result<Vec<u8>, Refusal>;

    /// Ends what [`crate::deadlines::schedule`] put off until now. Must reach a terminal state:
    /// after an error the job is gone and none of its effects are kept.
    ///
    /// # Errors
    /// A [`Refusal`].
    fn expire(_: &mut Context<'_>, _: &Digest) -> Result<(), Refusal> {
        Ok(())
    }

    /// Runs at the end of an epoch, before the next seats are drawn.
    ///
    /// # Errors
    /// A [`Refusal`]; then none of its effects are kept.
    fn end_epoch(_: &mut Context<'_>) -> Result<(), Refusal> {
        Ok(())
    }
}

macro_rules! families {
    ($($name:ident = $family:ty,)*) => {
        /// A native action with its arguments.
        #[allow(missing_docs, reason = "the variants are the families, documented there")]
        #[allow(missing_debug_implementations, reason = "calls are generated")]
        pub enum Action {
            $($name(<$family as Family>::Call),)*
        }

        impl Action {
            /// The action that a call means; `None` where the address is no module's.
            #[must_use]
            pub fn decode(to: &Address, data: &[u8]) -> Option<Result<Self, Refusal>> {
                $(if *to == Address::module(<$family>::INDEX) {
                    return Some(strict(data).map(Self::$name));
                })*
                None
            }

            /// Gas beyond the envelope's.
            #[must_use]
            pub fn gas(&self) -> u64 {
                match self {
                    $(Self::$name(call) => <$family>::gas(call),)*
                }
            }

            /// Whether it changes nothing.
            #[must_use]
            pub fn reads(&self) -> bool {
                match self {
                    $(Self::$name(call) => <$family>::reads(call),)*
                }
            }

            fn apply(self, ctx: &mut Context<'_>) -> Result<Vec<u8>, Refusal> {
                match self {
                    $(Self::$name(call) => <$family>::apply(ctx, call),)*
                }
            }
        }

        /// The addresses of all modules.
        #[must_use]
        pub fn modules() -> Vec<Address> {
            vec![$(Address::module(<$family>::INDEX),)*]
        }

        /// Whether an address is a module's.
        #[must_use]
        pub fn is_module(address: &Address) -> bool {
            false $(|| *address == Address::module(<$family>::INDEX))*
        }

        /// Ends a job of a family.
        pub(crate) fn expire(ctx: &mut Context<'_>, family: u8, id: &Digest) -> Result<(), Refusal> {
            ctx.module = Address::module(family);
            match family {
                $(<$family>::INDEX => <$family>::expire(ctx, id),)*
                _ => Ok(()),
            }
        }

        /// Ends the epoch for every family.
        pub(crate) fn end_epoch(ctx: &mut Context<'_>) -> Result<(), Refusal> {
            $(
                ctx.module = Address::module(<$family>::INDEX);
                contain(ctx, <$family>::end_epoch)?;
            )*
            Ok(())
        }
    };
}

// One line per family. Their numbers are Family::INDEX.
families! {
    Staking = crate::staking::Staking,
    Operators = crate::operators::Operators,
    Models = crate::models::Models,
    Sessions = crate::sessions::Sessions,
    Disputes = crate::disputes::Disputes,
    Governance = crate::governance::Governance,
    Requests = crate::requests::Requests,
}

/// Applies an action whose value is still with the caller. A refused one has no effect.
///
/// # Errors
/// The action's [`Refusal`].
pub fn apply(ctx: &mut Context<'_>, action: Action) -> Result<Vec<u8>, Refusal> {
    let mark = ctx.state.begin();
    let value = ctx.value;
    let (from, to) = (Pot::Account(ctx.caller), Pot::Account(ctx.module));
    let done = supply::move_(ctx.state, &from, &to, value)
        .map_err(Refusal::from)
        .and_then(|()| enter(ctx, action));
    if done.is_err() {
        ctx.state.revert(mark);
    }
    done
}

/// Applies an action whose value is on the module's account already, as contracts send it. A
/// refused one has no effect, but the value stays where it is: the call is reverted with it.
///
/// # Errors
/// The action's [`Refusal`].
pub fn enter(ctx: &mut Context<'_>, action: Action) -> Result<Vec<u8>, Refusal> {
    let (mark, logs) = (ctx.state.begin(), ctx.logs.len());
    let done = action.apply(ctx);
    let done = done.and_then(|answer| ctx.unpayable().map(|()| answer));
    if done.is_err() {
        ctx.state.revert(mark);
        ctx.logs.truncate(logs);
    }
    done
}

/// Runs a hook of the block; where it refuses, its effects are undone and the block goes on.
///
/// # Errors
/// Fatal refusals only.
pub(crate) fn contain(
    ctx: &mut Context<'_>,
    hook: impl FnOnce(&mut Context<'_>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let (mark, logs) = (ctx.state.begin(), ctx.logs.len());
    match hook(ctx) {
        Err(refusal) if refusal.is_fatal() => Err(refusal),
        Err(_) => {
            ctx.state.revert(mark);
            ctx.logs.truncate(logs);
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Arguments whose canonical encoding is `data`.
fn strict<C: SolInterface>(data: &[u8]) -> Result<C, Refusal> {
    let (selector, rest) = data.split_at_checked(4).ok_or(Refusal::Selector)?;
    let selector: [u8; 4] = selector.try_into().map_err(|_| Refusal::Selector)?;
    if !C::valid_selector(selector) {
        return Err(Refusal::Selector);
    }
    let config = AbiDecoderConfig::new()
        .memory_limit(DECODED_MAX)
        .recursion_limit(NESTED_MAX)
        .validate(true);
    let call = C::abi_decode_raw_with_config(selector, rest, config);
    let call = call.map_err(|_| Refusal::Calldata)?;
    if call.abi_encoded_size() != rest.len() || call.abi_encode() != data {
        return Err(Refusal::Calldata);
    }
    Ok(call)
}

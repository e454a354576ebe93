//! Speak the OpenAI-compatible HTTP API on the user's own machine.

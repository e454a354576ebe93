//! State what was computed, and verify the evidence for it.

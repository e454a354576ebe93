//! Carry bounded frames between authenticated peers, over QUIC or a seeded simulation.

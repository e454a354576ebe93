//! Multiply integer matrices as fast as the processor allows, bit-equal at every SIMD level.

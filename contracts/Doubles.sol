// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// Whole numbers as the bits of doubles, as tree models take their features.
library Doubles {
    /// The number has no double of its own.
    error Inexact(int64 value);

    /// The bits of the double that is `value`, for magnitudes up to 2^53.
    function bits(int64 value) internal pure returns (uint64) {
        if (value == 0) return 0;
        uint64 sign = value < 0 ? uint64(1) << 63 : 0;
        uint64 m = value < 0 ? uint64(-value) : uint64(value);
        if (m > uint64(1) << 53) revert Inexact(value);
        uint64 high = 0;
        for (uint64 rest = m; rest > 1; rest >>= 1) high++;
        uint64 fraction = high > 52 ? m >> (high - 52) : m << (52 - high);
        return sign | ((1023 + high) << 52) | (fraction & ((uint64(1) << 52) - 1));
    }
}

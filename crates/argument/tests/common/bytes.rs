//! One proof is one sequence of bytes: any other is refused.

/// Flips bits of every byte, cuts and extends; only `bytes` itself may be accepted.
pub(crate) fn only_these(bytes: &[u8], accepted: impl Fn(&[u8]) -> bool) {
    assert!(accepted(bytes));
    let mut other = bytes.to_vec();
    for at in 0..bytes.len() {
        for bit in [1, 0x80] {
            other[at] ^= bit;
            assert!(
                !accepted(&other),
                "byte {at} of {}, bits {bit:#x}",
                bytes.len()
            );
            other[at] ^= bit;
        }
    }
    for n in (0..bytes.len()).step_by(61).chain([bytes.len() - 1]) {
        assert!(!accepted(&bytes[..n]), "{n} bytes");
    }
    for more in [&[0][..], &[255], bytes] {
        assert!(!accepted(&[bytes, more].concat()), "extended");
    }
    assert!(!accepted(&[0xff; 4096]));
}

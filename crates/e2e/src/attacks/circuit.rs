//! Stub.
pub(super) fn attacks() -> Vec<super::Attack> {
    Vec::new()
}

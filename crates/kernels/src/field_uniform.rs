//! Uniform elements from a seed, as fast as a share can be dealt.

use crate::level::Level;

/// [`nesa_field::uniform_into`]: fills `out` with the uniform elements of `seed`.
pub fn field_uniform(level: Level, seed: &[u8; 32], out: &mut [u32]) {
    #[cfg(target_arch = "x86_64")]
    if level.or_best() == Level::Avx512 {
        // SAFETY: `or_best` only returns a level that the processor runs.
        return unsafe { crate::avx512::field::uniform(seed, out) };
    }
    let _ = level;
    nesa_field::uniform_into(seed, out);
}

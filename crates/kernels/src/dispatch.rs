//! Plain loops that are compiled once per instruction set.
//!
//! Where a loop over independent integers is all there is to a kernel, the compiler vectorises it;
//! one definition then serves every level, and there is nothing that could differ.

/// `compiled! { fn name(args) = body; }` defines `name(level, args)`, which calls `body` compiled for
/// the level, or for the best below it that the processor runs.
macro_rules! compiled {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? = $body:expr;) => {
        $(#[$doc])*
        $vis fn $name(level: $crate::Level, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                unsafe fn avx2($($arg: $ty),*) $(-> $ret)? {
                    $body($($arg),*)
                }
                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
                unsafe fn avx512($($arg: $ty),*) $(-> $ret)? {
                    $body($($arg),*)
                }
                match level.or_best() {
                    // SAFETY: `or_best` only returns a level that the processor runs.
                    $crate::Level::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::Level::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::Level::Scalar => {}
                }
            }
            let _ = level;
            $body($($arg),*)
        }
    };
}

pub(crate) use compiled;

//! Multiply integer matrices as fast as the processor allows, bit-equal at every SIMD level.
//!
//! A linear layer of the integer model is `y = W·x` with int8 weights and int16 activations, followed
//! by one rounding `q = clamp(round((y + bias) / D[row]))`. Integer sums are associative, so every
//! blocking, thread split and instruction set must give the same bits; the tests say that they do.
//!
//! ```
//! use nesa_kernels::{Divisors, Epilogue, Level, PackedMatrix, Panel, Rows, Width, matmul};
//!
//! let matrix = PackedMatrix::pack(2, 3, &[1, 2, 3, -1, -2, -3]); // (rows, cols)
//! let mut rows = Rows::default();
//! rows.prepare(Level::detect(), 1, 3, &[100, 200, 300]); // (n, cols)
//! let divisors = Divisors::new(&[3, 5])?;
//! let mut out = [0i16; 2]; // (n, rows)
//! let epilogue = Epilogue::Requantize {
//!     divisors: &divisors,
//!     bias: None,
//!     max: 127,
//!     out: Panel::new(&mut out, 1, 2),
//! };
//! matmul(&matrix, &rows, 0..matrix.blocks(), Width::I32, epilogue);
//! assert_eq!(out, [127, -127]); // round(1400 / 3) = 467 and round(-1400 / 5) = -280, clamped
//! # Ok::<(), nesa_kernels::KernelError>(())
//! ```
//!
//! # Limits
//! At most [`COLS_MAX`] columns; [`Width::I32`] is exact only where the caller has proven
//! `|y + bias| < 2^31`. This is the only crate of the workspace with `unsafe` code.
#![allow(
    unsafe_code,
    reason = "SIMD intrinsics and strided output need raw pointers"
)]

mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod dispatch;
mod divisors;
mod epilogue;
mod field;
mod field_left;
mod field_matmul;
mod field_uniform;
mod float;
mod level;
mod m61;
mod matmul;
mod memory;
mod norm;
mod packed;
mod panel;
mod pool;
mod rotate;
mod rounding;
mod rows;
pub mod scalar;
mod softmax;
mod weight_sums;

pub use attention::{dot_rows, dot_rows_multi, weighted_rows, weighted_rows_multi};
pub use divisors::{Divisors, KernelError};
pub use epilogue::{Epilogue, RESIDUAL_MAX, finish_sums};
pub use field::{field_canonical, field_centred, field_combine, field_dot2, field_from_signed};
pub use field_left::field_left;
pub use field_matmul::{FieldRows, FieldScratch, field_matmul};
pub use field_uniform::field_uniform;
pub use float::gemm_f32;
pub use level::{Level, ParseLevelError};
pub use m61::{M61, M61_TERMS_MAX, M61_VALUE_END, m61_dot, m61_left};
pub use matmul::{Width, matmul, matmul_i32, matmul_i64};
pub use norm::{NormScale, norm_row, sum_squares};
pub use packed::{BLOCK_ROWS, COLS_MAX, PackedMatrix};
pub use panel::Panel;
pub use pool::Pool;
pub use rotate::rotate;
pub use rounding::{TABLE_LEN, gated, gated_wide, look_up, round_rows};
pub use rows::Rows;
pub use softmax::{EXP_LEN, softmax};
pub use weight_sums::{LIMBS, WEIGHT_COLUMNS, WEIGHT_ROWS_MAX, WeightSums, weight_sums};

#[cfg(test)]
mod field_tests;
#[cfg(test)]
mod tests;

//! The operators, one file each: its definition, its parameters, its bytes.

pub mod attention;
pub mod linear;
pub mod norm;
pub mod rope;
pub mod round;
pub mod table;

//! Attack every privacy tier with exactly what each party received, and measure what it leaks.

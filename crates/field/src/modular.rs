//! The same arithmetic for any prime below 2^31: small ones can be enumerated in tests.

/// `a + b` modulo `Q`.
#[must_use]
pub const fn add<const Q: u32>(a: u32, b: u32) -> u32 {
    let sum = a + b;
    if sum >= Q { sum - Q } else { sum }
}

/// `a − b` modulo `Q`.
#[must_use]
pub const fn sub<const Q: u32>(a: u32, b: u32) -> u32 {
    if a >= b { a - b } else { a + Q - b }
}

/// `a · b` modulo `Q`.
#[must_use]
pub const fn mul<const Q: u32>(a: u32, b: u32) -> u32 {
    (a as u64 * b as u64 % Q as u64) as u32
}

/// `a^exponent` modulo `Q`.
#[must_use]
pub const fn pow<const Q: u32>(a: u32, exponent: u32) -> u32 {
    let (mut power, mut square, mut rest) = (1, a, exponent);
    while rest > 0 {
        if rest & 1 == 1 {
            power = mul::<Q>(power, square);
        }
        square = mul::<Q>(square, square);
        rest >>= 1;
    }
    power
}

/// `1 / a` modulo the prime `Q` (Fermat); 0 for 0.
#[must_use]
pub const fn inverse<const Q: u32>(a: u32) -> u32 {
    pow::<Q>(a, Q - 2)
}

/// The element of `0..Q` that `v` is congruent to.
#[must_use]
pub const fn from_i64<const Q: u32>(v: i64) -> u32 {
    v.rem_euclid(Q as i64) as u32
}

/// The integer in `−(Q − 1)/2 ..= (Q − 1)/2` that `a` is congruent to.
#[must_use]
pub const fn centred<const Q: u32>(a: u32) -> i32 {
    if a > Q / 2 {
        a as i32 - Q as i32
    } else {
        a as i32
    }
}

/// Coefficients of the value at `at` of a polynomial through `points`; see [`crate::lagrange`].
#[must_use]
pub fn lagrange<const Q: u32>(points: &[u32], at: u32) -> Vec<u32> {
    let coefficient = |(i, &point): (usize, &u32)| {
        let others = points.iter().enumerate().filter(|&(j, _)| j != i);
        let (over, under) = others.fold((1, 1), |(over, under), (_, &other)| {
            (
                mul::<Q>(over, sub::<Q>(at, other)),
                mul::<Q>(under, sub::<Q>(point, other)),
            )
        });
        mul::<Q>(over, inverse::<Q>(under))
    };
    points.iter().enumerate().map(coefficient).collect()
}

/// Shares of one secret: the value at each of `points` of the polynomial of degree `masks.len()` that
/// is `secret` at 0 and `masks[i]` at `points[i]`.
///
/// This is the definition of sharing (`docs/spec/hss.md`). Points are distinct, none is 0, and there
/// are more than masks.
#[must_use]
pub fn shares<const Q: u32>(points: &[u32], secret: u32, masks: &[u32]) -> Vec<u32> {
    let known: Vec<u32> = std::iter::once(0)
        .chain(points.iter().copied())
        .take(masks.len() + 1)
        .collect();
    let share = |&point: &u32| {
        let coefficients = lagrange::<Q>(&known, point);
        let values = std::iter::once(&secret).chain(masks);
        let terms = coefficients.iter().zip(values);
        terms.fold(0, |sum, (&c, &v)| add::<Q>(sum, mul::<Q>(c, v)))
    };
    points.iter().map(share).collect()
}

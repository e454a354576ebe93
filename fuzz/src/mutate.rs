//! Seeded mutations: small edits, hostile integers, splices, words of the format.

/// The SplitMix64 generator.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, or 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// FNV-1a, for file names.
pub(crate) fn fingerprint(bytes: &[u8]) -> u64 {
    let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Values at which decoders go wrong.
const HOSTILE: [u64; 16] = [
    0,
    1,
    2,
    4,
    8,
    31,
    127,
    255,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 40,
    1 << 60,
    u64::MAX >> 1,
    u64::MAX,
];

/// Makes inputs from a pool.
pub(crate) struct Mutator<'a> {
    pub(crate) random: &'a mut Random,
    pub(crate) dictionary: &'a [&'a [u8]],
}

impl Mutator<'_> {
    /// A mutated member of `pool`, at most `max_len` bytes or as long as its origin.
    pub(crate) fn next(&mut self, pool: &[Vec<u8>], max_len: usize) -> Vec<u8> {
        let mut input = pool
            .get(self.random.below(pool.len()))
            .cloned()
            .unwrap_or_default();
        let max_len = max_len.max(input.len());
        for _ in 0..1 << self.random.below(5) {
            self.change(&mut input, pool);
        }
        input.truncate(max_len);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, pool: &[Vec<u8>]) {
        let at = self.random.below(input.len());
        match self.random.below(10) {
            0 => self.overwrite(input, at, 1),
            1 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << self.random.below(8);
                }
            }
            2 => self.overwrite(input, at, 4),
            3 => self.overwrite(input, at, 8),
            4 => {
                // Integers are mostly aligned with the start of the file or of a field.
                self.overwrite(input, at & !7, 8);
            }
            5 => {
                let end = (at + 1 + self.random.below(16)).min(input.len());
                input.drain(at.min(end)..end);
            }
            6 => {
                let end = (at + 1 + self.random.below(32)).min(input.len());
                let piece = input[at.min(end)..end].to_vec();
                input.splice(at..at, piece);
            }
            7 if !self.dictionary.is_empty() => {
                let word = self.dictionary[self.random.below(self.dictionary.len())];
                let replaced = if self.random.below(2) == 0 {
                    word.len()
                } else {
                    0
                };
                let end = (at + replaced).min(input.len());
                input.splice(at..end, word.iter().copied());
            }
            8 => {
                let other = &pool[self.random.below(pool.len())];
                let from = self.random.below(other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => input.truncate(at),
        }
    }

    /// Overwrite `size` bytes at `at` with a hostile or small changed integer.
    fn overwrite(&mut self, input: &mut [u8], at: usize, size: usize) {
        let Some(place) = input.get_mut(at..at + size) else {
            return;
        };
        let mut old = [0; 8];
        old[..size].copy_from_slice(place);
        let old = u64::from_le_bytes(old);
        let new = match self.random.below(4) {
            0 => self.random.next(),
            1 => old
                .wrapping_add(self.random.below(17) as u64)
                .wrapping_sub(8),
            _ => HOSTILE[self.random.below(HOSTILE.len())],
        };
        place.copy_from_slice(&new.to_le_bytes()[..size]);
    }
}

//! Limits, order and who leaves a full pool.

use super::*;

const LIMITS: PoolLimits = PoolLimits {
    count: 4,
    bytes: 100,
    per_sender: 3,
    transaction: 40,
    blocks: 10,
};

/// A transaction of a sender whose next nonce is `next`, at a cost of 1 out of 10.
fn peek(sender: u8, next: u64, nonce: u64, tip: u128) -> Peek {
    Peek {
        sender: vec![sender],
        next,
        nonce,
        tip,
        cost: 1,
        funds: 10,
    }
}

fn add(pool: &mut Pool, sender: u8, nonce: u64, tip: u128) -> Result<(), PoolError> {
    let bytes = vec![sender, nonce as u8, tip as u8];
    let next = if sender == 2 { 5 } else { 0 };
    pool.insert(bytes, peek(sender, next, nonce, tip)).map(drop)
}

fn pool(items: &[(u8, u64, u128)]) -> Pool {
    let mut pool = Pool::new(LIMITS);
    for (sender, nonce, tip) in items {
        add(&mut pool, *sender, *nonce, *tip).unwrap();
    }
    pool
}

/// Sums, ranks and queues say the same as the transactions themselves.
fn sound(pool: &Pool) {
    let all: usize = pool.all.values().map(|w| w.bytes.len()).sum();
    assert_eq!(pool.bytes, all);
    let queued: usize = pool.senders.values().map(|q| q.waiting.len()).sum();
    assert_eq!(queued, pool.all.len());
    let tails: BTreeSet<Rank> = pool.senders.values().filter_map(|q| q.tail).collect();
    assert_eq!(tails, pool.tails);
    assert_eq!(tails.len(), pool.senders.len());
    for (sender, queue) in &pool.senders {
        let of = pool.all.values().filter(|w| w.sender == *sender);
        assert_eq!(queue.cost, of.map(|w| w.cost).sum::<u128>());
        let last = *queue.waiting.last_key_value().unwrap().0;
        assert_eq!(queue.tail.unwrap().0, queue.ready(last), "{queue:?}");
    }
}

#[test]
fn tips_go_first_and_nonces_in_order() {
    let pool = pool(&[(1, 0, 1), (1, 1, 9), (2, 5, 4), (3, 2, 99)]);
    let next = |sender: &[u8]| if sender == [2] { 5 } else { 0 };
    let taken = pool.take(100, next);
    // Sender 3 has a gap; sender 1's rich second follows its poor first.
    assert_eq!(taken, [vec![2, 5, 4], vec![1, 0, 1], vec![1, 1, 9]]);
    assert_eq!(pool.take(22, next).len(), 2);
    sound(&pool);
}

#[test]
fn every_limit_holds() {
    let mut pool = pool(&[(1, 0, 1), (1, 1, 1), (1, 2, 1)]);
    assert_eq!(add(&mut pool, 1, 0, 1), Err(PoolError::Known));
    let long = pool.insert(vec![0; 41], peek(3, 0, 0, 1));
    assert_eq!(long, Err(PoolError::TooLong(41)));
    assert_eq!(add(&mut pool, 1, 3, 1), Err(PoolError::Sender(3)));
    assert_eq!(add(&mut pool, 3, u64::MAX, 9), Err(PoolError::Sender(3)));
    let poor = Peek {
        cost: 11,
        ..peek(3, 0, 0, 1)
    };
    let (cost, funds) = (11, 10);
    let refused = pool.insert(vec![3], poor);
    assert_eq!(refused, Err(PoolError::Funds { cost, funds }));
    // Two still wait at 1 each: another of 9 would be beyond 10.
    let last = Peek {
        cost: 9,
        next: 1,
        ..peek(1, 0, 3, 1)
    };
    let (cost, funds) = (11, 10);
    let refused = pool.insert(vec![9], last);
    assert_eq!(refused, Err(PoolError::Funds { cost, funds }));
    assert_eq!(add(&mut pool, 1, 0, 9), Err(PoolError::Past));
    assert_eq!(pool.insert(vec![3; 40], peek(3, 0, 0, 1)).map(drop), Ok(()));
    assert_eq!(add(&mut pool, 4, 0, 1), Ok(()));
    assert_eq!(add(&mut pool, 5, 0, 1), Err(PoolError::Full), "the count");
    sound(&pool);
}

#[test]
fn a_tip_of_a_tenth_more_replaces() {
    let mut pool = pool(&[(1, 0, 100), (1, 1, 0)]);
    assert_eq!(add(&mut pool, 1, 0, 109), Err(PoolError::Nonce(110)));
    assert_eq!(add(&mut pool, 1, 0, 110), Ok(()));
    assert_eq!(add(&mut pool, 1, 1, 1), Ok(()));
    assert_eq!(pool.len(), 2);
    sound(&pool);
}

#[test]
fn a_full_pool_lets_the_lowest_go_and_gaps_first() {
    let mut pool = pool(&[(1, 0, 10), (1, 1, 30), (2, 5, 20), (3, 1, 99)]);
    assert_eq!(add(&mut pool, 4, 1, 90), Err(PoolError::Full), "gaps too");
    assert_eq!(add(&mut pool, 4, 0, 1), Ok(()), "before any gap");
    assert!(!pool.senders.contains_key([3].as_slice()));
    assert_eq!(add(&mut pool, 5, 0, 1), Err(PoolError::Full), "not lower");
    assert_eq!(add(&mut pool, 5, 0, 2), Ok(()));
    assert!(!pool.senders.contains_key([4].as_slice()));
    // Of a queue the last goes, whatever those before it offer.
    assert_eq!(add(&mut pool, 6, 0, 40), Ok(()), "for 2");
    assert_eq!(add(&mut pool, 7, 0, 40), Ok(()), "for 20");
    assert_eq!(add(&mut pool, 8, 0, 40), Ok(()), "for 30");
    assert_eq!(pool.senders[[1].as_slice()].waiting.len(), 1);
    sound(&pool);
}

#[test]
fn bytes_make_room_all_or_nothing() {
    let mut pool = Pool::new(LIMITS);
    for sender in [1, 3] {
        let bytes = vec![sender; 40];
        pool.insert(bytes, peek(sender, 0, 0, 5)).unwrap();
    }
    pool.insert(vec![4; 20], peek(4, 0, 0, 50)).unwrap();
    let refused = pool.insert(vec![5; 40], peek(5, 0, 0, 5));
    assert_eq!(refused, Err(PoolError::Full));
    assert_eq!(pool.len(), 3, "nobody left for one who does not come");
    pool.insert(vec![5; 30], peek(5, 0, 0, 6)).unwrap();
    assert_eq!(pool.len(), 3);
    sound(&pool);
}

#[test]
fn what_blocks_hold_and_what_waits_too_long_leaves() {
    let mut pool = pool(&[(1, 0, 1), (1, 1, 1), (2, 5, 1)]);
    pool.prune(3, |sender| if sender == [1] { 1 } else { 6 });
    assert_eq!(pool.take(100, |_| 1), [vec![1, 1, 1]]);
    assert_eq!((pool.len(), pool.bytes), (1, 3));
    sound(&pool);
    add(&mut pool, 3, 1, 1).unwrap();
    pool.prune(9, |_| 0);
    assert_eq!(pool.len(), 2);
    pool.prune(10, |_| 0);
    assert_eq!(pool.len(), 1, "the younger one stays");
    pool.prune(13, |_| 0);
    assert_eq!(pool.len(), 0);
    sound(&pool);
}

#[test]
fn random_use_keeps_the_books() {
    let mut pool = Pool::new(LIMITS);
    let mut seed = 1u64;
    let mut random = |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % n
    };
    let (mut taken, mut full) = (0, 0);
    for round in 0..20_000u64 {
        let (sender, nonce) = (random(6) as u8, random(4));
        let next = random(3).min(nonce);
        let bytes = vec![sender; 1 + random(44) as usize];
        let peek = peek(sender, next, nonce, u128::from(random(50)));
        match pool.insert([bytes, round.to_le_bytes().to_vec()].concat(), peek) {
            Ok(_) => taken += 1,
            Err(PoolError::Full) => full += 1,
            Err(_) => {}
        }
        if random(9) == 0 {
            let next = random(3);
            pool.prune(round / 100, |_| next);
        }
        assert!(pool.len() <= LIMITS.count && pool.bytes <= LIMITS.bytes);
        sound(&pool);
    }
    assert!(taken > 1_000 && full > 1_000, "{taken} taken, {full} full");
}

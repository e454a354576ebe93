//! One validator in one process: the local network.

use std::time::Duration;

use crate::support::bank::{self, Bank, MONEY, transfer};
use crate::support::{Cluster, validators};
use commonware_runtime::{Runner as _, Supervisor as _, deterministic};

#[test]
fn one_validator_makes_transfers_final_and_resumes_after_a_crash() {
    deterministic::Runner::timed(Duration::from_secs(300)).start(|context| async move {
        let machine = Bank::default();
        let heard = machine.heard.clone();
        let mut cluster = Cluster::new(context.child("cluster"), machine, 1, 1).await;
        cluster.boot(0).await;
        let node = cluster.node(0).clone();
        for nonce in 0..5 {
            node.submit(transfer(0, nonce, 1, 100)).unwrap();
        }
        assert!(node.submit(transfer(0, 0, 1, 100)).is_err(), "known");
        assert!(cluster.reach(3, 30).await);
        let (_, state) = node.last();
        assert_eq!(bank::account(&state, 0), (MONEY - 500, 5));
        assert_eq!(bank::account(&state, 1), (MONEY + 500, 0));
        assert_eq!(node.waiting(), 0);
        let before = cluster.height(0);
        let told: Vec<_> = heard.lock().unwrap().clone().into_iter().collect();
        assert!(
            told.iter().map(|(height, _)| *height).eq(1..=before),
            "each block once, in order"
        );
        assert_eq!(
            told.iter().map(|(_, transfers)| transfers).sum::<usize>(),
            5
        );

        cluster.crash(0, 1).await;
        cluster.boot(0).await;
        let (_, state) = cluster.node(0).last();
        assert_eq!(bank::account(&state, 0), (MONEY - 500, 5));
        assert!(cluster.reach(before + 3, 30).await);
        cluster.assert_no_fork();
    });
}

#[test]
fn a_light_client_believes_a_final_block_from_bytes_alone() {
    deterministic::Runner::timed(Duration::from_secs(300)).start(|context| async move {
        let mut cluster = Cluster::new(context.child("cluster"), Bank::default(), 4, 4).await;
        for i in 0..4 {
            cluster.boot(i).await;
        }
        assert!(cluster.reach(5, 60).await);
        let node = cluster.node(2);
        let proof = node.finalized(3).unwrap().expect("block 3 is certified");
        let trusted = validators(4).hash();
        assert_eq!(proof.verify(&node.domain(), &trusted), Ok(()));
        assert_eq!(proof.envelope, node.envelope(3).unwrap().unwrap());
        let block = node.block(3).await.unwrap();
        assert_eq!(block.envelope, proof.envelope);
    });
}

#[test]
fn empty_blocks_are_rare_and_a_transaction_is_not_kept_waiting() {
    deterministic::Runner::timed(Duration::from_secs(300)).start(|context| async move {
        let mut cluster = Cluster::new(context.child("cluster"), Bank::default(), 1, 1).await;
        cluster.boot(0).await;
        cluster.sleep(10_000).await;
        // One block each 400 ms, the idle pace.
        let idle = cluster.height(0);
        assert!((20..=26).contains(&idle), "{idle} blocks in 10 s");
        let node = cluster.node(0).clone();
        node.submit(transfer(0, 0, 1, 5)).unwrap();
        cluster.sleep(260).await;
        assert_eq!(bank::account(&node.last().1, 0), (MONEY - 5, 1));
    });
}

//! Nodes that join late, lost their state, or find it damaged.

use std::time::Duration;

use commonware_runtime::{Runner as _, Supervisor as _, deterministic};
use nesa_chain::{Machine as _, Store, StoreError};

use crate::support::Cluster;
use crate::support::bank::{self, Bank, transfer};
use crate::support::disk::Disk;

fn simulate<F: Future<Output = ()>>(f: impl FnOnce(deterministic::Context) -> F) {
    deterministic::Runner::timed(Duration::from_secs(600)).start(f);
}

/// Three of four validators at height 12 with some transfers done; the fourth never ran.
async fn running(context: deterministic::Context, machine: Bank, nodes: usize) -> Cluster {
    let mut cluster = Cluster::new(context.child("cluster"), machine, 4, nodes).await;
    for i in 0..3 {
        cluster.boot(i).await;
    }
    for nonce in 0..4 {
        cluster.node(0).submit(transfer(2, nonce, 3, 10)).unwrap();
    }
    assert!(cluster.reach(12, 90).await);
    cluster
}

#[test]
fn a_fresh_node_takes_a_certified_state_in_chunks() {
    // Ballast of 1 MB makes eight chunks.
    let machine = Bank {
        ballast: 1000,
        ..Bank::default()
    };
    simulate(|context| async move {
        let mut cluster = running(context, machine, 5).await;
        for i in [3, 4] {
            // Node 4 has no vote: it follows.
            cluster.boot_with(i, Some(Duration::from_secs(30))).await;
            assert!(cluster.height(i) >= 4, "it starts from a snapshot");
        }
        let top = cluster.height(0);
        assert!(cluster.reach(top + 4, 60).await);
        cluster.assert_no_fork();
        for i in [3, 4] {
            assert_eq!(
                cluster.node(i).envelope(1).unwrap(),
                None,
                "no block of the past"
            );
            assert_eq!(bank::account(&cluster.node(i).last().1, 2).1, 4);
        }
        // It restarts from what it took, and serves a block's proof like any other.
        cluster.crash(3, 0).await;
        cluster.boot(3).await;
        let top = cluster.height(0);
        assert!(cluster.reach(top + 4, 60).await);
        cluster.assert_no_fork();
    });
}

#[test]
fn a_fresh_node_without_state_sync_executes_every_block() {
    simulate(|context| async move {
        let mut cluster = running(context, Bank::default(), 4).await;
        cluster.boot(3).await;
        let top = cluster.height(0);
        assert!(cluster.reach(top + 2, 60).await);
        cluster.assert_no_fork();
        assert!(cluster.node(3).envelope(1).unwrap().is_some());
    });
}

#[test]
fn a_lost_state_is_built_again_from_the_nodes_own_blocks() {
    simulate(|context| async move {
        let mut cluster = running(context, Bank::default(), 4).await;
        cluster.crash(1, 0).await;
        cluster.new_disk(1);
        cluster.boot(1).await;
        let top = cluster.height(0);
        assert!(cluster.reach(top + 2, 60).await);
        cluster.assert_no_fork();
    });
}

#[test]
fn without_a_quorum_the_chain_halts_and_with_it_goes_on() {
    simulate(|context| async move {
        let mut cluster = running(context, Bank::default(), 4).await;
        cluster.boot(3).await;
        cluster.crash(0, 0).await;
        let top = cluster.height(1);
        assert!(cluster.reach(top + 4, 60).await, "three of four suffice");
        cluster.crash(1, 2).await;
        cluster.sleep(2_000).await;
        let stuck = cluster.height(2);
        cluster.sleep(20_000).await;
        assert_eq!(cluster.height(2), stuck, "two of four do not");
        cluster.boot(0).await;
        assert!(cluster.reach(stuck + 4, 60).await, "three again");
        cluster.boot(1).await;
        assert!(cluster.reach(stuck + 8, 60).await);
        cluster.assert_no_fork();
    });
}

#[test]
fn a_damaged_database_is_refused_or_right_and_never_another_state() {
    let disk = Disk::default();
    let machine = Bank::default();
    let copy = disk.clone();
    simulate(|context| async move {
        let mut cluster = Cluster::new(context.child("cluster"), Bank::default(), 1, 1).await;
        cluster.put_disk(0, copy);
        cluster.boot(0).await;
        cluster.node(0).submit(transfer(1, 0, 2, 7)).unwrap();
        assert!(cluster.reach(6, 60).await);
        cluster.crash(0, 0).await;
    });
    let height = Store::on(disk.mount()).unwrap().check(&machine).unwrap();
    assert!(height >= 6);
    let (mut refused, mut fine) = (0, 0);
    for at in (0..disk.len()).step_by(97) {
        disk.damage(at);
        let checked = Store::on(disk.mount()).and_then(|store| store.check(&machine));
        match checked {
            Ok(found) => {
                assert!(found <= height, "byte {at}");
                fine += 1;
            }
            Err(
                StoreError::Damaged(_) | StoreError::Database(_) | StoreError::OtherChain { .. },
            ) => {
                refused += 1;
            }
        }
        disk.restore();
    }
    assert!(
        refused > 0 && fine > 0,
        "{refused} refused, {fine} in unused space"
    );
}

#[test]
fn a_database_of_another_chain_is_refused() {
    let disk = Disk::default();
    let other = Bank {
        name: 1,
        ..Bank::default()
    };
    assert_eq!(Store::on(disk.mount()).unwrap().check(&other).unwrap(), 0);
    let refused = Store::on(disk.mount()).unwrap().check(&Bank::default());
    assert!(
        matches!(refused, Err(StoreError::OtherChain { .. })),
        "{refused:?}"
    );
    assert_ne!(other.genesis().header, Bank::default().genesis().header);
}

//! Four validators and a follower on loopback sockets, in real time.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use nesa_chain::{Limits, Local, Network, Node, NodeKey, Pace, Peer, Running, spawn};

use crate::support::bank::{Bank, account, transfer};
use crate::support::{seed, validators};

fn free() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}

fn boot(i: usize, peers: &[Peer], root: &Path, sync: bool) -> (Node<Bank>, Running) {
    let local = Local {
        machine: Bank::default(),
        validators: validators(4),
        key: NodeKey::from_seed(&seed(i)).unwrap(),
        limits: Limits {
            pace: Pace {
                interval: Duration::from_millis(50),
                idle: Duration::from_millis(100),
                patience: Duration::from_millis(1500),
            },
            snapshot_every: 4,
            body_max: 64 << 10,
            ..Limits::default()
        },
        folder: root.join(i.to_string()),
        sync: sync.then_some(Duration::from_secs(20)),
    };
    let network = Network {
        listen: peers[i].address,
        validators: peers[..4].to_vec(),
        followers: peers[4..].to_vec(),
    };
    spawn(local, network).unwrap()
}

fn reach(nodes: &[&Node<Bank>], height: u64) {
    let start = Instant::now();
    while nodes.iter().any(|n| n.last().0.height < height) {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "too slow to height {height}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn sockets_disks_and_clocks_carry_the_same_node() {
    let root = tempfile::tempdir().unwrap();
    let peer = |i| Peer {
        key: NodeKey::from_seed(&seed(i)).unwrap().public(),
        address: free(),
    };
    let peers: Vec<_> = (0..5).map(peer).collect();
    let mut running: Vec<_> = (0..4)
        .map(|i| boot(i, &peers, root.path(), false))
        .collect();
    running[0].0.submit(transfer(0, 0, 1, 77)).unwrap();
    let nodes: Vec<_> = running.iter().map(|r| &r.0).collect();
    reach(&nodes, 6);
    // A transaction from before the first connection is sent again a second later.
    let start = Instant::now();
    while nodes.iter().any(|n| account(&n.last().1, 0).1 != 1) {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "the transfer does not arrive"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    // One stops and comes back; the others go on meanwhile.
    let (node, thread) = running.pop().unwrap();
    let left = node.last().0.height;
    drop(node);
    thread.stop();
    let nodes: Vec<_> = running.iter().map(|r| &r.0).collect();
    reach(&nodes, left + 4);
    running.push(boot(3, &peers, root.path(), false));
    // A follower takes a state and then every block.
    let follower = boot(4, &peers, root.path(), true);
    assert!(follower.0.last().0.height >= 4, "it starts from a snapshot");
    let top = running[0].0.last().0.height;
    let mut nodes: Vec<_> = running.iter().map(|r| &r.0).collect();
    nodes.push(&follower.0);
    reach(&nodes, top + 6);
    let first = nodes[0].envelope(top).unwrap();
    assert!(first.is_some() && nodes.iter().all(|n| n.envelope(top).unwrap() == first));
}

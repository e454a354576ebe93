//! A slow access link in user space: UDP relays with delay, rate and a bounded queue.
//!
//! Some kernels have no `netem`, so the link is a program. The client sends to a relay's address
//! instead of the node's; all relays of one [`Access`] share one line in each direction, as all of a
//! household's traffic shares one access line:
//!
//! ```text
//!            relay A ─┐             ┌─► node A
//! client ──► relay B ─┼─ up   line ─┼─► node B        down likewise, back to the client
//!            relay C ─┘             └─► node C
//! ```
//!
//! A packet waits until the line is free, takes `(payload + 28) · 8 / rate` to be sent (28 bytes are the
//! headers of IPv4 and UDP), then travels half the round-trip time. One that would wait for longer
//! than the queue holds is dropped, as a router does, and so is one that exceeds 1500 bytes with its
//! headers: ends that would send larger ones must find out. With an idle line the round trip is
//! [`Profile::rtt`] and the time to send the packets both ways. What the nodes say to each other,
//! and discovery at other addresses, does not cross the link.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// Bytes of the headers of IPv4 and UDP around a payload.
pub(crate) const HEADERS: usize = 28;
/// Largest UDP payload that passes.
const PAYLOAD_MAX: usize = 1500 - HEADERS;
/// Longest wait in the queue, at the line's rate.
const QUEUE: Duration = Duration::from_millis(200);
/// Least bytes that a queue holds.
const QUEUE_BYTES_MIN: u64 = 128 << 10;
/// Most client addresses per relay.
const CLIENTS_MAX: usize = 64;
/// Largest UDP payload that a socket gives.
const PACKET_BYTES_MAX: usize = 65_535;
/// What the kernel is asked to hold for a relay that has not read yet.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// How often a thread that waits for packets looks whether the link is still wanted.
const POLL: Duration = Duration::from_millis(100);

/// What a link is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Profile {
    /// What to call it.
    pub(crate) name: &'static str,
    /// Towards the client, in bits per second.
    pub(crate) down: u64,
    /// From the client, in bits per second.
    pub(crate) up: u64,
    /// Both ways together, half of it each way.
    pub(crate) rtt: Duration,
}

impl Profile {
    const fn new(name: &'static str, down: u64, up: u64, rtt_ms: u64) -> Self {
        Self {
            name,
            down: down * 1_000_000,
            up: up * 1_000_000,
            rtt: Duration::from_millis(rtt_ms),
        }
    }
}

/// The links that figures are given for: a local network, a good line, a modest one.
pub(crate) const PROFILES: [Profile; 3] = [
    Profile::new("1 Gbit/s, 1 ms", 1000, 1000, 1),
    Profile::new("100/20 Mbit/s, 20 ms", 100, 20, 20),
    Profile::new("50/10 Mbit/s, 50 ms", 50, 10, 50),
];

/// When packets that come at given times leave a line at the far end.
#[derive(Debug)]
struct Line {
    bits_per_s: u64,
    delay: Duration,
    free: Instant,
}

impl Line {
    /// When a packet that comes now arrives; none where the queue is full.
    fn admit(&mut self, now: Instant, payload: usize) -> Option<Instant> {
        let bytes = (payload + HEADERS) as u64;
        let start = self.free.max(now);
        let longest = QUEUE.max(self.sending(QUEUE_BYTES_MIN));
        if start - now > longest {
            return None;
        }
        self.free = start + self.sending(bytes);
        Some(self.free + self.delay)
    }

    fn sending(&self, bytes: u64) -> Duration {
        Duration::from_nanos(bytes * 8 * 1_000_000_000 / self.bits_per_s.max(1))
    }
}

/// A packet on its way.
struct Packet {
    due: Instant,
    from: Arc<UdpSocket>,
    /// None where the socket is connected.
    to: Option<SocketAddr>,
    payload: Vec<u8>,
}

/// One direction of the access line; one thread delivers in order.
struct Pipe {
    state: Mutex<(Line, VecDeque<Packet>)>,
    came: Condvar,
    packets: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicU64,
    too_large: AtomicU64,
}

impl Pipe {
    fn new(bits_per_s: u64, delay: Duration) -> Self {
        let line = Line {
            bits_per_s,
            delay,
            free: Instant::now(),
        };
        Self {
            state: Mutex::new((line, VecDeque::new())),
            came: Condvar::new(),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            too_large: AtomicU64::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, (Line, VecDeque<Packet>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a packet, or drops it.
    fn send(&self, from: &Arc<UdpSocket>, to: Option<SocketAddr>, payload: &[u8]) {
        if payload.len() > PAYLOAD_MAX {
            self.too_large.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut state = self.state();
        let Some(due) = state.0.admit(Instant::now(), payload.len()) else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        self.packets.fetch_add(1, Ordering::Relaxed);
        self.bytes
            .fetch_add(payload.len() as u64, Ordering::Relaxed);
        let idle = state.1.is_empty();
        state.1.push_back(Packet {
            due,
            from: Arc::clone(from),
            to,
            payload: payload.to_vec(),
        });
        if idle {
            self.came.notify_one();
        }
    }

    /// Delivers packets when they are due, until the link is no longer wanted.
    fn deliver(&self, open: &AtomicBool) {
        punctual();
        let mut state = self.state();
        while open.load(Ordering::Relaxed) {
            let now = Instant::now();
            let wait = state
                .1
                .front()
                .map_or(POLL, |p| p.due.saturating_duration_since(now));
            if !wait.is_zero() {
                let woken = self.came.wait_timeout(state, wait.min(POLL));
                state = woken.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let Some(p) = state.1.pop_front() else {
                continue;
            };
            drop(state);
            // What cannot be delivered is lost, as on any network.
            let _ = match p.to {
                Some(to) => p.from.send_to(&p.payload, to),
                None => p.from.send(&p.payload),
            };
            state = self.state();
        }
    }

    fn counts(&self) -> Value {
        let of = |c: &AtomicU64| c.load(Ordering::Relaxed);
        json!({
            "packets": of(&self.packets),
            "bytes": of(&self.bytes),
            "dropped": of(&self.dropped),
            "too_large": of(&self.too_large),
        })
    }
}

/// Lets this thread run when it should: the line is no part of the machines that share these cores.
/// Where the kernel refuses, packets are some 50 µs later, or later still on busy cores.
fn punctual() {
    let thread = fs::read_link("/proc/thread-self").unwrap_or_default();
    let Some(id) = thread.file_name() else { return };
    let slack = Path::new("/proc").join(id).join("timerslack_ns");
    let _ = fs::write(slack, "1");
    let _ = Command::new("renice")
        .args(["-n", "-10", "-p"])
        .arg(id)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// A client's access line; its threads end soon after it is dropped.
pub(crate) struct Access {
    up: Arc<Pipe>,
    down: Arc<Pipe>,
    open: Arc<AtomicBool>,
}

impl Access {
    /// A line of this kind, with no relay yet.
    pub(crate) fn new(profile: Profile) -> Self {
        let pipe = |rate| Arc::new(Pipe::new(rate, profile.rtt / 2));
        let access = Self {
            up: pipe(profile.up),
            down: pipe(profile.down),
            open: Arc::new(AtomicBool::new(true)),
        };
        for pipe in [&access.up, &access.down] {
            let (pipe, open) = (Arc::clone(pipe), Arc::clone(&access.open));
            thread::spawn(move || pipe.deliver(&open));
        }
        access
    }

    /// The address that stands for `target` at the client's end of the line.
    pub(crate) fn relay(&self, target: SocketAddr) -> Result<SocketAddr> {
        let relay = Relay {
            front: Arc::new(socket()?),
            target,
            up: Arc::clone(&self.up),
            down: Arc::clone(&self.down),
            open: Arc::clone(&self.open),
        };
        let address = relay.front.local_addr()?;
        thread::spawn(move || relay.run());
        Ok(address)
    }

    /// Packets, payload bytes and losses so far, per direction.
    pub(crate) fn counts(&self) -> Value {
        json!({"up": self.up.counts(), "down": self.down.counts()})
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        self.open.store(false, Ordering::Relaxed);
    }
}

/// Stands for one node.
struct Relay {
    front: Arc<UdpSocket>,
    target: SocketAddr,
    up: Arc<Pipe>,
    down: Arc<Pipe>,
    open: Arc<AtomicBool>,
}

impl Relay {
    /// Takes packets of clients; each client has a socket of its own towards the node.
    fn run(&self) {
        punctual();
        let mut clients: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
        let mut packet = vec![0; PACKET_BYTES_MAX];
        while self.open.load(Ordering::Relaxed) {
            let Ok((n, client)) = self.front.recv_from(&mut packet) else {
                continue;
            };
            if !clients.contains_key(&client) && clients.len() < CLIENTS_MAX {
                match self.answers(client) {
                    Ok(back) => clients.insert(client, back),
                    Err(_) => continue,
                };
            }
            if let Some(back) = clients.get(&client) {
                self.up.send(back, None, &packet[..n]);
            }
        }
    }

    /// A socket towards the node whose answers go to `client`.
    fn answers(&self, client: SocketAddr) -> Result<Arc<UdpSocket>> {
        let back = socket()?;
        back.connect(self.target)?;
        let back = Arc::new(back);
        let (from, front) = (Arc::clone(&back), Arc::clone(&self.front));
        let (down, open) = (Arc::clone(&self.down), Arc::clone(&self.open));
        thread::spawn(move || {
            punctual();
            let mut packet = vec![0; PACKET_BYTES_MAX];
            while open.load(Ordering::Relaxed) {
                if let Ok(n) = from.recv(&mut packet) {
                    down.send(&front, Some(client), &packet[..n]);
                }
            }
        });
        Ok(back)
    }
}

pub(crate) fn socket() -> Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).context("no UDP port is free")?;
    socket.set_read_timeout(Some(POLL))?;
    // The line's queue is the one that overflows, not the kernel's: as large as a node's own.
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test_profile() -> Profile {
        Profile::new("test", 8, 4, 20)
    }

    /// A node that answers a packet whose first byte is 1 with itself, and notes when others came.
    fn node() -> (SocketAddr, std::sync::mpsc::Receiver<Instant>) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        socket
            .set_read_timeout(Some(Duration::from_secs(2)))
            .expect("a timeout");
        let address = socket.local_addr().expect("an address");
        let (came, seen) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let mut packet = [0; 2048];
            while let Ok((n, client)) = socket.recv_from(&mut packet) {
                if packet[0] == 1 {
                    socket.send_to(&packet[..n], client).expect("an answer");
                } else if came.send(Instant::now()).is_err() {
                    return;
                }
            }
        });
        (address, seen)
    }

    #[test]
    fn a_line_sends_one_packet_after_the_other() {
        let now = Instant::now();
        let mut line = Line {
            bits_per_s: 8_000_000,
            delay: Duration::from_millis(10),
            free: now,
        };
        // 1000 bytes on the line take 1 ms.
        let ms = Duration::from_millis;
        assert_eq!(line.admit(now, 972), Some(now + ms(11)));
        assert_eq!(line.admit(now, 972), Some(now + ms(12)));
        // Idle again: nothing is saved up.
        assert_eq!(line.admit(now + ms(50), 972), Some(now + ms(61)));
        // 200 ms of packets wait at most; one is being sent.
        let later = now + ms(100);
        let admitted = (0..1000)
            .filter(|_| line.admit(later, 972).is_some())
            .count();
        assert_eq!(admitted, 201);
        assert!(line.admit(later + ms(1), 972).is_some(), "room again");
    }

    #[test]
    fn round_trips_take_what_is_set() {
        let (node, _seen) = node();
        let access = Access::new(test_profile());
        let relay = access.relay(node).expect("a relay");
        let client = socket().expect("a socket");
        client.connect(relay).expect("connected");
        let mut packet = [1; 100];
        let mut times: Vec<Duration> = (0..11)
            .map(|_| {
                let started = Instant::now();
                client.send(&packet).expect("sent");
                client.recv(&mut packet).expect("answered");
                started.elapsed()
            })
            .collect();
        times.sort();
        // 20 ms, and 128 bytes at 4 and at 8 Mbit/s.
        let set = Duration::from_micros(20_000 + 256 + 128);
        assert!(times[0] >= set, "faster than light: {times:?}");
        assert!(times[5] < set.mul_f64(1.5), "{times:?}");
        assert_eq!(access.counts()["down"]["packets"], 11);
    }

    #[test]
    fn throughput_is_what_is_set_for_all_relays_together() {
        let nodes = [node(), node()];
        let access = Access::new(test_profile());
        let client = socket().expect("a socket");
        // The line of 4 Mbit/s sends 500 bytes in a millisecond: 59 more packets take 118 ms.
        let relays = nodes
            .each_ref()
            .map(|n| access.relay(n.0).expect("a relay"));
        for i in 0..60 {
            client.send_to(&[0; 972], relays[i % 2]).expect("sent");
        }
        let wait = Duration::from_secs(2);
        let mut came: Vec<Instant> = Vec::new();
        for (_, seen) in &nodes {
            came.extend((0..30).map(|_| seen.recv_timeout(wait).expect("every packet comes")));
        }
        let first = *came.iter().min().expect("one");
        let took = *came.iter().max().expect("one") - first;
        let set = Duration::from_millis(59 * 2);
        assert!(took > set.mul_f64(0.95), "{took:?} is faster than {set:?}");
        assert!(took < set.mul_f64(1.5), "{took:?} is slower than {set:?}");
        assert_eq!(access.counts()["up"]["dropped"], 0);
    }

    #[test]
    fn a_full_queue_drops() {
        let (node, seen) = node();
        let access = Access::new(test_profile());
        let relay = access.relay(node).expect("a relay");
        let client = socket().expect("a socket");
        client.send_to(&[0; 1473], relay).expect("sent");
        // The queue holds 128 KiB, and a few leave meanwhile.
        for _ in 0..200 {
            client.send_to(&[0; 972], relay).expect("sent");
        }
        // The node's own socket is no part of the link; the line feeds it slowly.
        let came = std::iter::from_fn(|| seen.recv_timeout(Duration::from_millis(300)).ok());
        let came = came.count() as u64;
        let counts = access.counts();
        assert_eq!(counts["up"]["packets"], came);
        assert_eq!(counts["up"]["dropped"], 200 - came);
        assert_eq!(counts["up"]["too_large"], 1);
        assert!((130..=170).contains(&came), "{came}");
    }
}

//! Whether an emulated link is as set: round trips and throughput, measured through it.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::link::{Access, HEADERS, Profile, socket};
use crate::live::round;

/// Round trips of which the median counts.
const ROUND_TRIPS: usize = 21;
/// Payload of a packet that measures throughput.
const PAYLOAD: usize = 1200;
/// Packets that follow each other: at most what the relays' sockets hold.
const BURST: (u64, u64) = (20, 1000);
/// How long a burst lasts, in seconds, where that is within those bounds.
const BURST_SECONDS: f64 = 0.04;
const WAIT: Duration = Duration::from_secs(5);

/// First byte of a packet that is sent back, of one that is timed, of one that asks for a burst.
const ECHO: u8 = 1;
const TIMED: u8 = 2;
const ASK: u8 = 3;

/// Median round trip in milliseconds, and the rates of both directions in Mbit/s.
pub(crate) fn measure(access: &Access, profile: Profile) -> Result<Value> {
    let far = socket()?;
    let address = access.relay(far.local_addr()?)?;
    let down_packets = packets(profile.down);
    let (end, came) = mpsc::channel();
    // Ends with the first error of its socket, at last by time-out.
    thread::spawn(move || serve(&far, down_packets, &end));
    let near = socket()?;
    near.set_read_timeout(Some(WAIT))?;
    near.connect(address)?;

    let mut times = Vec::new();
    let mut packet = [ECHO; PAYLOAD];
    for _ in 0..ROUND_TRIPS {
        let started = Instant::now();
        near.send(&packet[..64])?;
        receive(&near, &mut packet)?;
        times.push(started.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);

    packet[0] = TIMED;
    let up_packets = packets(profile.up);
    for _ in 0..up_packets {
        near.send(&packet)?;
    }
    let up = rate(up_packets, || came_next(&came))?;
    packet[0] = ASK;
    near.send(&packet[..1])?;
    let down = rate(down_packets, || {
        receive(&near, &mut packet)?;
        Ok(Instant::now())
    })?;
    Ok(json!({
        "round_trip_ms": round(1000.0 * times[ROUND_TRIPS / 2]),
        "up_mbit_per_s": round(up),
        "down_mbit_per_s": round(down),
    }))
}

/// Waits for a packet, whatever else interrupts the wait.
fn receive(near: &UdpSocket, packet: &mut [u8]) -> Result<()> {
    loop {
        match near.recv(packet) {
            Ok(_) => return Ok(()),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e).context("a packet of the measurement was lost"),
        }
    }
}

fn packets(bits_per_s: u64) -> u64 {
    let bits = bits_per_s as f64 * BURST_SECONDS;
    let packets = bits / (8.0 * (PAYLOAD + HEADERS) as f64);
    (packets as u64).clamp(BURST.0, BURST.1)
}

/// Mbit/s of packets that come one after the other, the first of them not counted.
fn rate(packets: u64, mut next: impl FnMut() -> Result<Instant>) -> Result<f64> {
    let first = next()?;
    let mut last = first;
    for _ in 1..packets {
        last = next()?;
    }
    let bits = ((packets - 1) * 8 * (PAYLOAD + HEADERS) as u64) as f64;
    let seconds = (last - first).as_secs_f64();
    ensure!(seconds > 0.0, "packets came at once");
    Ok(bits / seconds / 1e6)
}

fn came_next(came: &Receiver<Instant>) -> Result<Instant> {
    came.recv_timeout(WAIT)
        .context("a packet of a burst was lost")
}

/// The far end.
fn serve(far: &UdpSocket, burst: u64, came: &mpsc::Sender<Instant>) {
    let mut packet = [0; PAYLOAD];
    let mut last = Instant::now();
    while last.elapsed() < WAIT {
        let Ok((n, from)) = far.recv_from(&mut packet) else {
            continue;
        };
        last = Instant::now();
        let sent = match packet[0] {
            ECHO => far.send_to(&packet[..n], from).is_ok(),
            TIMED => came.send(last).is_ok(),
            _ => (0..burst).all(|_| far.send_to(&packet, from).is_ok()),
        };
        if !sent {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::PROFILES;

    #[test]
    fn the_links_are_as_set() {
        for profile in &PROFILES[1..] {
            let access = Access::new(*profile);
            let seen = measure(&access, *profile).expect("a measurement");
            // Other tests on the same cores may make it slower, nothing much faster.
            let near = |key: &str, set: f64, (least, most): (f64, f64)| {
                let v = seen[key].as_f64().expect("a number") / set;
                assert!(v > least && v < most, "{key}: {seen}, set {set}");
            };
            near(
                "round_trip_ms",
                profile.rtt.as_secs_f64() * 1000.0,
                (1.0, 1.5),
            );
            near("up_mbit_per_s", profile.up as f64 / 1e6, (0.7, 1.1));
            near("down_mbit_per_s", profile.down as f64 / 1e6, (0.7, 1.1));
        }
    }
}

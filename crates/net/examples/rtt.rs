//! Round trip of one frame over QUIC on loopback, in µs: what a hop costs besides its arithmetic.
//!
//! `cargo run --release -p nesa-net --example rtt [PAYLOAD_BYTES [ROUNDS]]`
//!
//! Both ends run in this process on one thread each. A hop is half a round trip: one send, one
//! receive. CPU time covers both ends.

use std::time::{Duration, Instant};

use nesa_net::quic::Quic;
use nesa_net::{
    Connection, Frame, FrameReceiver, FrameSender, Identity, NetConfig, NetError, Transport,
    stream_kind,
};

/// One hidden state of SmolLM2-135M: 576 32-bit integers, and a small header.
const PAYLOAD_BYTES: usize = 2_336;

fn main() -> Result<(), NetError> {
    let mut args = std::env::args().skip(1).filter_map(|a| a.parse().ok());
    let payload = args.next().unwrap_or(PAYLOAD_BYTES);
    let rounds = args.next().unwrap_or(20_000);

    let (tell, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || -> Result<(), NetError> {
        runtime().block_on(async {
            let server = endpoint()?;
            let _ = tell.send(server.listen_address());
            let connection = server.accept().await?;
            connection.trust();
            let (mut tx, mut rx) = connection.accept_stream().await?.split();
            while let Some(frame) = rx.recv().await? {
                tx.send(frame).await?;
            }
            tx.finish().await?;
            connection.closed().await;
            Ok(())
        })
    });
    let Ok(address) = address.recv() else {
        return Err(NetError::Closed);
    };
    let (mut times, cpu) = runtime().block_on(async {
        let client = endpoint()?;
        let connection = client.connect(&address, None).await?;
        let mut stream = connection.open(stream_kind::SESSION).await?;
        let body = vec![7u8; payload];
        let mut times = Vec::with_capacity(rounds);
        let mut cpu = Duration::ZERO;
        for round in 0..rounds + rounds / 10 {
            if round == rounds / 10 {
                cpu = cpu_time();
            }
            let start = Instant::now();
            stream.send(Frame::new(1, body.clone())).await?;
            let back = stream.recv().await?;
            if round >= rounds / 10 {
                times.push(start.elapsed());
            }
            if back.is_none_or(|f| f.payload.len() != payload) {
                return Err(NetError::Unexpected {
                    what: "an echo of another size",
                });
            }
        }
        let cpu = cpu_time() - cpu;
        stream.sender.finish().await?;
        stream.recv().await?;
        client.close().await;
        Ok::<_, NetError>((times, cpu))
    })?;
    times.sort_unstable();
    let us = |d: Duration| d.as_nanos() as f64 / 1000.0;
    let at = |q: f64| us(times[((times.len() - 1) as f64 * q) as usize]);
    println!(
        "frame of {payload} bytes, {rounds} round trips: p10 {:.1}, p50 {:.1}, p90 {:.1}, p99 {:.1} µs; \
         per hop: p50 {:.1} µs of latency, {:.1} µs of CPU",
        at(0.1),
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.5) / 2.0,
        us(cpu) / rounds as f64 / 2.0
    );
    Ok(())
}

fn endpoint() -> Result<Quic, NetError> {
    let any = "127.0.0.1:0".parse()?;
    Quic::bind(Identity::generate()?, &any, NetConfig::local())
}

#[allow(
    clippy::expect_used,
    reason = "an example may stop where it cannot go on"
)]
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// User and system time of this process so far.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|t| t.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

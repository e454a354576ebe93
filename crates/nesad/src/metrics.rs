//! Counters as Prometheus text, over HTTP.

use std::fmt::Write;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::routing::get;
use nesa_net::{Clock, Transport};
use tokio::net::TcpListener;

use crate::node::Node;

/// Kind of a metric.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

fn head(out: &mut String, name: &str, kind: Kind, help: &str) {
    let kind = match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
    };
    let _ = writeln!(
        out,
        "# HELP nesad_{name} {help}\n# TYPE nesad_{name} {kind}"
    );
}

/// Name, kind, help and value of every metric without labels.
fn plain<T: Transport, C: Clock>(
    node: &Node<T, C>,
) -> [(&'static str, Kind, &'static str, f64); 12] {
    use Kind::{Counter, Gauge};
    let m = node.metrics();
    let config = node.config();
    let n = |v: u64| v as f64;
    let session_max = config.hop.session_bytes_max as f64;
    let deployments = node.deployed().len() as f64;
    [
        (
            "sessions_open",
            Gauge,
            "Sessions open now.",
            n(m.sessions_open),
        ),
        (
            "sessions_total",
            Counter,
            "Sessions opened.",
            n(m.sessions_total),
        ),
        (
            "refusals_total",
            Counter,
            "Requests refused.",
            n(m.refusals_total),
        ),
        (
            "rows_total",
            Counter,
            "Rows (positions) computed.",
            n(m.rows_total),
        ),
        (
            "batches_total",
            Counter,
            "Batches computed.",
            n(m.batches_total),
        ),
        (
            "compute_seconds_total",
            Counter,
            "Time spent computing, in seconds.",
            node.compute_s(),
        ),
        (
            "flights_waiting",
            Gauge,
            "Flights of rows that wait now.",
            n(m.flights_waiting),
        ),
        (
            "session_bytes",
            Gauge,
            "Caches and traces of sessions, in bytes.",
            n(m.session_bytes),
        ),
        (
            "session_bytes_max",
            Gauge,
            "Memory that sessions may take, in bytes.",
            session_max,
        ),
        (
            "deployments",
            Gauge,
            "Ranges of blocks that are served.",
            deployments,
        ),
        (
            "weight_bytes",
            Gauge,
            "Memory of served weights, estimated, in bytes.",
            n(node.memory_used()),
        ),
        (
            "weight_bytes_max",
            Gauge,
            "Memory that weights may take, in bytes.",
            n(config.memory_bytes),
        ),
    ]
}

/// The same of the sessions that share their inputs.
fn shares<T: Transport, C: Clock>(
    node: &Node<T, C>,
) -> [(&'static str, Kind, &'static str, f64); 4] {
    use Kind::{Counter, Gauge};
    let m = node.share_metrics();
    let n = |v: u64| v as f64;
    [
        (
            "share_sessions_open",
            Gauge,
            "Sessions of shares open now.",
            n(m.sessions_open),
        ),
        (
            "share_sessions_total",
            Counter,
            "Sessions of shares opened.",
            n(m.sessions_total),
        ),
        (
            "share_flights_total",
            Counter,
            "Flights of shares answered.",
            n(m.flights_total),
        ),
        (
            "share_rows_total",
            Counter,
            "Rows of shares answered, per product.",
            n(m.rows_total),
        ),
    ]
}

/// All counters of `node` in the Prometheus text format.
#[must_use]
pub fn render<T: Transport, C: Clock>(node: &Node<T, C>) -> String {
    let mut out = String::with_capacity(4096);
    let o = &mut out;
    for (name, kind, help, value) in plain(node).into_iter().chain(shares(node)) {
        head(o, name, kind, help);
        let _ = writeln!(o, "nesad_{name} {value}");
    }
    let traffic = node.transport().traffic();
    let help = "Payloads received, in bytes, by kind of stream.";
    head(o, "received_bytes_total", Kind::Counter, help);
    for (kind, received, _) in traffic.counts() {
        let _ = writeln!(
            o,
            "nesad_received_bytes_total{{stream=\"{kind}\"}} {received}"
        );
    }
    let help = "Payloads sent, in bytes, by kind of stream.";
    head(o, "sent_bytes_total", Kind::Counter, help);
    for (kind, _, sent) in traffic.counts() {
        let _ = writeln!(o, "nesad_sent_bytes_total{{stream=\"{kind}\"}} {sent}");
    }
    out
}

/// Answers `GET /metrics` on `listener` until the task is dropped.
///
/// # Errors
/// Those of the listener.
pub async fn serve<T: Transport, C: Clock>(
    node: Node<T, C>,
    listener: TcpListener,
) -> std::io::Result<()> {
    let text = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    let show = move |State(node): State<Node<T, C>>| async move { (text, render(&node)) };
    let app = Router::new().route("/metrics", get(show)).with_state(node);
    axum::serve(listener, app).await
}

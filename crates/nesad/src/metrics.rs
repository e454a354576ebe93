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

/// Appends one metric without labels.
fn metric(out: &mut String, name: &str, kind: Kind, help: &str, value: f64) {
    head(out, name, kind, help);
    let _ = writeln!(out, "nesad_{name} {value}");
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

/// All counters of `node` in the Prometheus text format.
#[must_use]
pub fn render<T: Transport, C: Clock>(node: &Node<T, C>) -> String {
    use Kind::{Counter, Gauge};
    let m = node.metrics();
    let mut out = String::with_capacity(4096);
    let o = &mut out;
    let count = |v: u64| v as f64;
    metric(
        o,
        "sessions_open",
        Gauge,
        "Sessions open now.",
        count(m.sessions_open),
    );
    metric(
        o,
        "sessions_total",
        Counter,
        "Sessions opened.",
        count(m.sessions_total),
    );
    metric(
        o,
        "refusals_total",
        Counter,
        "Requests refused.",
        count(m.refusals_total),
    );
    metric(
        o,
        "rows_total",
        Counter,
        "Rows (positions) computed.",
        count(m.rows_total),
    );
    metric(
        o,
        "batches_total",
        Counter,
        "Batches computed.",
        count(m.batches_total),
    );
    metric(
        o,
        "compute_seconds_total",
        Counter,
        "Time spent computing, in seconds.",
        node.compute_s(),
    );
    metric(
        o,
        "flights_waiting",
        Gauge,
        "Flights of rows that wait now.",
        count(m.flights_waiting),
    );
    let help = "Caches and traces of sessions, in bytes.";
    metric(o, "session_bytes", Gauge, help, count(m.session_bytes));
    let help = "Memory that sessions may take, in bytes.";
    metric(
        o,
        "session_bytes_max",
        Gauge,
        help,
        node.config().hop.session_bytes_max as f64,
    );
    let help = "Ranges of blocks that are served.";
    metric(o, "deployments", Gauge, help, node.deployed().len() as f64);
    let help = "Memory of served weights, estimated, in bytes.";
    metric(o, "weight_bytes", Gauge, help, count(node.memory_used()));
    let help = "Memory that weights may take, in bytes.";
    metric(
        o,
        "weight_bytes_max",
        Gauge,
        help,
        count(node.config().memory_bytes),
    );
    let traffic = node.transport().traffic();
    head(
        o,
        "received_bytes_total",
        Counter,
        "Payloads received, in bytes, by kind of stream.",
    );
    for (kind, received, _) in traffic.counts() {
        let _ = writeln!(
            o,
            "nesad_received_bytes_total{{stream=\"{kind}\"}} {received}"
        );
    }
    head(
        o,
        "sent_bytes_total",
        Counter,
        "Payloads sent, in bytes, by kind of stream.",
    );
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

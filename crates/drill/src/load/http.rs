//! HTTP with one connection that stays open.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Longest wait for an answer.
const WAIT: Duration = Duration::from_secs(60);
/// Most bytes of an answer.
const ANSWER_MAX: usize = 64 << 20;

/// Nodes close connections that are idle for long, or old: these are left before.
const IDLE_MAX: Duration = Duration::from_secs(5);
const AGE_MAX: Duration = Duration::from_secs(60);

/// A connection to a node.
pub(crate) struct Client {
    host: String,
    stream: BufReader<TcpStream>,
    since: Instant,
    used: Instant,
}

impl Client {
    /// Connects to the endpoint that a node prints.
    pub(crate) fn connect(url: &str) -> Result<Self> {
        let host = url.trim_start_matches("http://").trim_end_matches('/');
        let stream = TcpStream::connect(host).with_context(|| format!("{url} does not answer"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(WAIT))?;
        Ok(Self {
            host: host.to_owned(),
            stream: BufReader::new(stream),
            since: Instant::now(),
            used: Instant::now(),
        })
    }

    /// Posts JSON-RPC, one call or a batch.
    pub(crate) fn post(&mut self, body: &str) -> Result<Value> {
        let head = format!(
            "POST / HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        self.ask(&[head.as_bytes(), body.as_bytes()].concat())
    }

    /// Reads plain JSON.
    pub(crate) fn get(&mut self, path: &str) -> Result<Value> {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.host);
        self.ask(head.as_bytes())
    }

    fn ask(&mut self, request: &[u8]) -> Result<Value> {
        if self.used.elapsed() > IDLE_MAX || self.since.elapsed() > AGE_MAX {
            *self = Self::connect(&self.host)?;
        }
        self.stream.get_mut().write_all(request)?;
        let mut length = None;
        let mut line = String::new();
        loop {
            line.clear();
            let n = self.stream.read_line(&mut line)?;
            ensure!(n > 0, "the node closed the connection");
            let field = line.trim_end().to_ascii_lowercase();
            if let Some(value) = field.strip_prefix("content-length:") {
                length = Some(value.trim().parse::<usize>()?);
            }
            if field.is_empty() {
                break;
            }
        }
        let length = length.context("an answer without a length")?;
        ensure!(length <= ANSWER_MAX, "an answer of {length} bytes");
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        self.used = Instant::now();
        serde_json::from_slice(&body).with_context(|| {
            format!(
                "no JSON: {}",
                String::from_utf8_lossy(&body)
                    .chars()
                    .take(200)
                    .collect::<String>()
            )
        })
    }
}

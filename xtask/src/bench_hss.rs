//! What `hss` costs and gains: SmolLM2-135M over two nodes of different operators, (1, 2), against
//! `open` over the same nodes on the same cores, in turns.
//!
//! `cargo xtask bench hss [--json] [--pairs N] [--only speed,prefill,drafts,links,local,big]`
//!
//! Client and nodes share the machine's cores. `tokens_per_second` and `seconds_to_first_token` are
//! those that `nesa ask --json` prints; CPU time is that of its process. Slow links are the
//! emulator's of `link.rs`, one access line between the client and both nodes.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::link::{Access, PROFILES, Profile};
use crate::live::{self, MODEL, QUESTION, interval, round};
use crate::nodes::{self, Nodes, Ran};
use crate::{bench_hops, cargo, check_big, link_probe, root};

/// Pairs of answers, where not asked otherwise.
const PAIRS: usize = 6;
/// Tokens of one answer.
const TOKENS: usize = 128;
/// Tokens of the prompt that prefill is measured with.
const PROMPT: usize = 256;
/// Tokens of a short and of a long answer, whose difference is decoding alone.
const SHORT_LONG: (usize, usize) = (9, 73);
/// Tokens of an answer per link: without drafts a token takes 120 round trips.
const LINK_TOKENS: [usize; 3] = [64, 24, 16];
/// The same of the large model.
const BIG_SHORT_LONG: (usize, usize) = (4, 20);
/// Least speeds: tokens per second, its share of `open`, prefill's share of `open`.
const DECODE_MIN: f64 = 30.0;
const DECODE_RATIO_MIN: f64 = 0.2;
const PREFILL_RATIO_MIN: f64 = 0.1;
/// Least gain of drafts on text that quotes its prompt.
const DRAFTS_GAIN_MIN: f64 = 1.5;
/// Most of the client's CPU time that checks of answers take.
const FREIVALDS_MAX: f64 = 0.05;
/// Most CPU time of the client per token of the large model, over running it locally.
const BIG_CPU_RATIO_MAX: f64 = 0.3;
/// Rows of a decoding flight without drafts and as asked by default.
const PLAIN: &str = "1";
const DRAFTS: &str = "4";
/// A prompt that the answer repeats.
const QUOTED: &str = "Repeat the following text exactly, word for word, and nothing else: The lighthouse \
    keeper climbed the stone stairs every evening before sunset, carrying a lamp, a loaf of bread and a \
    small book of sea charts. From the top he could see the harbour, the fishing boats, the long line of \
    the reef and, on clear days, the white cliffs of the opposite shore. He wrote down the wind, the \
    height of the waves and the names of all the ships that passed.";

/// A shorter one for slow links: a prompt's bytes take most of the time there.
const LINK_QUOTED: &str = "Repeat the following text exactly, word for word, and nothing else: The lighthouse \
    keeper climbed the stone stairs every evening before sunset, carrying a lamp, a loaf of bread and a \
    small book of sea charts.";

/// The parts of the bench.
const PARTS: [&str; 6] = ["speed", "prefill", "drafts", "links", "local", "big"];

struct Options {
    json: bool,
    pairs: usize,
    parts: Vec<String>,
}

impl Options {
    fn parse(args: &[&str]) -> Result<Self> {
        let mut options = Self {
            json: false,
            pairs: PAIRS,
            parts: PARTS.map(str::to_owned).to_vec(),
        };
        let mut args = args.iter();
        while let Some(&arg) = args.next() {
            if arg == "--json" {
                options.json = true;
                continue;
            }
            let value = args
                .next()
                .with_context(|| format!("{arg} needs a value"))?;
            match arg {
                "--pairs" => options.pairs = value.parse().context("--pairs is a number")?,
                "--only" => options.parts = value.split(',').map(str::to_owned).collect(),
                _ => bail!("unknown option {arg}; known: --json --pairs --only"),
            }
        }
        let known = |p: &String| PARTS.contains(&p.as_str());
        ensure!(
            options.parts.iter().all(known),
            "parts are {}",
            PARTS.join(",")
        );
        ensure!(options.pairs >= 2, "an interval needs at least 2 pairs");
        Ok(options)
    }
}

/// Runs `bench hss`.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let options = Options::parse(args)?;
    let home = live::home("hss")?;
    let nodes = Nodes::start(&home.join("bench-hss"), 2)?;
    let client = Client::new(&home, MODEL, &nodes.network("direct", None)?);
    // The first calls load, deploy and make the check keys.
    for tier in [Tier::Open, Tier::Hss(PLAIN)] {
        client.ask(tier, QUESTION, 4)?;
    }
    let mut value = serde_json::Map::new();
    let mut ok = true;
    for part in &options.parts {
        let done = match part.as_str() {
            "speed" => speed(&client, &nodes, options.pairs),
            "prefill" => prefill(&client, options.pairs),
            "drafts" => drafts(&client, options.pairs),
            "links" => links(&client, &nodes),
            "local" => local(&client),
            _ => big(),
        };
        // One that fails is told; the others are measured all the same.
        let (figures, holds) = done.unwrap_or_else(|e| (json!({"failed": e.to_string()}), false));
        ok &= holds;
        eprintln!("{part}: {figures}");
        value.insert(part.clone(), figures);
    }
    live::report(
        options.json,
        "hss over two nodes, (1, 2)",
        ok,
        &Value::Object(value),
    )
}

/// Who sees what, and how many rows a decoding flight of `hss` has.
#[derive(Clone, Copy)]
enum Tier {
    Open,
    Hss(&'static str),
}

/// `nesa ask` over nodes that run already.
struct Client<'a> {
    home: &'a Path,
    model: &'a str,
    network: String,
}

impl<'a> Client<'a> {
    fn new(home: &'a Path, model: &'a str, network: &Path) -> Self {
        Self {
            home,
            model,
            network: network.display().to_string(),
        }
    }

    /// Asks for exactly up to `tokens` tokens, greedily.
    fn ask(&self, tier: Tier, question: &str, tokens: usize) -> Result<Ran> {
        let (name, rows) = match tier {
            Tier::Open => ("open", PLAIN),
            Tier::Hss(rows) => ("hss", rows),
        };
        let tokens = tokens.to_string();
        let what = [
            "ask",
            "--json",
            "--quiet",
            "--model",
            self.model,
            "--privacy",
            name,
        ];
        let how = [
            "--drafts",
            rows,
            "--network",
            &self.network,
            "--assurance",
            "receipt",
        ];
        let end = ["--max-tokens", &tokens, question];
        let ran = nodes::nesa(self.home, &[&what[..], &how, &end].concat())?;
        ensure!(
            ran.value["privacy"] == name,
            "another tier answered: {}",
            ran.value
        );
        Ok(ran)
    }

    /// CPU seconds of this client per decoded token.
    fn cpu_per_token(&self, tier: Tier, (short, long): (usize, usize)) -> Result<f64> {
        let a = self.ask(tier, QUESTION, short)?;
        let b = self.ask(tier, QUESTION, long)?;
        ensure!(
            tokens(&b)? - tokens(&a)? == (long - short) as f64,
            "an answer ended early"
        );
        Ok((b.cpu_s - a.cpu_s) / (long - short) as f64)
    }
}

fn tokens(ran: &Ran) -> Result<f64> {
    ran.number(&["tokens"])
}

fn rate(ran: &Ran) -> Result<f64> {
    ran.number(&["tokens_per_second"])
}

fn first(ran: &Ran) -> Result<f64> {
    ran.number(&["seconds_to_first_token"])
}

fn alike(a: &Ran, b: &Ran) -> Result<()> {
    ensure!(
        a.value["token_ids"] == b.value["token_ids"],
        "the answers differ: {} {}",
        a.value["text"],
        b.value["text"]
    );
    Ok(())
}

/// Answers of two kinds in turns; which one is first changes.
fn in_turns(
    pairs: usize,
    a: impl Fn() -> Result<Ran>,
    b: impl Fn() -> Result<Ran>,
) -> Result<Vec<(Ran, Ran)>> {
    (0..pairs)
        .map(|i| {
            let pair = if i % 2 == 0 {
                let first = a()?;
                (first, b()?)
            } else {
                let first = b()?;
                (a()?, first)
            };
            alike(&pair.0, &pair.1)?;
            Ok(pair)
        })
        .collect()
}

/// Mean and interval of the second's figure over the first's, and both means.
fn compare(pairs: &[(Ran, Ran)], figure: fn(&Ran) -> Result<f64>) -> Result<Compared> {
    let mut all = Vec::new();
    for (a, b) in pairs {
        all.push((figure(a)?, figure(b)?));
    }
    let ratios: Vec<f64> = all.iter().map(|(a, b)| b / a).collect();
    let (ratio, half) = interval(&ratios);
    let n = all.len() as f64;
    Ok(Compared {
        first: all.iter().map(|p| p.0).sum::<f64>() / n,
        second: all.iter().map(|p| p.1).sum::<f64>() / n,
        ratio,
        half,
    })
}

struct Compared {
    first: f64,
    second: f64,
    ratio: f64,
    half: f64,
}

impl Compared {
    fn interval(&self) -> Value {
        json!([round(self.ratio - self.half), round(self.ratio + self.half)])
    }
}

/// Decoding against `open`; bytes and rounds against the formula; what checks cost.
fn speed(client: &Client<'_>, nodes: &Nodes, pairs: usize) -> Result<(Value, bool)> {
    let cpu = nodes.cpu()?;
    let runs = in_turns(
        pairs,
        || client.ask(Tier::Open, QUESTION, TOKENS),
        || client.ask(Tier::Hss(PLAIN), QUESTION, TOKENS),
    )?;
    let decode = compare(&runs, rate)?;
    let last = &runs.last().context("no pairs")?.1;
    let checks = round(last.number(&["hss", "check_share_of_client_cpu"])?);
    let (traffic, exact) = traffic(client)?;
    let ok = decode.second >= DECODE_MIN
        && decode.ratio >= DECODE_RATIO_MIN
        && checks <= FREIVALDS_MAX
        && exact;
    let value = json!({
        "pairs": pairs,
        "tokens": TOKENS,
        "open_tokens_per_second": round(decode.first),
        "hss_tokens_per_second": round(decode.second),
        "required_tokens_per_second": DECODE_MIN,
        "ratio": round(decode.ratio),
        "ratio_interval_95": decode.interval(),
        "required_ratio": DECODE_RATIO_MIN,
        "nodes_cpu_seconds": round(nodes.cpu()? - cpu),
        "freivalds_share_of_client_cpu": checks,
        "required_freivalds_share": FREIVALDS_MAX,
        "traffic": traffic,
    });
    Ok((value, ok))
}

/// Bytes and rounds of one step as counted, from two answers of different lengths, and as the
/// model's shape says; whether they are equal.
fn traffic(client: &Client<'_>) -> Result<(Value, bool)> {
    let (short, long) = SHORT_LONG;
    let a = client.ask(Tier::Hss(PLAIN), QUESTION, short)?;
    let b = client.ask(Tier::Hss(PLAIN), QUESTION, long)?;
    let grown = |path: &[&str]| -> Result<f64> { Ok(b.number(path)? - a.number(path)?) };
    let steps = grown(&["hss", "steps", "all"])?;
    let mut value = json!({"steps": steps});
    let mut equal = steps > 0.0;
    let formula = step_formula();
    for (name, expected) in [
        ("flights", formula.0),
        ("bytes_up", formula.1),
        ("bytes_down", formula.2),
    ] {
        let counted = grown(&["hss", name])? / steps;
        equal &= counted == expected as f64;
        value[format!("{name}_per_step")] = json!(counted);
        value[format!("{name}_per_step_formula")] = json!(expected);
    }
    for name in ["rounds_per_token", "bytes_per_token"] {
        value[name] = json!(round(b.number(&["hss", name])?));
    }
    value["equal"] = json!(equal);
    Ok((value, equal))
}

/// Rounds, bytes up and bytes down of one row through SmolLM2-135M at (1, 2): four products per layer,
/// each a seed to one holder and values to the other, and two answers. Inputs of the last product
/// are cut into two limbs.
fn step_formula() -> (u64, u64, u64) {
    // Bytes around a share, a seed, a list of values, an answer with its signature.
    const FLIGHT: u64 = 5 + 17;
    const SEED: u64 = 1 + 32;
    const VALUES: u64 = 1 + 4;
    const ANSWER: u64 = 5 + 8 + 64 + 4;
    // Limbs, inputs and outputs of q·k·v, output, gate·up, down.
    const PRODUCTS: [[u64; 3]; 4] = [[1, 576, 960], [1, 576, 576], [1, 576, 3072], [2, 1536, 576]];
    const LAYERS: u64 = 30;
    let up = PRODUCTS.map(|[limbs, inputs, _]| 2 * FLIGHT + SEED + VALUES + 4 * limbs * inputs);
    let down = PRODUCTS.map(|[limbs, _, outputs]| 2 * (ANSWER + 4 * limbs * outputs));
    let all = |bytes: [u64; 4]| LAYERS * bytes.iter().sum::<u64>();
    (4 * LAYERS, all(up), all(down))
}

/// A prompt of exactly `PROMPT` tokens.
fn prompt(client: &Client<'_>) -> Result<String> {
    let text = |words: usize| format!("Go on with this list:{}", " sea".repeat(words));
    let mut words = PROMPT / 2;
    for _ in 0..3 {
        let has = client
            .ask(Tier::Open, &text(words), 1)?
            .number(&["prompt_tokens"])?;
        if has as usize == PROMPT {
            return Ok(text(words));
        }
        words = (words + PROMPT).saturating_sub(has as usize);
    }
    bail!("no prompt of {PROMPT} tokens was found")
}

fn prefill(client: &Client<'_>, pairs: usize) -> Result<(Value, bool)> {
    let prompt = prompt(client)?;
    let runs = in_turns(
        pairs,
        || client.ask(Tier::Open, &prompt, 1),
        || client.ask(Tier::Hss(PLAIN), &prompt, 1),
    )?;
    let rates = compare(&runs, |r| Ok(PROMPT as f64 / first(r)?))?;
    let value = json!({
        "prompt_tokens": PROMPT,
        "open_tokens_per_second": round(rates.first),
        "hss_tokens_per_second": round(rates.second),
        "ratio": round(rates.ratio),
        "ratio_interval_95": rates.interval(),
        "required_ratio": PREFILL_RATIO_MIN,
    });
    Ok((value, rates.ratio >= PREFILL_RATIO_MIN))
}

/// Drafts on loopback, on text that quotes its prompt and on text that does not.
fn drafts(client: &Client<'_>, pairs: usize) -> Result<(Value, bool)> {
    let mut value = json!({"rows": DRAFTS});
    for (name, question) in [("quoting", QUOTED), ("other", QUESTION)] {
        let runs = in_turns(
            pairs,
            || client.ask(Tier::Hss(PLAIN), question, TOKENS),
            || client.ask(Tier::Hss(DRAFTS), question, TOKENS),
        )?;
        let rates = compare(&runs, rate)?;
        value[name] = json!({
            "off_tokens_per_second": round(rates.first),
            "on_tokens_per_second": round(rates.second),
            "gain": round(rates.ratio),
            "gain_interval_95": rates.interval(),
        });
    }
    Ok((value, true))
}

/// Each link with and without drafts, on text that quotes its prompt.
fn links(client: &Client<'_>, nodes: &Nodes) -> Result<(Value, bool)> {
    let (mut all, mut ok) = (Vec::new(), true);
    for (profile, n) in PROFILES.iter().zip(LINK_TOKENS) {
        // One that fails is told; the others are measured all the same.
        let (value, holds) = match link(client, nodes, *profile, n) {
            Ok(done) => done,
            Err(e) => (
                json!({"link": profile.name, "failed": e.to_string()}),
                false,
            ),
        };
        eprintln!("link: {value}");
        ok &= holds;
        all.push(value);
    }
    let value = json!({
        "emulated": "in user space: one access line for both nodes, a queue of 200 ms per direction; \
            the time is the round trip's, half of it each way",
        "links": all,
    });
    Ok((value, ok))
}

fn link(client: &Client<'_>, nodes: &Nodes, profile: Profile, n: usize) -> Result<(Value, bool)> {
    let access = Access::new(profile);
    let measured = link_probe::measure(&access, profile)?;
    let network = nodes.network("slow", Some(&access))?;
    let behind = Client::new(client.home, client.model, &network);
    let ask = |rows| -> Result<(Ran, Value)> {
        let before = access.counts();
        let ran = behind.ask(Tier::Hss(rows), LINK_QUOTED, n)?;
        let told = json!({
            "tokens_per_second": round(rate(&ran)?),
            "seconds_to_first_token": round(first(&ran)?),
            "prompt_rows": ran.value["hss"]["prompt_rows"],
            "line_before": before,
            "line_after": access.counts(),
        });
        Ok((ran, told))
    };
    let (off, off_told) = ask(PLAIN)?;
    let (on, on_told) = ask(DRAFTS)?;
    alike(&off, &on)?;
    let gain = rate(&on)? / rate(&off)?;
    let value = json!({
        "link": profile.name,
        "measured": measured,
        "tokens": n,
        "without_drafts": off_told,
        "with_drafts": on_told,
        "drafts_gain": round(gain),
        "required_gain": DRAFTS_GAIN_MIN,
    });
    Ok((value, gain >= DRAFTS_GAIN_MIN))
}

/// What a token costs the client here, over running the model itself.
fn local(client: &Client<'_>) -> Result<(Value, bool)> {
    bench_program()?;
    let parts = bench_hops::parts(client.home, client.model)?;
    let (mut here, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        here.push(client.cpu_per_token(Tier::Hss(PLAIN), SHORT_LONG)?);
        alone.push(local_cpu_per_token(&parts)?);
    }
    Ok((cpu_ratio(&here, &alone), true))
}

/// The same for a model of 1.1 B random parameters.
fn big() -> Result<(Value, bool)> {
    bench_program()?;
    let work = root().join("target/big");
    let home = work.join("home");
    check_big::import(&work, &home)?;
    let nodes = Nodes::start(&work.join("bench-hss"), 2)?;
    let client = Client::new(&home, check_big::MODEL, &nodes.network("direct", None)?);
    client.ask(Tier::Hss(PLAIN), QUESTION, 2)?;
    let mut here = Vec::new();
    for _ in 0..2 {
        here.push(client.cpu_per_token(Tier::Hss(PLAIN), BIG_SHORT_LONG)?);
    }
    let asked = client.ask(Tier::Hss(PLAIN), QUESTION, BIG_SHORT_LONG.1)?;
    drop(nodes);
    let parts = bench_hops::parts(&home, check_big::MODEL)?;
    let alone = [local_cpu_per_token(&parts)?, local_cpu_per_token(&parts)?];
    let mut value = cpu_ratio(&here, &alone);
    value["hss_tokens_per_second"] = json!(rate(&asked)?);
    value["required_ratio"] = json!(BIG_CPU_RATIO_MAX);
    let ok = value["ratio"]
        .as_f64()
        .is_some_and(|r| r <= BIG_CPU_RATIO_MAX);
    Ok((value, ok))
}

fn cpu_ratio(here: &[f64], alone: &[f64]) -> Value {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    json!({
        "client_cpu_ms_per_token": round(1000.0 * mean(here)),
        "local_cpu_ms_per_token": round(1000.0 * mean(alone)),
        "ratio": round(mean(here) / mean(alone)),
    })
}

fn bench_program() -> Result<()> {
    cargo(&[
        "build",
        "--quiet",
        "--release",
        "--locked",
        "-p",
        "nesa-bench",
    ])
}

/// CPU seconds per decoded token of the whole model in one process on one thread.
fn local_cpu_per_token(parts: &Path) -> Result<f64> {
    let mut engine = bench_hops::Engine::start(parts, PROMPT / 4)?;
    engine.decode_cost()?;
    Ok(engine.decode_cost()?.cpu_ms / 1000.0)
}

//! Computes the same answers in every way that must not matter and compares all bits.

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use nesa_checkpoint::Message;
use nesa_client::Request;
use nesa_e2e::identity::{Case, compare, pairs, product};
use nesa_e2e::{Model, Result};
use nesa_model::{Sampling, testing};
use nesa_privacy::DeploymentKey;
use nesa_storage::Home;

/// Compare bits over nodes, SIMD levels, threads, batches and chunks.
#[derive(Parser)]
struct Options {
    /// A model of the home, or `random`
    #[arg(long, default_value = "random")]
    model: String,
    /// The home
    #[arg(long, env = "NESA_HOME")]
    home: Option<PathBuf>,
    /// Every pair of factors instead of the full product
    #[arg(long)]
    pairs: bool,
    /// Prompts
    #[arg(long, default_value_t = 10)]
    prompts: usize,
    /// Seeds per prompt
    #[arg(long, default_value_t = 5)]
    seeds: u64,
    /// Tokens per answer
    #[arg(long, default_value_t = 8)]
    max_tokens: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const PROMPTS: [&str; 10] = [
    "Why is the sky blue?",
    "One two three four five six seven eight nine ten, and so on until the evening came and the \
     children went home through the snow, singing of the ship that sailed around the cape and \
     never came back, though the lamp burned in the window all through the winter and the long \
     wet spring, and the old man counted the days on the wall with a piece of chalk.",
    "Once upon a time",
    "Write a short poem about rivers.",
    "2 + 2 =",
    "The queen said to the king that the kingdom would not last another year, since the granaries \
     were empty and the wells were dry; and the king, who had not been listening, asked for wine.",
    "Was ist das?",
    "Name three fruits.",
    "Translate to French: the house is red and the garden is green.",
    "a",
];

fn main() -> std::process::ExitCode {
    match run(&Options::parse()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn load(options: &Options) -> Result<Model> {
    if options.model == "random" {
        let mut shape = testing::shapes().swap_remove(0);
        (shape.layers, shape.context, shape.vocab) = (6, 512, 1000);
        return Model::random(&shape, 1);
    }
    let root = (options.home.clone()).unwrap_or_else(|| PathBuf::from(".nesa"));
    Model::open(&Home::open(&root)?.model(&options.model)?)
}

fn questions(options: &Options, model: &Model) -> Result<Vec<Request>> {
    let mut all = Vec::new();
    for text in PROMPTS.iter().cycle().take(options.prompts) {
        let message = Message::new("user", *text);
        let mut prompt = model.client().prompt(&[message])?;
        // A small context takes the beginning of a long prompt.
        let room = model.client().manifest.shape.context;
        prompt.truncate(room.saturating_sub(options.max_tokens).max(1));
        all.extend((0..options.seeds).map(|seed| Request {
            prompt: prompt.clone(),
            sampling: Sampling {
                temperature_milli: 700,
                seed,
                ..Sampling::default()
            },
            max_tokens: options.max_tokens,
            chunk: 64,
        }));
    }
    Ok(all)
}

fn run(options: &Options) -> Result<()> {
    let started = Instant::now();
    let model = load(options)?;
    let layers = model.client().manifest.shape.layers;
    let cases = if options.pairs {
        pairs(layers)
    } else {
        product(layers)
    };
    let questions = questions(options, &model)?;
    let key = DeploymentKey::generate([7; 32]);
    let mut each =
        |case: &Case| eprintln!("{:7.1} s  equal: {case:?}", started.elapsed().as_secs_f64());
    let (report, _) = compare(&model, &key, &cases, &questions, &mut each)?;
    if options.json {
        let value = serde_json::json!({
            "model": options.model, "layers": layers, "cases": report.cases,
            "questions": report.questions, "answers": report.answers,
            "positions": report.positions, "digest": report.digest.to_string(), "equal": true,
        });
        println!("{value}");
    } else {
        println!(
            "{}: {} cases x {} questions = {} answers, {} positions: all bits equal, digest {}",
            options.model,
            report.cases,
            report.questions,
            report.answers,
            report.positions,
            report.digest
        );
    }
    Ok(())
}

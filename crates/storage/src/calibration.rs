//! The text on which a checkpoint is calibrated: part of the program, equal on every machine.

use nesa_checkpoint::{Arch, Checkpoint, Message, Tokenizer};

use crate::Result;

/// Prose, dialogue, numbers, lists, code and a few other languages.
pub const CALIBRATION_TEXT: &str = include_str!("calibration.txt");

/// Tokens of the text that are used, at most; more would hardly widen the ranges.
pub const CALIBRATION_TOKENS: usize = 1536;

/// Tokens of one sequence.
const SEQUENCE: usize = 256;

/// Questions that are put through the chat template.
const PROMPTS: [(&str, &str); 3] = [
    (
        "Why is the sky blue?",
        "Air scatters short waves of light more than long ones.",
    ),
    (
        "Write a haiku about rain.",
        "Rain taps on the roof,\nthe cat turns once and sleeps on,\nMonday can wait.",
    ),
    ("What is 17 * 23? Answer with the number only.", "391"),
];

/// The calibration sequences (token ids) for a checkpoint, each within its context.
///
/// # Errors
/// What the tokenizer refuses.
pub fn calibration(checkpoint: &Checkpoint, tokenizer: &Tokenizer) -> Result<Vec<Vec<u32>>> {
    let config = &checkpoint.config;
    let len = SEQUENCE.min(config.context);
    let mut budget = CALIBRATION_TOKENS;
    let mut sequences = Vec::new();
    if config.arch == Arch::Bert {
        // Encoders see documents with their own marks around them.
        for paragraph in CALIBRATION_TEXT
            .split("\n\n")
            .filter(|p| !p.trim().is_empty())
        {
            let ids = tokenizer.encode_document(paragraph, len)?;
            budget = budget.saturating_sub(ids.len());
            sequences.push(ids);
            if budget == 0 {
                break;
            }
        }
        return Ok(sequences);
    }
    for prompt in prompts(checkpoint, tokenizer, len) {
        budget = budget.saturating_sub(prompt.len());
        sequences.push(prompt);
    }
    let ids = tokenizer.encode(CALIBRATION_TEXT, false)?;
    let bos = config.bos_id.filter(|_| config.add_bos);
    let text = &ids[..ids.len().min(budget)];
    for chunk in text.chunks((len - usize::from(bos.is_some())).max(1)) {
        sequences.push(bos.into_iter().chain(chunk.iter().copied()).collect());
    }
    Ok(sequences)
}

/// Short conversations in the model's own format; none where its template refuses them.
fn prompts(checkpoint: &Checkpoint, tokenizer: &Tokenizer, len: usize) -> Vec<Vec<u32>> {
    if checkpoint.chat_template().is_none() {
        return Vec::new();
    }
    let Ok(chat) = checkpoint.chat() else {
        return Vec::new();
    };
    let render = |&(question, answer): &(&str, &str)| {
        let messages = [
            Message::new("user", question),
            Message::new("assistant", answer),
        ];
        let segments = chat.render_segments(&messages, false).ok()?;
        let mut ids = tokenizer.encode_segments(&segments).ok()?;
        ids.truncate(len);
        Some(ids)
    };
    PROMPTS.iter().filter_map(render).collect()
}

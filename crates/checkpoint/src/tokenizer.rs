//! Text to token ids and back, from a `tokenizer.json`.
//!
//! Two copies of the tokenizer are kept: one in which the spelling of a control token is that
//! token, and one in which it is only text. Whatever a user typed goes through the second.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;
use tokenizers::Tokenizer as Inner;

use crate::chat::Segment;
use crate::decode_stream::DecodeStream;
use crate::error::{Error, Result};
use crate::json;
use crate::limits;

/// Bytes of one text to encode.
const TEXT_BYTES_MAX: usize = 16 << 20;

/// A model's tokenizer; equal JSON gives equal ids on every machine.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    control: Inner,
    plain: Inner,
    /// Sorted ids that plain text must never produce.
    special_ids: Vec<u32>,
    eos_ids: Vec<u32>,
}

impl Tokenizer {
    /// From a `tokenizer.json` text; generation ends at `eos_ids`.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] or [`Error::Malformed`] on any text that is not a usable tokenizer.
    pub fn from_json(text: &str, eos_ids: &[u32]) -> Result<Self> {
        let mut value = canonical_value("tokenizer.json", text)?;
        mark_special(&mut value, eos_ids);
        let text = json::canonical(&value);
        let build = || text.parse::<Inner>().map_err(|e| e.to_string());
        let control = guard(build)?;
        let (mut special_ids, unknown) = special_ids(&value, &control, eos_ids);
        special_ids.sort_unstable();
        special_ids.dedup();
        special_ids.retain(|id| Some(*id) != unknown);
        let mut plain = control.clone();
        plain.set_encode_special_tokens(true);
        Ok(Self {
            control,
            plain,
            special_ids,
            eos_ids: eos_ids.to_vec(),
        })
    }

    /// Ids of `text`, without any tokens that a post-processor would add.
    ///
    /// With `allow_special`, the spelling of a control token becomes that token; without, the
    /// result never contains one.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when the text is too long or cannot be encoded.
    pub fn encode(&self, text: &str, allow_special: bool) -> Result<Vec<u32>> {
        let inner = if allow_special {
            &self.control
        } else {
            &self.plain
        };
        let ids = run(inner, text, false)?.get_ids().to_vec();
        match ids
            .iter()
            .find(|&&id| !allow_special && self.is_special(id))
        {
            Some(id) => Err(Error::Tokenizer(format!(
                "plain text produced control token {id}"
            ))),
            None => Ok(ids),
        }
    }

    /// Ids of a document for an encoder: the tokens that the tokenizer itself adds around a text
    /// (`[CLS]`, `[SEP]`) are added, and the text is cut so that at most `max_len` ids result.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`]; also when `max_len` leaves no room for text.
    pub fn encode_document(&self, text: &str, max_len: usize) -> Result<Vec<u32>> {
        let empty = run(&self.plain, "", true)?.get_ids().to_vec();
        let mut ids = run(&self.plain, text, true)?.get_ids().to_vec();
        if empty.len() >= max_len {
            return Err(Error::Tokenizer(format!(
                "{max_len} positions leave no room for text"
            )));
        }
        if ids.len() > max_len {
            let all = self.encode(text, false)?;
            let before = ids
                .windows(all.len())
                .position(|window| window == all)
                .unwrap_or(0);
            let after = ids.len().saturating_sub(before + all.len());
            let keep = max_len.saturating_sub(before + after);
            ids.drain(before + keep..before + all.len());
        }
        Ok(ids)
    }

    /// Ids of a rendered prompt: control tokens in the template's parts count, in messages not.
    ///
    /// Where no message spells a control token this equals encoding the whole text at once.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_segments(&self, segments: &[Segment]) -> Result<Vec<u32>> {
        if let Some(ids) = self.encode_whole(segments)? {
            return Ok(ids);
        }
        let mut ids = Vec::new();
        for segment in segments {
            ids.extend(match segment {
                Segment::Template(text) => self.encode(text, true)?,
                Segment::Content(text) => self.encode(text, false)?,
            });
        }
        Ok(ids)
    }

    /// The ids of all segments as one text, if its control tokens are exactly the template's.
    fn encode_whole(&self, segments: &[Segment]) -> Result<Option<Vec<u32>>> {
        let whole: String = segments.iter().map(Segment::text).collect();
        let encoding = run(&self.control, &whole, false)?;
        let mut expected = Vec::new();
        let mut ranges = Vec::new();
        let mut start = 0;
        for segment in segments {
            let end = start + segment.text().len();
            if let Segment::Template(text) = segment {
                let ids = self.encode(text, true)?;
                expected.extend(ids.into_iter().filter(|&id| self.is_special(id)));
                ranges.push(start..end);
            }
            start = end;
        }
        let mut found = Vec::new();
        for (&id, &(from, to)) in encoding.get_ids().iter().zip(encoding.get_offsets()) {
            if self.is_special(id) {
                let inside =
                    |range: &std::ops::Range<usize>| range.start <= from && to <= range.end;
                if !ranges.iter().any(inside) {
                    return Ok(None);
                }
                found.push(id);
            }
        }
        Ok((found == expected).then(|| encoding.get_ids().to_vec()))
    }

    /// The text of `ids`; control tokens are left out when `skip_special`.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when an id cannot be decoded.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        guard(|| {
            self.control
                .decode(ids, skip_special)
                .map_err(|e| e.to_string())
        })
    }

    /// A decoder that takes one id at a time and gives out whole characters only.
    pub fn decode_stream(&self, skip_special: bool) -> DecodeStream<'_> {
        DecodeStream::new(self, skip_special)
    }

    /// Number of ids, control tokens included.
    pub fn vocab_size(&self) -> usize {
        self.control.get_vocab_size(true)
    }

    /// The id spelled exactly `token`.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.control.token_to_id(token)
    }

    /// The spelling of `id` in the vocabulary.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.control.id_to_token(id)
    }

    /// Whether `id` ends a generation.
    pub fn is_eos(&self, id: u32) -> bool {
        self.eos_ids.contains(&id)
    }

    /// Whether `id` is a control token.
    pub fn is_special(&self, id: u32) -> bool {
        self.special_ids.binary_search(&id).is_ok()
    }
}

/// The tokenizer as canonical JSON: what may vary without changing ids (spacing, key order) or
/// must not be set (padding, truncation, random merge dropout) is gone.
pub(crate) fn canonical_json(file: &str, text: &str) -> Result<String> {
    Ok(json::canonical(&canonical_value(file, text)?))
}

fn canonical_value(file: &str, text: &str) -> Result<Value> {
    Error::limit(
        file,
        "size in bytes",
        text.len() as u64,
        limits::JSON_BYTES_MAX,
    )?;
    let mut value = json::parse(file, text)?;
    let kind = value["model"]["type"].as_str().unwrap_or_else(|| {
        let bpe = value["model"].get("merges").is_some();
        if bpe { "BPE" } else { "" }
    });
    if !matches!(kind, "BPE" | "WordPiece") {
        let what = format!("tokenizer model {kind:?} is not supported; BPE and WordPiece are");
        return Err(Error::unsupported(file, what));
    }
    if let Some(map) = value.as_object_mut() {
        map.insert("padding".into(), Value::Null);
        map.insert("truncation".into(), Value::Null);
    }
    if kind_is_bpe(&value) {
        value["model"]["dropout"] = Value::Null;
    }
    Ok(value)
}

fn kind_is_bpe(value: &Value) -> bool {
    value["model"].get("merges").is_some() && value["model"].is_object()
}

/// A token that ends a generation is a control token, whatever the file calls it.
fn mark_special(value: &mut Value, eos_ids: &[u32]) {
    for token in value["added_tokens"].as_array_mut().into_iter().flatten() {
        let id = token["id"].as_u64();
        if eos_ids.iter().any(|&eos| Some(u64::from(eos)) == id) {
            token["special"] = Value::Bool(true);
        }
    }
}

/// Ids of the control tokens, and the unknown token's id.
fn special_ids(value: &Value, inner: &Inner, eos_ids: &[u32]) -> (Vec<u32>, Option<u32>) {
    let added = value["added_tokens"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let special = added
        .iter()
        .filter(|token| token["special"].as_bool() == Some(true));
    let contents = special.filter_map(|token| token["content"].as_str());
    let ids = contents.filter_map(|content| inner.token_to_id(content));
    let unknown = value["model"]["unk_token"]
        .as_str()
        .and_then(|token| inner.token_to_id(token));
    (ids.chain(eos_ids.iter().copied()).collect(), unknown)
}

fn run(inner: &Inner, text: &str, template: bool) -> Result<tokenizers::Encoding> {
    if text.len() > TEXT_BYTES_MAX {
        let what = format!("text of {} bytes, at most {TEXT_BYTES_MAX}", text.len());
        return Err(Error::Tokenizer(what));
    }
    guard(|| inner.encode(text, template).map_err(|e| e.to_string()))
}

/// The tokenizer library panics on some malformed vocabularies; that is an error like any other.
fn guard<T>(call: impl FnOnce() -> std::result::Result<T, String>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(Error::Tokenizer),
        Err(_) => Err(Error::Tokenizer("its tables contradict each other".into())),
    }
}

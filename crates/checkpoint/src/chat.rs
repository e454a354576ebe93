//! Chat templates: Jinja text from the model's author, run with bounded steps and output.
//!
//! A rendered prompt comes as [`Segment`]s, because only the template may speak control tokens:
//! what a user types is encoded as plain text even where it spells `<|im_start|>`.
//!
//! # Limits
//! Steps, recursion and the prompt's length are bounded. Texts that a template builds and does not
//! print are not: a model's author who doubles a string often enough can use up the memory of the
//! machine that renders it. Render templates of unknown authors where that does no harm.

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, ErrorKind, context};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::limits;

/// Instructions that one rendering may execute.
const FUEL: u64 = 2_000_000;
/// Nested macro calls and includes.
const RECURSION_MAX: usize = 32;
/// Bytes of a rendered prompt.
const PROMPT_BYTES_MAX: usize = 16 << 20;
/// Messages of one conversation.
const MESSAGES_MAX: usize = 4_096;
/// Bytes of a role name.
const ROLE_BYTES_MAX: usize = 32;

/// The template for models that bring none: ChatML.
pub const DEFAULT_TEMPLATE: &str = "{% for message in messages %}{{ '<|im_start|>' + \
    message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}\
    {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant` or `tool`: lower-case letters and `_`.
    pub role: String,
    /// What was said.
    pub content: String,
}

impl Message {
    /// A message of `role` saying `content`.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            content: content.into(),
        }
    }
}

/// A part of a rendered prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Text of the template, in which control tokens count.
    Template(String),
    /// Text of a message, in which they do not.
    Content(String),
}

impl Segment {
    /// The text, wherever it came from.
    pub fn text(&self) -> &str {
        match self {
            Self::Template(text) | Self::Content(text) => text,
        }
    }
}

/// A compiled chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// Compile `source`; `bos` and `eos` are the texts of those tokens, for templates that ask.
    ///
    /// # Errors
    /// [`Error::TooLarge`] or [`Error::Template`].
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self> {
        let bytes = source.len() as u64;
        Error::limit(
            "chat template",
            "size in bytes",
            bytes,
            limits::STRING_BYTES_MAX,
        )?;
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(RECURSION_MAX);
        environment.set_unknown_method_callback(python_method);
        environment.add_function("raise_exception", |text: String| -> Result<Value, _> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, text))
        });
        environment
            .add_template_owned("chat", source.to_owned())
            .map_err(refuse)?;
        let (source, bos, eos) = (source.to_owned(), bos.to_owned(), eos.to_owned());
        Ok(Self {
            environment,
            source,
            bos,
            eos,
        })
    }

    /// The template's text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The whole prompt as one text. Never encode it with control tokens allowed unless every
    /// message is trusted: that is what [`ChatTemplate::render_segments`] is for.
    ///
    /// # Errors
    /// [`Error::Template`] when a role is not valid, or the template fails or writes too much.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        if messages.len() > MESSAGES_MAX {
            let text = format!("{} messages, at most {MESSAGES_MAX}", messages.len());
            return Err(Error::Template(text));
        }
        for message in messages {
            let role = message.role.as_bytes();
            let valid = (1..=ROLE_BYTES_MAX).contains(&role.len())
                && role.iter().all(|&b| b.is_ascii_lowercase() || b == b'_');
            if !valid {
                return Err(Error::Template(format!(
                    "role {:?} is not valid, use system, user, assistant or tool",
                    message
                        .role
                        .chars()
                        .take(ROLE_BYTES_MAX)
                        .collect::<String>()
                )));
            }
        }
        let template = self.environment.get_template("chat").map_err(refuse)?;
        let mut output = Bounded(Vec::new());
        let values = context! {
            messages, add_generation_prompt, bos_token => self.bos, eos_token => self.eos,
        };
        template
            .render_captured_to(values, &mut output)
            .map_err(refuse)?;
        String::from_utf8(output.0).map_err(|_| Error::Template("the prompt is not UTF-8".into()))
    }

    /// The prompt split into the template's own words and the messages'.
    ///
    /// Contents are rendered as markers and put back afterwards, as they are or trimmed (many
    /// templates trim); the result must equal [`ChatTemplate::render`].
    ///
    /// # Errors
    /// [`Error::Template`], also when the template alters or inspects contents in another way.
    pub fn render_segments(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<Vec<Segment>> {
        let whole = self.render(messages, add_generation_prompt)?;
        let open = marker(messages);
        let marked: Vec<Message> = (0..messages.len())
            .map(|index| Message::new(&messages[index].role, format!("{open}{index}\u{f8f1}")))
            .collect();
        let rendered = self.render(&marked, add_generation_prompt)?;
        for trim in [false, true] {
            let segments = split(&rendered, &open, messages, trim)?;
            let texts = segments.iter().map(Segment::text);
            if texts.clone().map(str::len).sum::<usize>() == whole.len()
                && whole.bytes().eq(texts.flat_map(str::bytes))
            {
                return Ok(segments);
            }
        }
        Err(Error::Template(
            "it rewrites message contents, so they cannot be told from control tokens".into(),
        ))
    }
}

/// A private-use text that no message contains.
fn marker(messages: &[Message]) -> String {
    let mut nonce = 0u64;
    loop {
        let open = format!("\u{f8f0}{nonce}:");
        if messages
            .iter()
            .all(|message| !message.content.contains(&open))
        {
            return open;
        }
        nonce += 1;
    }
}

fn split(rendered: &str, open: &str, messages: &[Message], trim: bool) -> Result<Vec<Segment>> {
    let mut segments = Vec::new();
    let mut parts = rendered.split(open);
    let mut push = |segment: Segment| {
        if !segment.text().is_empty() {
            segments.push(segment);
        }
    };
    push(Segment::Template(
        parts.next().unwrap_or_default().to_owned(),
    ));
    for part in parts {
        let found = part
            .split_once('\u{f8f1}')
            .and_then(|(index, rest)| Some((messages.get(index.parse::<usize>().ok()?)?, rest)));
        let Some((message, rest)) = found else {
            return Err(Error::Template("it rewrites message contents".into()));
        };
        let content = if trim {
            message.content.trim()
        } else {
            &message.content
        };
        push(Segment::Content(content.to_owned()));
        push(Segment::Template(rest.to_owned()));
    }
    Ok(segments)
}

/// A writer that refuses to grow beyond the prompt limit.
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > PROMPT_BYTES_MAX {
            return Err(std::io::Error::other("the prompt is longer than 16 MiB"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "the signature that map_err takes"
)]
fn refuse(error: minijinja::Error) -> Error {
    let detail = error.detail().map(str::to_owned).unwrap_or_default();
    let line = error
        .line()
        .map(|line| format!(" in line {line}"))
        .unwrap_or_default();
    Error::Template(format!("{}{line}: {detail}", error.kind()))
}

/// The string and map methods of Python that published templates call.
fn python_method(
    _: &minijinja::State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, minijinja::Error> {
    let unknown = || minijinja::Error::new(ErrorKind::UnknownMethod, method.to_owned());
    if value.kind() == ValueKind::Map {
        return match (method, args) {
            ("items", []) => {
                let keys = value.try_iter()?;
                keys.map(|key| Ok(Value::from(vec![key.clone(), value.get_item(&key)?])))
                    .collect()
            }
            ("get", [key]) => value.get_item(key),
            _ => Err(unknown()),
        };
    }
    let Some(text) = value.as_str() else {
        return Err(unknown());
    };
    let arg = |index: usize| args.get(index).and_then(Value::as_str);
    Ok(match (method, arg(0), arg(1), args.len()) {
        ("strip", None, _, 0) => text.trim().into(),
        ("lstrip", None, _, 0) => text.trim_start().into(),
        ("rstrip", None, _, 0) => text.trim_end().into(),
        ("strip", Some(set), _, 1) => text.trim_matches(|c| set.contains(c)).into(),
        ("lstrip", Some(set), _, 1) => text.trim_start_matches(|c| set.contains(c)).into(),
        ("rstrip", Some(set), _, 1) => text.trim_end_matches(|c| set.contains(c)).into(),
        ("startswith", Some(prefix), _, 1) => text.starts_with(prefix).into(),
        ("endswith", Some(suffix), _, 1) => text.ends_with(suffix).into(),
        ("upper", None, _, 0) => text.to_uppercase().into(),
        ("lower", None, _, 0) => text.to_lowercase().into(),
        ("split", Some(sep), _, 1) if !sep.is_empty() => {
            text.split(sep).map(Value::from).collect::<Vec<_>>().into()
        }
        ("replace", Some(from), Some(to), 2) if !from.is_empty() => {
            let grown = text.matches(from).count().saturating_mul(to.len());
            if grown.saturating_add(text.len()) > PROMPT_BYTES_MAX {
                return Err(minijinja::Error::new(
                    ErrorKind::InvalidOperation,
                    "text too long",
                ));
            }
            text.replace(from, to).into()
        }
        _ => return Err(unknown()),
    })
}

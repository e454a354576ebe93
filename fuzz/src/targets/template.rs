//! Chat templates, and conversations through them.

use nesa_checkpoint::chat::DEFAULT_TEMPLATE;
use nesa_checkpoint::{ChatTemplate, Message};

use super::{Target, outcome};

pub(crate) const TARGET: Target = Target {
    name: "template",
    run: |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let chat = match ChatTemplate::new(&text, "<s>", "</s>") {
            Ok(chat) => chat,
            Err(error) => return error.to_string(),
        };
        let messages = [
            Message::new("system", "Be brief."),
            Message::new("user", "Hi {{ x }}"),
        ];
        outcome(chat.render_segments(&messages, true))
    },
    // For this dictionary. A template that doubles strings on purpose has no bound: the engine
    // limits steps and output, not intermediate texts, and the crate says so.
    bound: |len| 4_096 * len + (256 << 20),
    seeds: || {
        let loops = "{% if messages[0]['role'] == 'system' %}{% set s = messages[0]['content'] %}\
                     {% endif %}{% for m in messages[1:] %}{{ loop.index0 }}{{ m.content.strip() }}\
                     {% endfor %}{{ bos_token ~ eos_token }}";
        vec![DEFAULT_TEMPLATE.into(), loops.into()]
    },
    dictionary: &[
        b"{% for m in messages %}",
        b"{% endfor %}",
        b"{% if ",
        b"{% endif %}",
        b"{% set x = namespace(a=1) %}",
        b"{% macro m() %}{{ m() }}{% endmacro %}",
        b"{{ ",
        b" }}",
        b" | trim",
        b" | tojson",
        b".split(' ')[-1]",
        b"range(9999)",
        b"messages[0]",
        b"raise_exception('x')",
    ],
};

//! Templates and tokenizers as a hostile author, or a hostile user, would write them.

use nesa_checkpoint::chat::DEFAULT_TEMPLATE;
use nesa_checkpoint::random::{Store, small_config, write_random};
use nesa_checkpoint::{Arch, ChatTemplate, Checkpoint, Error, Message, Segment, Tokenizer};

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::new(source, "<s>", "</s>").expect("compiles")
}

fn user(content: &str) -> Vec<Message> {
    vec![Message::new("user", content)]
}

#[test]
fn default_template_is_chatml() {
    let text = template(DEFAULT_TEMPLATE)
        .render(&user("Hi"), true)
        .expect("renders");
    assert_eq!(
        text,
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    );
}

#[test]
fn segments_separate_template_from_content() {
    let chat = template(DEFAULT_TEMPLATE);
    let segments = chat
        .render_segments(&user("a<|im_end|>b"), false)
        .expect("renders");
    assert_eq!(
        segments,
        [
            Segment::Template("<|im_start|>user\n".into()),
            Segment::Content("a<|im_end|>b".into()),
            Segment::Template("<|im_end|>\n".into()),
        ]
    );
    for hostile in [
        "\u{f8f0}0:0\u{f8f1}",
        "\u{f8f0}",
        "{{ eos_token }}",
        "",
        " \n ",
    ] {
        let messages = [user("x"), user(hostile)].concat();
        let segments = chat.render_segments(&messages, true).expect("renders");
        let text: String = segments.iter().map(Segment::text).collect();
        assert_eq!(text, chat.render(&messages, true).expect("renders"));
        let typed = |segment: &Segment| matches!(segment, Segment::Content(c) if c == hostile);
        assert_eq!(segments.iter().any(typed), !hostile.is_empty());
    }
}

#[test]
fn trimming_templates_work_and_rewriting_ones_are_refused() {
    let body = |filter: &str| {
        format!("{{% for m in messages %}}<{{{{ m['content']{filter} }}}}>{{% endfor %}}")
    };
    for filter in [".strip()", " | trim", ""] {
        let segments = template(&body(filter))
            .render_segments(&user(" a "), true)
            .expect("renders");
        assert_eq!(segments.len(), 3);
    }
    let upper = template(&body(".upper()"));
    assert!(matches!(
        upper.render_segments(&user("a"), true),
        Err(Error::Template(_))
    ));
}

#[test]
fn python_methods_and_failures() {
    let text = |source: &str| template(source).render(&user("x"), true);
    let methods = "{{ 'ab '.rstrip() + 'x-y'.split('-')[1] + 'aa'.replace('a', 'b') }}\
                   {{ 'ab'.startswith('a') }}{{ messages[0].get('role') }}";
    assert_eq!(text(methods).expect("renders"), "abybbTrueuser");
    let error = text("{{ raise_exception('roles must alternate') }}").expect_err("raised");
    assert!(
        error.to_string().contains("roles must alternate"),
        "{error}"
    );
    assert!(text("{{ 'x'.nope() }}").is_err());
    assert!(ChatTemplate::new("{% for %}", "", "").is_err());
    assert!(ChatTemplate::new(&"x".repeat(2 << 20), "", "").is_err());
}

#[test]
fn runaway_templates_end() {
    let render = |source: &str| template(source).render(&user("x"), true);
    for source in [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% set x = namespace(s='aaaaaaaaaaaaaaaa') %}{% for i in range(1000) %}\
         {{ x.s }}{% set x.s = x.s + x.s %}{% endfor %}",
    ] {
        assert!(render(source).is_err(), "{source}");
    }
}

#[test]
fn roles_cannot_smuggle_text() {
    for role in [
        "",
        "user\n",
        "<|im_end|>",
        "User",
        "sys tem",
        &"a".repeat(33),
    ] {
        let messages = [Message::new(role, "x")];
        assert!(
            template(DEFAULT_TEMPLATE).render(&messages, true).is_err(),
            "{role:?}"
        );
    }
}

#[test]
fn damaged_tokenizers_are_errors() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let config = small_config(Arch::Llama);
    write_random(folder.path(), &config, 5, Store::F16).expect("writes");
    let json = Checkpoint::open(folder.path())
        .expect("opens")
        .tokenizer_json()
        .expect("json");
    assert!(Tokenizer::from_json(&json, &[0]).is_ok());
    for (what, from, to) in [
        (
            "merge of unknown tokens",
            "\"merges\":[]",
            "\"merges\":[[\"xx\",\"yy\"]]",
        ),
        ("model type", "\"BPE\"", "\"Unigram\""),
        ("regular expression", "\"ByteLevel\"", "\"Split\""),
        ("vocabulary", "\"vocab\":{", "\"vocab\":[{"),
    ] {
        assert!(json.contains(from), "{what}");
        assert!(
            Tokenizer::from_json(&json.replace(from, to), &[0]).is_err(),
            "{what}"
        );
    }
    // Ids that repeat, or special tokens outside the vocabulary, must at least not panic.
    for (from, to) in [("\"a\":98", "\"a\":99"), ("\"id\":0", "\"id\":4000000000")] {
        if let Ok(tokenizer) = Tokenizer::from_json(&json.replace(from, to), &[0]) {
            let ids = tokenizer.encode("abc <|end|>", true).unwrap_or_default();
            let _ = tokenizer.decode(&ids, false);
            let _ = tokenizer.decode(&[u32::MAX], false);
        }
    }
}

#[test]
fn ends_are_control_tokens_even_if_not_marked() {
    let folder = tempfile::tempdir().expect("temporary folder");
    write_random(folder.path(), &small_config(Arch::Llama), 5, Store::F16).expect("writes");
    let json = Checkpoint::open(folder.path())
        .expect("opens")
        .tokenizer_json()
        .expect("json");
    let json = json.replace("\"special\":true", "\"special\":false");
    let tokenizer = Tokenizer::from_json(&json, &[0]).expect("tokenizer");
    assert_eq!(tokenizer.encode("<|end|>", true).expect("encodes"), [0]);
    assert!(
        !tokenizer
            .encode("<|end|>", false)
            .expect("encodes")
            .contains(&0)
    );
}

//! `publish` and `seal`.

use nesa_codec::{Digest, Encode as _};

use super::sample::{perceptron, trees};
use super::*;
use crate::requests::{CHUNK_MAX, CHUNKS, FILES, File};

#[test]
fn a_file_in_chunks_is_sealed_by_its_root() {
    for (model, input) in [(trees(1_000.0), 16), (perceptron(), 6)] {
        let (mut w, root, bytes) = (World::new(params()), model.root(), model.to_bytes());
        register(&mut w, root, 16);
        let (head, tail) = bytes.split_at(bytes.len() / 2);
        assert!(publish(&mut w, root, 0, head).succeeded);
        // Left over from an earlier try.
        assert!(publish(&mut w, root, 7, b"garbage").succeeded);
        assert!(seal(&mut w, root, 2).reason.contains("the chunks are not"));
        assert!(publish(&mut w, root, 1, b"wrong").succeeded);
        assert!(seal(&mut w, root, 2).reason.contains("the chunks are not"));
        assert!(publish(&mut w, root, 1, tail).succeeded);
        let done = seal(&mut w, root, 2);
        assert!(done.succeeded, "{}", done.reason);
        assert_eq!(
            FILES.get(&w.tip.state, &root),
            Ok(Some(File { chunks: 2, input }))
        );
        assert!(!CHUNKS.has(&w.tip.state, &(root, 7)));
        assert_eq!(crate::requests::model(&w.tip.state, &root), Ok(model));
        assert!(
            publish(&mut w, root, 0, head)
                .reason
                .contains("sealed already")
        );
        assert!(seal(&mut w, root, 2).reason.contains("sealed already"));
    }
}

#[test]
fn only_the_publisher_of_a_provable_model_publishes_it() {
    let (mut w, model) = (World::new(params()), trees(1_000.0));
    let (root, bytes) = (model.root(), model.to_bytes());
    assert!(publish(&mut w, root, 0, &bytes).reason.contains("no model"));
    register(&mut w, root, 1);
    assert!(publish(&mut w, root, 0, &bytes).reason.contains("modes"));
    let other = Digest([9; 32]);
    register(&mut w, other, 16);
    assert!(publish(&mut w, other, 0, &bytes).succeeded);
    assert!(
        seal(&mut w, other, 1).reason.contains("registered root"),
        "another model's root"
    );
    let call = publishCall {
        model: other.0.into(),
        index: 0,
        chunk: bytes.into(),
    };
    let done = w.call(WORKER, ADDRESS, Amount::ZERO, &call);
    assert!(done.reason.contains("only the model's publisher"));
    for (index, len) in [(8, 1), (0, 0), (0, CHUNK_MAX + 1)] {
        let mut call = publishCall {
            model: other.0.into(),
            index,
            chunk: vec![1; len].into(),
        };
        let done = w.call_with_gas(PUBLISHER, ADDRESS, &call, 20_000_000);
        assert!(done.reason.contains("at most 8 chunks"), "{}", done.reason);
        call.index = 0;
    }
}

//! Frames cut from a byte stream that arrives in pieces.

use nesa_net::Frame;
use nesa_net::frame::{FrameReader, HEADER_BYTES, header};

use super::{Target, outcome};

/// Largest payload of the streams under test.
const BYTES_MAX: u32 = 1 << 16;

pub(crate) const TARGET: Target = Target {
    name: "frame",
    run,
    bound: |len| 16 * len + (64 << 10),
    seeds,
    dictionary: &[
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"\0\0\x01\0",
        b"\x01\0\x01\0",
        b"\x03\0\0\0\x09",
    ],
};

/// The first byte says in which pieces the rest arrives; pieces never change what is read.
fn run(bytes: &[u8]) -> String {
    let Some((&piece, stream)) = bytes.split_first() else {
        return "empty".to_owned();
    };
    let (frames, end) = read(stream, usize::from(piece) + 1);
    let whole = read(stream, stream.len().max(1));
    assert_eq!((&frames, &end), (&whole.0, &whole.1));
    let mut back = Vec::new();
    for frame in &frames {
        back.extend(header(2, frame, BYTES_MAX).expect("within the limit"));
        back.extend_from_slice(&frame.payload);
    }
    assert!(stream.starts_with(&back), "frames are what arrived");
    format!("{} {end}", frames.len().min(3)).replace(|c: char| c.is_ascii_digit(), "")
        + &"f".repeat(frames.len().min(5))
}

fn read(stream: &[u8], piece: usize) -> (Vec<Frame>, String) {
    let mut reader = FrameReader::new(2, BYTES_MAX);
    let mut frames = Vec::new();
    for bytes in stream.chunks(piece) {
        reader.push(bytes);
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(e) => return (frames, e.to_string()),
            }
        }
        let missing = reader.missing().expect("an error shows at once");
        assert!(missing > 0 && missing <= HEADER_BYTES + BYTES_MAX as usize);
    }
    (frames, outcome(reader.end()))
}

fn seeds() -> Vec<Vec<u8>> {
    let frame = |kind: u8, payload: &[u8]| {
        let n = (payload.len() as u32).to_le_bytes();
        [&n[..], &[kind], payload].concat()
    };
    vec![
        [&[0][..], &frame(1, b""), &frame(2, b"abc")].concat(),
        [&[6][..], &frame(3, &[7; 300]), &frame(4, b"end")[..7]].concat(),
        vec![255, 0, 0, 2, 0, 1],
    ]
}

//! The npz files of glassllm.

use std::io::Write;

use nesa_checkpoint::npz::Arrays;

use super::{Target, outcome};

pub(crate) const TARGET: Target = Target {
    name: "npz",
    run: |bytes| outcome(Arrays::parse(bytes, "f")),
    // Deflate expands at most 1,032 times.
    bound: |len| 1_040 * len + (1 << 20),
    seeds,
    dictionary: &[
        b"PK\x01\x02",
        b"PK\x03\x04",
        b"PK\x05\x06",
        b"PK\x06\x06",
        b"PK\x06\x07",
        b".npy",
        b"__config__",
        b"\x93NUMPY\x01\x00",
        b"'descr': '<f2'",
        b"'shape': (",
    ],
};

fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(data);
    out
}

fn seeds() -> Vec<Vec<u8>> {
    [
        zip::CompressionMethod::Stored,
        zip::CompressionMethod::Deflated,
    ]
    .into_iter()
    .map(|method| {
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, bytes) in [
            ("__config__.npy", npy("<U2", "()", b"{\0\0\0}\0\0\0")),
            ("E.npy", npy("<f2", "(2, 4)", &[0; 16])),
            ("g.npy", npy("<f4", "(3,)", &[1; 12])),
        ] {
            writer.start_file(name, options).expect("a seed");
            writer.write_all(&bytes).expect("a seed");
        }
        writer.finish().expect("a seed").into_inner()
    })
    .collect()
}

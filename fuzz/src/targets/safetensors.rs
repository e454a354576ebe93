//! Safetensors headers.

use nesa_checkpoint::limits::{HEADER_ALLOC_BASE, HEADER_ALLOC_FACTOR};
use nesa_checkpoint::safetensors::Header;

use super::{Target, outcome};

pub(crate) const TARGET: Target = Target {
    name: "safetensors",
    run: |bytes| outcome(Header::parse(bytes, "f", bytes.len() as u64)),
    bound: |len| HEADER_ALLOC_FACTOR * len + HEADER_ALLOC_BASE,
    seeds,
    dictionary: &[
        b"\"dtype\":\"F32\"",
        b"\"shape\":[",
        b"\"data_offsets\":[0,0]",
        b"__metadata__",
        b"\"BF16\"",
        b"\"I64\"",
        b"{\"a\":{",
        b"}}",
        b"18446744073709551615",
        b"-1",
        b"1e99",
        b",",
        b"[[[[[[[[",
        b"\\u0000",
    ],
};

fn file(header: &str, data: usize) -> Vec<u8> {
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.resize(out.len() + data, 0);
    out
}

fn seeds() -> Vec<Vec<u8>> {
    let small = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"i":{"dtype":"I64","shape":[1],"data_offsets":[16,24]},"b":{"dtype":"BF16","shape":[1],"data_offsets":[24,26]}}"#;
    let entry = |index: u32| {
        format!("\"{index:x}\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}")
    };
    let many: Vec<String> = (0..1_000).map(entry).collect();
    let many = format!("{{{}}}", many.join(","));
    let wide = format!(
        "{{\"a\":{{\"dtype\":\"F32\",\"shape\":[{}0],\"data_offsets\":[0,0]}}}}",
        "0,".repeat(5_000)
    );
    vec![
        file(small, 26),
        file(&many, 0),
        file(&wide, 0),
        file("{}", 0),
    ]
}

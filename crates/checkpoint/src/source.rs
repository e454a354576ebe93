//! Where tensor bytes lie, and reading exactly them.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use sha2::{Digest, Sha256};

use crate::dequant::DType;
use crate::error::{Error, Result};
use crate::limits;
use crate::tensor::Matrix;

/// A tensor's place and type in a file, checked against the file's length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Element type.
    pub dtype: DType,
    /// (rows, columns) order, slowest first.
    pub shape: Vec<u64>,
    /// First byte, from the start of the file.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

impl Stored {
    /// A tensor of `shape` at `offset`; `file_len` bounds it.
    pub(crate) fn new(
        file: &str,
        name: &str,
        dtype: DType,
        shape: Vec<u64>,
        offset: u64,
        file_len: u64,
    ) -> Result<Self> {
        let bad = |what: &str| Error::malformed(file, format!("tensor {name:?}: {what}"));
        Error::limit(
            file,
            "number of dimensions",
            shape.len() as u64,
            limits::DIMS_MAX,
        )?;
        let elements = shape
            .iter()
            .try_fold(1u64, |product, &dim| product.checked_mul(dim))
            .ok_or_else(|| bad("its size overflows"))?;
        Error::limit(
            file,
            "number of elements of a tensor",
            elements,
            limits::ELEMENTS_MAX,
        )?;
        let cols = shape.last().copied().unwrap_or(1);
        let len = dtype
            .bytes(elements, cols)
            .ok_or_else(|| bad(&format!("{cols} columns are not whole blocks of {dtype:?}")))?;
        match offset.checked_add(len) {
            Some(end) if end <= file_len => Ok(Self {
                dtype,
                shape,
                offset,
                len,
            }),
            _ => Err(bad("its data lies beyond the end of the file")),
        }
    }

    /// Decode `bytes`, which are the tensor's own, into a matrix; a vector becomes one column.
    pub(crate) fn decode(&self, bytes: &[u8]) -> Matrix {
        let dims: Vec<usize> = self.shape.iter().map(|&dim| dim as usize).collect();
        let (rows, cols) = match dims.as_slice() {
            [] => (1, 1),
            [rows] => (*rows, 1),
            [rows, rest @ ..] => (*rows, rest.iter().product()),
        };
        let mut data = Vec::with_capacity(rows * cols);
        self.dtype.decode(bytes, &mut data);
        Matrix { rows, cols, data }
    }
}

/// The bytes of one weight file.
#[derive(Debug)]
pub(crate) enum Source {
    /// A file on disk, read by position.
    File {
        path: PathBuf,
        file: Mutex<File>,
        len: u64,
    },
    /// Bytes in memory, with the path that they came from.
    Memory { path: PathBuf, bytes: Vec<u8> },
}

impl Source {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        let meta = file.metadata().map_err(|e| Error::io(path, e))?;
        if !meta.is_file() {
            let kind = std::io::Error::other("not a regular file");
            return Err(Error::io(path, kind));
        }
        Ok(Self::File {
            path: path.to_owned(),
            file: Mutex::new(file),
            len: meta.len(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::File { path, .. } | Self::Memory { path, .. } => path,
        }
    }

    /// Whether the bytes are the file's own, and not an archive's unpacked contents.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self, Self::File { .. })
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::File { len, .. } => *len,
            Self::Memory { bytes, .. } => bytes.len() as u64,
        }
    }

    /// A matrix from the bytes of `stored`.
    pub(crate) fn read(&self, stored: &Stored) -> Result<Matrix> {
        let start = stored.offset as usize;
        match self {
            Self::Memory { path, bytes } => {
                let slice = bytes.get(start..start.saturating_add(stored.len as usize));
                let slice = slice.ok_or_else(|| {
                    Error::malformed(&path.display().to_string(), "tensor data is cut off")
                })?;
                Ok(stored.decode(slice))
            }
            Self::File { path, file, .. } => {
                let mut bytes = vec![0; stored.len as usize];
                let mut file = file
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                file.seek(SeekFrom::Start(stored.offset))
                    .map_err(|e| Error::io(path, e))?;
                file.read_exact(&mut bytes)
                    .map_err(|e| Error::io(path, e))?;
                drop(file);
                Ok(stored.decode(&bytes))
            }
        }
    }

    /// SHA-256 of the whole file.
    pub(crate) fn sha256(&self) -> Result<[u8; 32]> {
        match self {
            Self::Memory { bytes, .. } => Ok(Sha256::digest(bytes).into()),
            Self::File { path, .. } => {
                let mut file = File::open(path).map_err(|e| Error::io(path, e))?;
                let mut hasher = Sha256::new();
                let mut buffer = vec![0; 1 << 20];
                loop {
                    let n = file.read(&mut buffer).map_err(|e| Error::io(path, e))?;
                    if n == 0 {
                        return Ok(hasher.finalize().into());
                    }
                    hasher.update(&buffer[..n]);
                }
            }
        }
    }
}

/// A whole small file, refused above `limit` bytes before it is read.
pub(crate) fn read_small(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|e| Error::io(path, e))?;
    Error::limit(
        &path.display().to_string(),
        "size in bytes",
        bytes.len() as u64,
        limit,
    )?;
    Ok(bytes)
}

/// As [`read_small`], as text.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String> {
    String::from_utf8(read_small(path, limit)?)
        .map_err(|_| Error::malformed(&path.display().to_string(), "it is not UTF-8 text"))
}

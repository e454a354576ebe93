//! A disk in memory that loses or tears what was not synchronized when its machine crashes.

use std::io::Error;
use std::sync::{Arc, Mutex};

use redb::StorageBackend;

#[derive(Debug, Default)]
struct Platter {
    durable: Vec<u8>,
    cached: Vec<u8>,
    /// Since the last synchronization.
    writes: Vec<(u64, Vec<u8>)>,
    boots: u64,
    before: Vec<u8>,
}

/// The disk; survives its machine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<Platter>>);

/// One boot's view of the disk; deaf after the next crash.
#[derive(Debug)]
pub(crate) struct Mounted {
    disk: Disk,
    boot: u64,
}

impl Disk {
    /// Mounts the disk for one run of a node.
    pub(crate) fn mount(&self) -> Mounted {
        let boot = self.0.lock().unwrap().boots;
        Mounted {
            disk: self.clone(),
            boot,
        }
    }

    /// Power loss: of the writes since the last synchronization, `kept` reach the platter and the
    /// next one does by half.
    pub(crate) fn crash(&self, kept: usize) {
        let mut p = self.0.lock().unwrap();
        let writes = std::mem::take(&mut p.writes);
        for (i, (offset, data)) in writes.iter().enumerate() {
            let n = match i {
                i if i < kept => data.len(),
                i if i == kept => data.len() / 2,
                _ => 0,
            };
            let end = *offset as usize + n;
            if p.durable.len() < end {
                p.durable.resize(end, 0);
            }
            p.durable[*offset as usize..end].copy_from_slice(&data[..n]);
        }
        p.cached = p.durable.clone();
        p.boots += 1;
    }

    /// Flips a bit of the platter; [`Disk::restore`] undoes it and all that was written since.
    pub(crate) fn damage(&self, at: usize) {
        let mut p = self.0.lock().unwrap();
        p.before = p.durable.clone();
        p.durable[at] ^= 0x40;
        p.cached = p.durable.clone();
    }

    /// See [`Disk::damage`].
    pub(crate) fn restore(&self) {
        let mut p = self.0.lock().unwrap();
        p.durable = p.before.clone();
        p.cached = p.durable.clone();
        p.writes.clear();
        p.boots += 1;
    }

    /// Bytes on the platter.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().durable.len()
    }
}

impl StorageBackend for Mounted {
    fn len(&self) -> Result<u64, Error> {
        Ok(self.disk.0.lock().unwrap().cached.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let p = self.disk.0.lock().unwrap();
        let from = offset as usize;
        let bytes = p.cached.get(from..from + out.len());
        let bytes = bytes.ok_or_else(|| Error::other("read beyond the end"))?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), Error> {
        let mut p = self.disk.0.lock().unwrap();
        if p.boots == self.boot {
            p.cached.resize(len as usize, 0);
            p.durable.resize(len as usize, 0);
        }
        Ok(())
    }

    fn sync_data(&self) -> Result<(), Error> {
        let mut p = self.disk.0.lock().unwrap();
        if p.boots == self.boot {
            p.durable = p.cached.clone();
            p.writes.clear();
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let mut p = self.disk.0.lock().unwrap();
        if p.boots == self.boot {
            let from = offset as usize;
            let end = from + data.len();
            if p.cached.len() < end {
                p.cached.resize(end, 0);
            }
            p.cached[from..end].copy_from_slice(data);
            p.writes.push((offset, data.to_vec()));
        }
        Ok(())
    }
}

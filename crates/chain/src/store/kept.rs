//! Words about single blocks and validators: envelopes, certificates, evidence.

use nesa_codec::{Decode, DecodeError, Encode, Reader, Writer};
use nesa_finality::{Certificate, DESCENDANTS_MAX, Envelope, Evidence, Finalized, ValidatorSet};
use redb::{ReadableDatabase, ReadableTable};

use super::{BLOCKS, EVIDENCE, Store, StoreError, damaged};

/// A block's words on disk.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) envelope: Envelope,
    pub(super) certificate: Option<Certificate>,
}

impl Encode for Kept {
    fn encode(&self, w: &mut Writer) {
        self.envelope.encode(w);
        w.u8(u8::from(self.certificate.is_some()));
        if let Some(certificate) = &self.certificate {
            certificate.encode(w);
        }
    }
}

impl Decode for Kept {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let envelope = Envelope::decode(r)?;
        let certificate = match r.bool()? {
            true => Some(Certificate::decode(r)?),
            false => None,
        };
        Ok(Self {
            envelope,
            certificate,
        })
    }
}

impl Store {
    fn kept(&self, height: u64) -> Result<Option<Kept>, StoreError> {
        let read = self.database.begin_read()?;
        let table = read.open_table(BLOCKS)?;
        let Some(bytes) = table.get(height)? else {
            return Ok(None);
        };
        Ok(Some(Kept::from_bytes(bytes.value()).map_err(damaged)?))
    }

    /// Keeps evidence across restarts; the first against a validator stays.
    pub(crate) fn accuse(&self, evidence: &Evidence) -> Result<(), StoreError> {
        let write = self.database.begin_write()?;
        {
            let mut table = write.open_table(EVIDENCE)?;
            if table.get(evidence.validator)?.is_none() {
                table.insert(evidence.validator, evidence.to_bytes().as_slice())?;
            }
        }
        write.commit()?;
        Ok(())
    }

    /// All evidence that was kept.
    pub(crate) fn evidence(&self) -> Result<Vec<Evidence>, StoreError> {
        let read = self.database.begin_read()?;
        let table = match read.open_table(EVIDENCE) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            table => table?,
        };
        let mut out = Vec::new();
        for entry in table.iter()? {
            let (_, bytes) = entry?;
            out.push(Evidence::from_bytes(bytes.value()).map_err(damaged)?);
        }
        Ok(out)
    }

    /// The envelope of a final block, if this node has seen it become final.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub fn envelope(&self, height: u64) -> Result<Option<Envelope>, StoreError> {
        Ok(self.kept(height)?.map(|k| k.envelope))
    }

    /// The proof that the block at `height` is final: with its own certificate or the next one's
    /// within [`DESCENDANTS_MAX`] blocks.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub fn finalized(
        &self,
        height: u64,
        validators: &ValidatorSet,
    ) -> Result<Option<Finalized>, StoreError> {
        let Some(mut kept) = self.kept(height)? else {
            return Ok(None);
        };
        let envelope = kept.envelope.clone();
        let mut descendants = Vec::new();
        loop {
            if let Some(certificate) = kept.certificate {
                let validators = validators.clone();
                return Ok(Some(Finalized {
                    envelope,
                    descendants,
                    certificate,
                    validators,
                }));
            }
            let next = self.kept(kept.envelope.height.saturating_add(1))?;
            let (Some(next), true) = (next, descendants.len() < DESCENDANTS_MAX) else {
                return Ok(None);
            };
            descendants.push(next.envelope.clone());
            kept = next;
        }
    }
}

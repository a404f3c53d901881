//! Only the journal's crate has journals: what appends is sealed.

use phoenix_journal::{Append, Digest, Entry, Epoch, EpochId, JournalError, JournalId, Position, Record, Recorded, Refused, StreamKey};

struct Mine;

impl Append for Mine {
    fn journal(&self) -> JournalId {
        JournalId::from_bytes([0; 16])
    }

    fn epoch(&self) -> Option<(Epoch, EpochId)> {
        None
    }

    fn begin<T: Record>(&mut self, _: Vec<T>) -> Result<Vec<Recorded<T>>, JournalError> {
        Ok(Vec::new())
    }

    fn append_group<T: Record>(&mut self, _: Vec<T>) -> Result<Vec<Result<Recorded<T>, Refused>>, JournalError> {
        Ok(Vec::new())
    }

    fn replay(&self, _: Option<&StreamKey>) -> Result<Vec<Entry>, JournalError> {
        Ok(Vec::new())
    }

    fn positions(&self) -> Result<Vec<Position>, JournalError> {
        Ok(Vec::new())
    }

    fn blob(&self, _: &Digest) -> Result<Option<Vec<u8>>, JournalError> {
        Ok(None)
    }
}

fn main() {}

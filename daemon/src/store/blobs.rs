//! Large payloads as files, named by their content.
//!
//! A file is on the disk before the row that names it, and goes after that row is gone; a crash between leaves a file
//! that nobody names, which the next start removes.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::answer::hex;

pub(super) type BlobId = [u8; 32];

pub(super) struct Blobs {
    folder: PathBuf,
    /// Rows that name each file.
    uses: HashMap<BlobId, usize>,
}

impl Blobs {
    /// # Errors
    /// The folder cannot be made.
    pub fn open(store: &Path) -> io::Result<Self> {
        let folder = store.join("blobs");
        fs::create_dir_all(&folder)?;
        File::open(store)?.sync_all()?;
        Ok(Self { folder, uses: HashMap::new() })
    }

    /// Writes a payload and syncs file and folder. The file stays without a user until [`Self::adopt`].
    ///
    /// # Errors
    /// The disk is full, or worse.
    pub fn put(&self, payload: &Bytes) -> io::Result<BlobId> {
        let id: BlobId = Sha256::digest(payload).into();
        let path = self.path(&id);
        // A file under its final name is whole and synced, unless a power cut tore it: the length tells.
        if fs::metadata(&path).is_ok_and(|found| found.len() == payload.len() as u64) && self.uses.contains_key(&id) {
            return Ok(id);
        }
        let fresh = path.with_extension("new");
        let mut file = File::create(&fresh)?;
        file.write_all(payload)?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        File::open(&self.folder)?.sync_all()?;
        Ok(id)
    }

    /// # Errors
    /// The file is gone or is not what it was.
    pub fn get(&self, id: &BlobId) -> io::Result<Bytes> {
        let bytes = fs::read(self.path(id))?;
        let found: BlobId = Sha256::digest(&bytes).into();
        if found != *id {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a payload file is damaged"));
        }
        Ok(bytes.into())
    }

    /// All rows are about to be read, maybe not for the first time.
    pub fn forget_uses(&mut self) {
        self.uses.clear();
    }

    /// One more row names this file.
    pub fn adopt(&mut self, id: BlobId) {
        *self.uses.entry(id).or_default() += 1;
    }

    /// One row fewer does; the last one takes the file along.
    pub fn abandon(&mut self, id: &BlobId) {
        if let Some(uses) = self.uses.get_mut(id) {
            *uses -= 1;
            if *uses == 0 {
                self.uses.remove(id);
                let _ = fs::remove_file(self.path(id));
            }
        }
    }

    /// Removes files that no row names.
    pub fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let known = path.extension().is_none()
                && path
                    .file_name()
                    .and_then(|name| name.to_str())
                    .and_then(parse)
                    .is_some_and(|id| self.uses.contains_key(&id));
            if !known {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn path(&self, id: &BlobId) -> PathBuf {
        self.folder.join(hex(id))
    }
}

fn parse(name: &str) -> Option<BlobId> {
    let mut id = BlobId::default();
    if name.len() != 64 || !name.is_ascii() {
        return None;
    }
    for (place, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&name[2 * place..2 * place + 2], 16).ok()?;
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_lives_as_long_as_a_row_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut blobs = Blobs::open(folder.path()).unwrap();
        let payload = Bytes::from_static(b"large");
        let id = blobs.put(&payload).unwrap();
        blobs.adopt(id);
        blobs.adopt(id);
        blobs.abandon(&id);
        blobs.sweep().unwrap();
        assert_eq!(blobs.get(&id).unwrap(), payload);
        blobs.abandon(&id);
        assert!(blobs.get(&id).is_err());
    }

    #[test]
    fn a_damaged_file_is_no_payload_and_an_orphan_goes() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path()).unwrap();
        let id = blobs.put(&Bytes::from_static(b"large")).unwrap();
        fs::write(blobs.path(&id), b"lArge").unwrap();
        assert_eq!(blobs.get(&id).unwrap_err().kind(), io::ErrorKind::InvalidData);
        blobs.sweep().unwrap();
        assert!(!blobs.path(&id).exists());
    }
}

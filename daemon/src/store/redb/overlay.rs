//! A file that is only read, under writes that are only kept in memory: redb repairs what a crash has left before it lets
//! anybody read, and a file that is only looked at must stay what it is.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ::redb::StorageBackend;

const BLOCK: u64 = 4_096;

#[derive(Debug)]
pub(super) struct Overlay {
    file: File,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    /// By their numbers.
    blocks: BTreeMap<u64, Vec<u8>>,
    len: u64,
    /// What is behind this in the file was cut off, and reads as zeros when the length grows again.
    of_file: u64,
}

impl Overlay {
    /// # Errors
    /// The file does not say how long it is.
    pub fn new(file: File) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self { file, written: Mutex::new(Written { blocks: BTreeMap::new(), len, of_file: len }) })
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block as it would be in the file.
    fn block(&self, written: &Written, number: u64) -> io::Result<Vec<u8>> {
        if let Some(block) = written.blocks.get(&number) {
            return Ok(block.clone());
        }
        let start = number * BLOCK;
        let mut block = vec![0; BLOCK as usize];
        let here = usize::try_from(written.of_file.saturating_sub(start).min(BLOCK)).unwrap_or(0);
        self.file.read_exact_at(&mut block[..here], start)?;
        Ok(block)
    }
}

/// The parts of a range, block by block: number, where it begins in the block, where in the range, and its length.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let inside = (at % BLOCK) as usize;
        let part = (BLOCK as usize - inside).min(length - done);
        let found = (part > 0).then_some((at / BLOCK, inside, done, part));
        done += part;
        found
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.written();
        if offset + out.len() as u64 > written.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (number, inside, at, part) in parts(offset, out.len()) {
            let block = self.block(&written, number)?;
            out[at..at + part].copy_from_slice(&block[inside..inside + part]);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut written = self.written();
        if len < written.len {
            // Whole blocks that are gone, and the rest of the last one.
            let last = len.div_ceil(BLOCK);
            written.blocks.retain(|number, _| *number < last);
            if let Some(block) = written.blocks.get_mut(&(len / BLOCK)) {
                block[(len % BLOCK) as usize..].fill(0);
            }
            written.of_file = written.of_file.min(len);
        }
        written.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.written();
        for (number, inside, at, part) in parts(offset, data.len()) {
            let mut block = self.block(&written, number)?;
            block[inside..inside + part].copy_from_slice(&data[at..at + part]);
            written.blocks.insert(number, block);
        }
        written.len = written.len.max(offset + data.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn it_is_the_file_and_what_was_written_over_it() {
        let seed = 4;
        println!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let original: Vec<u8> = (0..20_000).map(|_| rng.random()).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &original).unwrap();
        let overlay = Overlay::new(File::open(file.path()).unwrap()).unwrap();
        let mut expected = original.clone();
        for _ in 0..2_000 {
            let offset = rng.random_range(0..30_000_usize);
            match rng.random_range(0..10) {
                0 => {
                    expected.resize(offset, 0);
                    overlay.set_len(offset as u64).unwrap();
                }
                1..6 => {
                    let data: Vec<u8> = (0..rng.random_range(0..9_000)).map(|_| rng.random()).collect();
                    expected.resize(expected.len().max(offset + data.len()), 0);
                    expected[offset..offset + data.len()].copy_from_slice(&data);
                    overlay.write(offset as u64, &data).unwrap();
                }
                _ => {
                    let mut out = vec![0; rng.random_range(0..9_000)];
                    let read = overlay.read(offset as u64, &mut out);
                    let there = expected.get(offset..offset + out.len());
                    assert_eq!(read.is_ok(), there.is_some());
                    assert!(there.is_none_or(|there| there == out), "offset {offset}, {} bytes", out.len());
                }
            }
            assert_eq!(overlay.len().unwrap(), expected.len() as u64);
        }
        assert_eq!(std::fs::read(file.path()).unwrap(), original);
    }
}

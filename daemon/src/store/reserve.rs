//! Room on the disk that nobody else can take: a full disk must still let results drain, and even a deletion writes pages.

use std::{
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use picket_core::limits;
use rustix::fs::{FallocateFlags, fallocate};

pub(super) struct Reserve {
    path: PathBuf,
    held: bool,
}

impl Reserve {
    pub fn new(folder: &Path) -> Self {
        Self { path: folder.join("reserve"), held: false }
    }

    /// Takes the room, if there is so much.
    pub fn hold(&mut self) -> bool {
        self.held = self.held || self.allocate().is_ok();
        self.held
    }

    /// Gives it to the store.
    pub fn release(&mut self) {
        self.held = false;
        let _ = File::create(&self.path).and_then(|file| file.set_len(0));
    }

    fn allocate(&self) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&self.path)?;
        fallocate(&file, FallocateFlags::empty(), 0, limits::STORE_RESERVE_BYTES)?;
        Ok(())
    }
}

//! Files of a bundle: never outside of its folder, but for a model that the manifest puts elsewhere by name; never more than
//! a limit.

use std::{
    cell::RefCell,
    fmt::Write as _,
    fs,
    io::Read,
    path::{Component, Path, PathBuf},
};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{BundleError, MANIFEST, manifest::ModelFile};

/// Everything that a bundle was read from, byte for byte: who gets these files reads the same bundle, without a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The bundle's folder, or a bare model's file; only to speak of it.
    pub path: PathBuf,
    /// By the names that the manifest gives them. A bare model has none.
    pub contents: Vec<(String, Bytes)>,
}

/// A bundle's folder.
pub struct Folder {
    path: PathBuf,
    place: Place,
    /// What was read.
    contents: RefCell<Vec<(String, Bytes)>>,
}

enum Place {
    /// With all links resolved, to see whether a file is really inside.
    Disk(PathBuf),
    /// Nothing is there but what was read before.
    Memory,
}

impl Folder {
    /// # Errors
    /// There is no such folder.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        let real = path.canonicalize().map_err(|error| unreadable(path, &error.to_string()))?;
        if !real.is_dir() {
            return Err(unreadable(path, "it is neither a bundle's folder nor an .onnx file"));
        }
        Ok(Self { path: path.to_owned(), place: Place::Disk(real), contents: RefCell::default() })
    }

    /// The folder that these files were read from, as it was.
    pub fn again(files: Files) -> Self {
        Self { path: files.path, place: Place::Memory, contents: RefCell::new(files.contents) }
    }

    /// What was read of it.
    pub fn into_files(self) -> Files {
        Files { path: self.path, contents: self.contents.into_inner() }
    }

    /// Is there such a file? Says nothing of whether it may be read.
    pub fn has(&self, file: &str) -> bool {
        self.known(file).is_some() || matches!(self.place, Place::Disk(_)) && self.path.join(file).exists()
    }

    fn known(&self, file: &str) -> Option<Bytes> {
        self.contents.borrow().iter().find(|(name, _)| name == file).map(|(_, bytes)| bytes.clone())
    }

    /// What is known of the file, or else what the disk says.
    fn get(&self, file: &str, read: impl FnOnce(&Path) -> Result<Bytes, BundleError>) -> Result<Bytes, BundleError> {
        if let Some(known) = self.known(file) {
            return Ok(known);
        }
        let Place::Disk(real) = &self.place else {
            return Err(unreadable(&self.path.join(file), "it was not read before"));
        };
        let bytes = read(real)?;
        self.contents.borrow_mut().push((file.to_owned(), bytes.clone()));
        Ok(bytes)
    }

    /// The file as people know it.
    pub fn show(&self, file: &str) -> String {
        self.path.join(file).display().to_string()
    }

    pub fn path_of(&self, file: &str) -> PathBuf {
        self.path.join(file)
    }

    /// Reads a file of the folder that has at most `cap` bytes.
    ///
    /// # Errors
    /// `bundle/path-escape` for a path that leads out of the folder, also by a link; `bundle/unreadable`;
    /// `bundle/too-large`.
    pub fn read(&self, file: &str, cap: u64) -> Result<Bytes, BundleError> {
        self.get(file, |folder| {
            let inside = Path::new(file).components().all(|part| matches!(part, Component::Normal(_)));
            if file.is_empty() || !inside {
                return Err(self.escape(file));
            }
            let path = self.path.join(file);
            let real = path.canonicalize().map_err(|error| unreadable(&path, &error.to_string()))?;
            if !real.starts_with(folder) {
                return Err(self.escape(file));
            }
            read_capped(&path, cap)
        })
    }

    /// Reads the model, which may lie elsewhere if the manifest says `path`.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_model(&self, model: &ModelFile, cap: u64) -> Result<Bytes, BundleError> {
        match model {
            ModelFile::Inside(file) => self.read(file, cap),
            ModelFile::Anywhere(path) => self.get(path, |_| read_capped(&self.path.join(path), cap)),
        }
    }

    fn escape(&self, file: &str) -> BundleError {
        let message = format!("{}: `{file}` is not a path inside the bundle", self.path.display());
        BundleError::new("bundle/path-escape", message)
    }
}

/// Reads a regular file of at most `cap` bytes; a longer one is not read at all.
///
/// # Errors
/// `bundle/unreadable` or `bundle/too-large`.
pub fn read_capped(path: &Path, cap: u64) -> Result<Bytes, BundleError> {
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error.to_string()))?;
    // Opening a pipe or a device could wait for ever.
    if !metadata.is_file() {
        return Err(unreadable(path, "it is no regular file"));
    }
    let too_large = || BundleError::new("bundle/too-large", format!("{}: more than {cap} bytes", path.display()));
    if metadata.len() > cap {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(cap + 1).read_to_end(&mut bytes));
    read.map_err(|error| unreadable(path, &error.to_string()))?;
    // It may have grown in between.
    if bytes.len() as u64 > cap {
        return Err(too_large());
    }
    Ok(bytes.into())
}

pub fn unreadable(path: &Path, why: &str) -> BundleError {
    BundleError::new("bundle/unreadable", format!("{}: cannot be read: {why}", path.display()))
}

/// The file's SHA-256, if it is the one that the manifest says.
///
/// # Errors
/// `model/hash-mismatch`.
pub fn expect_sha256(shown: &str, bytes: &[u8], wanted: &str) -> Result<String, BundleError> {
    let sha256 = sha256(bytes);
    if sha256 == wanted.to_ascii_lowercase() {
        return Ok(sha256);
    }
    let message = format!("{shown} is not the file that {MANIFEST} describes: its SHA-256 is {sha256}, not {wanted}");
    Err(BundleError::new("model/hash-mismatch", message))
}

/// SHA-256 in lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

//! Files of a bundle: never outside of its folder, but for a model that the manifest puts elsewhere by name; never more than
//! a limit.

use std::{
    fmt::Write as _,
    fs,
    io::Read,
    path::{Component, Path, PathBuf},
};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{BundleError, manifest::ModelFile};

/// A bundle's folder.
pub struct Folder {
    path: PathBuf,
    /// With all links resolved, to see whether a file is really inside.
    real: PathBuf,
}

impl Folder {
    /// # Errors
    /// There is no such folder.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        let real = path.canonicalize().map_err(|error| unreadable(path, &error.to_string()))?;
        if !real.is_dir() {
            return Err(unreadable(path, "it is neither a bundle's folder nor an .onnx file"));
        }
        Ok(Self { path: path.to_owned(), real })
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
        let inside = Path::new(file).components().all(|part| matches!(part, Component::Normal(_)));
        if file.is_empty() || !inside {
            return Err(self.escape(file));
        }
        let path = self.path.join(file);
        let real = path.canonicalize().map_err(|error| unreadable(&path, &error.to_string()))?;
        if !real.starts_with(&self.real) {
            return Err(self.escape(file));
        }
        read_capped(&path, cap)
    }

    /// Reads the model, which may lie elsewhere if the manifest says `path`.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_model(&self, model: &ModelFile, cap: u64) -> Result<Bytes, BundleError> {
        match model {
            ModelFile::Inside(file) => self.read(file, cap),
            ModelFile::Anywhere(path) => read_capped(&self.path.join(path), cap),
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

/// SHA-256 in lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

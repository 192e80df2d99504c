//! Passwords, tokens, keys and certificates: in files of their own, or where systemd puts a unit's credentials. What is in
//! them is never part of an error.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use picket_core::limits;
use toml::Spanned;

use super::section::{ConfigError, Section};

/// Before the name of a credential, in place of a path.
const CREDENTIAL: &str = "credential:";
/// Where systemd puts those of the unit (systemd.exec(5), `LoadCredential=`).
const FOLDER: &str = "CREDENTIALS_DIRECTORY";

impl Section<'_> {
    /// The bytes of a key, certificate or password file; `credential:NAME` is a file in `$CREDENTIALS_DIRECTORY`.
    ///
    /// # Errors
    /// `secret/missing` when the file cannot be read, or is no secret: a folder, a device, far too large.
    pub fn secret(&self, file: &Spanned<PathBuf>) -> Result<Vec<u8>, ConfigError> {
        read(file.get_ref(), std::env::var_os(FOLDER))
            .map_err(|why| self.fault("secret/missing", Some(file.span()), why))
    }

    /// A password or token: one line of text, without its line end. Spaces may belong to a password.
    ///
    /// # Errors
    /// As [`Section::secret`]; and `secret/missing` when there is no text.
    pub fn secret_line(&self, file: &Spanned<PathBuf>) -> Result<String, ConfigError> {
        let text = String::from_utf8(self.secret(file)?).unwrap_or_default();
        let line = text.trim_end_matches(['\n', '\r']);
        if line.trim().is_empty() || line.contains('\n') {
            let message = format!("{} does not hold one line of text", file.get_ref().display());
            return Err(self.fault("secret/missing", Some(file.span()), message));
        }
        Ok(line.to_owned())
    }
}

/// Where a secret lies: a path as it is, a credential in the unit's folder.
///
/// # Errors
/// No credential's name, or systemd has given none; the text says how they come.
pub fn file_of(named: &Path) -> Result<PathBuf, String> {
    resolve(named, std::env::var_os(FOLDER))
}

/// `folder`: of the unit's credentials, if it has any.
fn resolve(named: &Path, folder: Option<OsString>) -> Result<PathBuf, String> {
    let Some(name) = credential(named) else { return Ok(named.to_owned()) };
    // As systemd has it: a name, and no way out of the folder.
    if name.is_empty() || name.contains('/') || matches!(name, "." | "..") {
        return Err(format!("`{CREDENTIAL}{name}`: a credential has a name, as in `{CREDENTIAL}mqtt-password`"));
    }
    match folder.filter(|folder| !folder.is_empty()) {
        Some(folder) => Ok(Path::new(&folder).join(name)),
        None => Err(format!("`{CREDENTIAL}{name}`: systemd has given no credentials (no ${FOLDER}); {}", hint(name))),
    }
}

fn read(named: &Path, folder: Option<OsString>) -> Result<Vec<u8>, String> {
    let path = resolve(named, folder)?;
    read_file(&path).map_err(|why| match credential(named) {
        None => format!("{} cannot be read: {why}", named.display()),
        Some(name) => format!("`{CREDENTIAL}{name}`: {} cannot be read: {why}; {}", path.display(), hint(name)),
    })
}

fn credential(named: &Path) -> Option<&str> {
    named.to_str()?.strip_prefix(CREDENTIAL)
}

fn hint(name: &str) -> String {
    format!(
        "`LoadCredential={name}:/path/of/the/file` in the unit brings it; a `picket check` by hand has it under \
         `systemd-run --pipe -p LoadCredential={name}:/path/of/the/file`"
    )
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    if !metadata.is_file() || metadata.len() > limits::CONFIG_BYTES {
        return Err(format!("it is no file of at most {} KiB", limits::CONFIG_BYTES >> 10));
    }
    fs::read(path).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_read_from_the_units_folder() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mqtt-password"), "s3cret\n").unwrap();
        let given = || Some(folder.path().as_os_str().to_owned());
        assert_eq!(read(Path::new("credential:mqtt-password"), given()).unwrap(), b"s3cret\n");
        let by_path = folder.path().join("mqtt-password");
        assert_eq!(read(&by_path, None).unwrap(), b"s3cret\n", "a path needs no systemd");
    }

    #[test]
    fn a_credential_that_is_not_there_says_how_it_comes() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("mqtt-password"), "s3cret\n").unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let given = Some(inner.as_os_str().to_owned());
        for (name, folder, words) in [
            ("credential:mqtt-key", given.clone(), "No such file"),
            ("credential:mqtt-key", None, "no $CREDENTIALS_DIRECTORY"),
            ("credential:mqtt-key", Some(OsString::new()), "no $CREDENTIALS_DIRECTORY"),
        ] {
            let why = read(Path::new(name), folder).unwrap_err();
            assert!(why.contains(words) && why.contains("LoadCredential=mqtt-key:"), "{why}");
        }
        for name in ["credential:", "credential:..", "credential:../mqtt-password", "credential:/etc/passwd"] {
            let why = read(Path::new(name), given.clone()).unwrap_err();
            assert!(why.contains("a credential has a name"), "{name}: {why}");
        }
    }
}

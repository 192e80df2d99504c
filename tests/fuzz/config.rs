//! A configuration, whoever wrote it: it is read, or the mistake has a code and a place.
//!
//! An input is `picket.toml`; what follows a line `# conf.d` is a drop-in file beside it.

#![no_main]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fuzzer panics where it finds something")]

use std::{fs, os::unix::fs::symlink, path::Path, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use picket::config::Config;
use tempfile::TempDir;

/// A folder with the project's models in it.
static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models"), folder.path().join("models")).unwrap();
    fs::create_dir(folder.path().join("conf.d")).unwrap();
    fs::write(folder.path().join("token"), "tr0ub4dor-88\n").unwrap();
    folder
});

fuzz_target!(|data: &[u8]| {
    const DROP_IN: &[u8] = b"\n# conf.d\n";
    let split = data.windows(DROP_IN.len()).position(|window| window == DROP_IN);
    let (main, drop_in) = split.map_or((data, None), |at| (&data[..=at], Some(&data[at + 1..])));
    let path = FOLDER.path().join("picket.toml");
    fs::write(&path, main).unwrap();
    let extra = FOLDER.path().join("conf.d/10.toml");
    match drop_in {
        Some(text) => fs::write(extra, text).unwrap(),
        None => drop(fs::remove_file(extra)),
    }
    match Config::load(&path) {
        Ok(config) => {
            assert!(!config.models.is_empty() && !config.transports.is_empty(), "a Picket that can do nothing");
            assert!(config.store.max_bytes > 0);
        }
        Err(error) => {
            let (family, name) = error.code.split_once('/').expect("a code has a family");
            assert!(!family.is_empty() && !name.is_empty());
            let place = FOLDER.path().to_str().unwrap();
            assert!(
                (error.place.is_empty() || error.place.starts_with(place)) && !error.message.is_empty(),
                "{error:?}"
            );
            assert!(!error.to_string().contains("tr0ub4dor-88"), "a secret is told: {error}");
        }
    }
});

//! A scripted life of a store, for a test that ends it or makes its disk fail: `picket-store-script FOLDER SEED COUNT [exit]`.
//!
//! Prints one line of JSON after each transaction. With `exit` the store is not closed at the end.

#![allow(clippy::unwrap_used, reason = "the test sees the panic")]

use std::{fs::File, io::Write as _, os::fd::AsFd};

use picket::{config::OnFull, ports::Store, store::redb::RedbStore};
use picket_tests::script::{Line, Script, setup, snapshot};

/// Exit code: the store does not open.
const NO_STORE: u8 = 3;

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, seed, count) = (&arguments[0], arguments[1].parse().unwrap(), arguments[2].parse().unwrap());
    // `writev` is left to these lines: the test makes `write` fail.
    let mut out = File::from(std::io::stdout().as_fd().try_clone_to_owned().unwrap());
    let mut say = |line: Line| {
        let mut text = serde_json::to_vec(&line).unwrap();
        text.push(b'\n');
        let written = out.write_vectored(&[std::io::IoSlice::new(&text)]).unwrap();
        assert_eq!(written, text.len(), "a pipe takes a line at once");
    };
    let mut store = match RedbStore::open(setup(folder.as_ref(), 64 << 20, OnFull::Reject)) {
        Ok(store) => store,
        Err(error) => {
            // Not `eprintln`: it panics where `write` fails.
            let _ = writeln!(std::io::stderr(), "{error}");
            return NO_STORE.into();
        }
    };
    snapshot(&mut store);
    let mut script = Script::new(seed, true);
    for _ in 0..count {
        let was_broken = store.broken().is_some();
        let acknowledged = script.run(&mut store);
        say(Line {
            expected: script.expected.clone(),
            unsure: script.unsure.clone(),
            broken: store.broken(),
            acknowledged_broken: was_broken && acknowledged,
        });
    }
    if arguments.get(3).is_some_and(|word| word == "exit") {
        std::process::exit(0);
    }
    0.into()
}

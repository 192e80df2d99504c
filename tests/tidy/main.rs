//! What architecture.md and the house's style ask for, as far as a machine can look.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it is broken")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use picket_tests::root;

/// The only names that may stand at the top level, beside dot files.
const TOP_LEVEL: &[&str] = &[
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "clippy.toml",
    "cross",
    "daemon",
    "deny.toml",
    "firmware-profiles",
    "models",
    "picket.toml",
    "rustfmt.toml",
    "target",
    "tests",
];
const LINES_PER_FILE: usize = 400;
const LINES_PER_FUNCTION: usize = 70;

/// All files with this extension, by paths relative to the root.
fn files(extension: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" && name != "__pycache__" {
                walk(&path, extension, found);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    walk(&root(), extension, &mut paths);
    paths.sort();
    let relative = |path: &PathBuf| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
    paths.iter().map(|path| (relative(path), fs::read_to_string(path).unwrap())).collect()
}

/// Fails with one line per finding.
fn report(rule: &str, findings: Vec<String>) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}

/// A file's lines before its in-file tests.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

#[test]
fn the_top_level_is_as_the_architecture_draws_it() {
    let strays = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let strays: Vec<String> =
        strays.filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str())).collect();
    report("nothing else stands at the top level", strays);
}

#[test]
fn the_core_has_no_io_no_clock_and_no_chance() {
    let manifest = fs::read_to_string(root().join("daemon/core/Cargo.toml")).unwrap();
    let manifest: toml::Table = toml::from_str(&manifest).unwrap();
    let dependencies: Vec<&String> = manifest["dependencies"].as_table().unwrap().keys().collect();
    assert_eq!(dependencies, ["serde", "statrs"], "I7: what the core needs is decided in architecture.md");
    let banned =
        ["std::fs", "std::net", "std::env", "std::process", "Instant::now", "SystemTime", "std::thread", "tokio::"];
    let mut findings = Vec::new();
    for (path, text) in files("rs").iter().filter(|(path, _)| path.starts_with("daemon/core/src")) {
        findings
            .extend(banned.iter().filter(|word| product(text).contains(*word)).map(|word| format!("{path}: {word}")));
    }
    report("I7: the core decides and touches nothing", findings);
}

/// Which folder alone may name a crate or a protocol's client.
#[test]
fn plug_ins_keep_their_libraries_to_themselves() {
    let owners = [
        ("tract_", "daemon/src/inference/tract/"),
        ("rumqttc", "daemon/src/transport/mqtt/"),
        ("rumqttd", "daemon/src/transport/mqtt/"),
        ("axum", "daemon/src/transport/http"),
    ];
    let mut findings = Vec::new();
    for (path, text) in files("rs").iter().filter(|(path, _)| path.starts_with("daemon/")) {
        for (word, owner) in owners {
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//") && !line.contains('"'));
            let kernels = word == "tract_" && path.starts_with("daemon/kernels/");
            if !path.starts_with(owner) && !kernels && code.into_iter().any(|line| line.contains(word)) {
                findings.push(format!("{path} names {word}, which belongs to {owner}"));
            }
        }
    }
    report("I7: a plug-in's library stays in its folder", findings);
}

#[test]
fn the_four_kinds_of_plug_ins_do_not_know_one_another() {
    let kinds = ["transport", "inference", "provider", "store"];
    let mut findings = Vec::new();
    for (path, text) in files("rs") {
        let Some(own) = kinds.iter().find(|kind| path.starts_with(&format!("daemon/src/{kind}"))) else { continue };
        for other in kinds.iter().filter(|other| *other != own) {
            if product(&text).contains(&format!("crate::{other}::"))
                || product(&text).contains(&format!("    {other}::"))
            {
                findings.push(format!("{path} knows {other}"));
            }
        }
    }
    report("transport, inference, provider and store meet in run.rs only", findings);
}

/// A file that crashes whoever loads it must do that to a child.
#[test]
fn no_model_is_loaded_before_a_child_has_proven_it() {
    let inside = |path: &str| path.starts_with("daemon/src/inference/") || path.contains("tests");
    let product = files("rs").into_iter().filter(|(path, _)| path.starts_with("daemon/src") && !inside(path));
    let loads = |text: &str| product_lines(text).any(|line| line.contains("Served::load"));
    let mut findings: Vec<String> = product.filter(|(_, text)| loads(text)).map(|(path, _)| path).collect();
    // `--in-process`, for emulators.
    findings.retain(|path| path != "daemon/src/cli/mod.rs");
    report("models come in through inference::admit", findings);
}

fn product_lines(text: &str) -> impl Iterator<Item = &str> {
    product(text).lines().filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn every_queue_has_a_number() {
    let makers = ["mpsc::channel(", "mpsc::channel::<", "sync_channel(", "bounded(", "broadcast::channel("];
    let mut findings = Vec::new();
    for (path, text) in files("rs").iter().filter(|(path, _)| path.starts_with("daemon/src") && !path.contains("tests"))
    {
        let code = product(text);
        if code.contains("unbounded") {
            findings.push(format!("{path}: unbounded"));
        }
        for line in code.lines().filter(|line| makers.iter().any(|maker| line.contains(maker))) {
            let named = line.contains("limits::") || constant_argument(line) || line.contains("PREFETCH");
            if !named {
                findings.push(format!("{path}: {}", line.trim()));
            }
        }
    }
    report("I8: no queue without a number from limits.rs or a named constant", findings);
}

/// `mpsc::channel(HEARD)`
fn constant_argument(line: &str) -> bool {
    let argument = line.rsplit('(').next().unwrap_or_default().trim_end_matches([')', ';', '?']);
    !argument.is_empty() && argument.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

#[test]
fn files_and_functions_have_one_subject() {
    let mut findings = Vec::new();
    for (path, text) in files("rs") {
        let lines = product(&text).lines().count();
        if lines > LINES_PER_FILE {
            findings.push(format!("{path} has {lines} lines"));
        }
        let mut start: Option<(usize, usize, String)> = None;
        for (number, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            if start.is_none() && line.contains("fn ") && line.trim_end().ends_with('{') {
                start = Some((number, indent, line.trim().to_owned()));
            } else if let Some((from, at, name)) = &start
                && indent == *at
                && line.trim() == "}"
            {
                if number - from > LINES_PER_FUNCTION {
                    findings.push(format!("{path}: {} lines: {name}", number - from));
                }
                start = None;
            }
        }
    }
    report("files have at most 400 lines, functions at most 70", findings);
}

#[test]
fn nothing_is_left_for_later_in_silence() {
    let words = ["todo!", "unimplemented!", "FIXME", "XXX", "dbg!("];
    let mut findings = Vec::new();
    for (path, text) in files("rs").iter().filter(|(path, _)| !path.starts_with("tests/tidy")) {
        for (number, line) in text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                findings.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
            if line.contains("#[ignore") && !line.contains('=') {
                findings.push(format!("{path}:{}: an ignored test without the command that runs it", number + 1));
            }
        }
    }
    report("what is missing is said in the README", findings);
}

#[test]
fn unwrap_and_expect_stay_off_the_path_of_a_job() {
    let mut findings = Vec::new();
    for (path, text) in files("rs") {
        let is_product = path.starts_with("daemon/src")
            || path.starts_with("daemon/core/src")
            || path.starts_with("firmware-profiles/src");
        if !is_product || path.contains("tests") || path.ends_with("/testing.rs") {
            continue;
        }
        for (number, line) in product(&text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if code.contains(".unwrap()") || code.contains(".expect(") {
                findings.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    report("no unwrap and no expect in what ships", findings);
}

/// Docs that name files rot unless somebody looks.
#[test]
fn every_path_that_the_readme_names_exists() {
    let mut findings = Vec::new();
    for document in ["README.md", "models/README.md", "models/train/README.md"] {
        let text = fs::read_to_string(root().join(document)).unwrap();
        let folder = Path::new(document).parent().unwrap();
        for name in
            text.split('`').skip(1).step_by(2).chain(text.split("](").skip(1).map(|r| r.split(')').next().unwrap()))
        {
            let looks_like_a_path = name.contains('/')
                && !name.contains([' ', '{', '*', '<', ':', '$', '…'])
                && !name.starts_with(['/', '.', '~'])
                && (name.ends_with('/') || Path::new(name).extension().is_some());
            // A bundle's own files are named as they stand in a bundle.
            let bases = [root(), root().join(folder), root().join("models/digits")];
            if looks_like_a_path && !bases.iter().any(|base| base.join(name).exists()) {
                findings.push(format!("{document}: {name}"));
            }
        }
    }
    report("paths in the documents exist", findings);
}

#[test]
fn the_project_speaks_of_itself_alone() {
    let private = ["/ro".to_owned() + "ot/", "/wo".to_owned() + "rk/", "/ho".to_owned() + "me/"];
    let mut findings = Vec::new();
    for extension in ["rs", "md", "py", "toml", "sh"] {
        for (path, text) in files(extension) {
            findings.extend(
                private.iter().filter(|word| text.contains(word.as_str())).map(|word| format!("{path}: {word}")),
            );
        }
    }
    report("no machine's paths", findings);
}

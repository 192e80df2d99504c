//! What packages install beside the program: completions and manual pages.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use picket_tests::daemon::picket;

/// Subcommands that people see, with their one-line descriptions' first words, from the program's own help.
fn subcommands() -> Vec<String> {
    let help = String::from_utf8(picket(&["--help"]).stdout).unwrap();
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names: Vec<String> = listed
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .filter(|name| name != "help")
        .collect();
    assert!(names.len() > 10 && names.contains(&"run".to_owned()), "{help}");
    names
}

/// What a program says about a file; `None`: there is no such program.
fn complaints(program: &str, arguments: &[&str], file: &Path) -> Option<String> {
    let output = Command::new(program).args(arguments).arg(file).stdin(Stdio::null()).output();
    let Ok(output) = output else {
        eprintln!("{program} is not there: not asked about {}", file.display());
        return None;
    };
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Some(if output.status.success() { said } else { format!("{}: {said}", output.status) })
}

#[test]
fn completions_parse_and_know_every_subcommand() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let output = picket(&["completions", shell]);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        let script = String::from_utf8(output.stdout).unwrap();
        for name in subcommands() {
            assert!(script.contains(&name), "{shell}: {name}");
        }
        for hidden in ["prove", "manual"] {
            let forms =
                [format!("__{hidden}"), format!("\"{hidden}\""), format!("'{hidden}:"), format!(" {hidden} help")];
            assert!(forms.iter().all(|form| !script.contains(form.as_str())), "{shell}: {hidden}");
        }
        let file = folder.path().join(shell);
        fs::write(&file, script).unwrap();
        let said = complaints(shell, &["-n"], &file);
        assert_eq!(said.unwrap_or_default(), "", "{shell}");
    }
    assert_eq!(picket(&["completions", "tcsh"]).status.code(), Some(2));
}

#[test]
fn every_subcommand_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let output = picket(&["manual", folder.path().to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let first = fs::read_to_string(folder.path().join("picket.1")).unwrap();
    for name in subcommands() {
        let page = fs::read_to_string(folder.path().join(format!("picket-{name}.1"))).unwrap();
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "\"EXIT STATUS\"", "\"SEE ALSO\""] {
            assert!(page.contains(&format!(".SH {section}\n")), "{name} has no {section}:\n{page}");
        }
        assert!(first.contains(&format!("picket\\-{name}")), "{name} is not in picket.1:\n{first}");
    }
    for section in ["FILES", "ENVIRONMENT"] {
        assert!(first.contains(&format!(".SH {section}\n")));
    }
    assert!(folder.path().join("picket-ledger-verify.1").exists(), "commands of commands have theirs, too");
    assert!(!folder.path().join("picket-prove.1").exists() && !folder.path().join("picket-manual.1").exists());

    for page in fs::read_dir(folder.path()).unwrap() {
        let page = page.unwrap().path();
        // Of mandoc's complaints only style is let pass: a page without a date is made the same twice.
        if let Some(said) = complaints("mandoc", &["-T", "lint", "-W", "warning"], &page) {
            let said: Vec<&str> = said.lines().filter(|line| !line.contains("missing date")).collect();
            assert!(said.iter().all(|line| line.starts_with("exit status")), "{said:?}");
        }
        if let Some(said) = complaints("man", &["--warnings", "-l"], &page) {
            assert!(said.contains("EXIT STATUS") && !said.contains("warning"), "{said}");
        }
    }
}

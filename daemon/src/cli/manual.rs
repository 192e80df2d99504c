//! `picket manual`: the manual pages, for who makes packages. What clap knows of a command comes from there; what it cannot
//! know (exit codes, files, environment) stands here.

use std::{fs, path::Path};

use anyhow::Context;
use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, bold, italic, roman},
};

use super::completions::for_people;

/// Beside the command's own sentence.
const MORE: &[(&str, &[&str])] = &[
    (
        "picket",
        &[
            "Every accepted job is on the disk before it is acknowledged, and its result stays there until it is confirmed. \
             A model serves only after its golden vectors came out right on this processor.",
            "picket run is the daemon; the other commands look at it, at its configuration and at models. With --json each \
             prints one JSON object.",
        ],
    ),
    (
        "picket-run",
        &[
            "SIGTERM and SIGINT take no new jobs, finish what can be finished within 10 s and leave the rest in the store. A \
             second one ends the daemon at once; nothing that was acknowledged is lost by that.",
            "Under systemd (Type=notify) it says when it is ready, feeds the watchdog by proven progress only, and logs to \
             the journal.",
        ],
    ),
    (
        "picket-check",
        &["It opens no socket and no store. What is missing at the moment, as a camera, is said and is no error."],
    ),
];

/// What an exit code means where it is not the usual thing.
const CODES: &[(&str, &str, &str)] = &[
    ("picket-demo", "1", "A job was lost, or got two different results."),
    ("picket-ledger-verify", "1", "The ledger is not what was written; the first bad line is named."),
    ("picket-model-check", "1", "The bundle lacks something, or does not prove itself."),
    ("picket-replay", "1", "A decision came out differently, or the log cannot be read."),
    (
        "picket-run",
        "1",
        "Something else failed, as a port that is taken or a disk that breaks. One line on standard error.",
    ),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("PICKET_LOG", "What is logged: a level (error, warn, info, debug, trace), also by target: info,rumqttc=debug."),
    (
        "JOURNAL_STREAM",
        "Set by systemd. Where it is standard error's, the log goes to the journal with fields of its own.",
    ),
    ("CREDENTIALS_DIRECTORY", "Set by systemd. Where the secrets are that the configuration calls credential:NAME."),
    ("NOTIFY_SOCKET, WATCHDOG_USEC", "Set by systemd. Where readiness and progress are told."),
];

pub fn run(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let mut command = for_people().disable_help_subcommand(true);
    command.build();
    let all = names(&command);
    write(&command, &all, folder)
}

/// Of the pages below a command, and its own.
fn names(command: &Command) -> Vec<String> {
    let own = std::iter::once(page(command));
    own.chain(command.get_subcommands().flat_map(names)).collect()
}

fn page(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

fn write(command: &Command, all: &[String], folder: &Path) -> anyhow::Result<()> {
    for below in command.get_subcommands() {
        write(below, all, folder)?;
    }
    let path = folder.join(format!("{}.1", page(command)));
    let text = render(command, all).with_context(|| format!("{} cannot be rendered", path.display()))?;
    fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))
}

fn render(command: &Command, all: &[String]) -> anyhow::Result<String> {
    let name = page(command);
    let man = Man::new(command.clone());
    let mut text = Vec::new();
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    paragraphs(&name).to_writer(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    let mut roff = Roff::new();
    exit_status(&mut roff, command, &name);
    files(&mut roff, command);
    environment(&mut roff, &name);
    see_also(&mut roff, &name, all);
    roff.to_writer(&mut text)?;
    Ok(assembled(&name, &String::from_utf8(text)?))
}

/// The sections as one page. Each begins with the same two lines, and around lists there are breaks that break nothing.
fn assembled(name: &str, sections: &str) -> String {
    // No date: the same source makes the same page.
    let title = format!(".TH {} 1 \"\" \"Picket {}\" \"Picket\"", name.to_uppercase(), env!("CARGO_PKG_VERSION"));
    let lines: Vec<&str> = sections.lines().collect();
    let is_apostrophe = |line: &str| line.starts_with(".ie \\n(.g") || line.starts_with(".el .ds Aq");
    let (begin, rest) = lines.split_at(lines.iter().take_while(|line| is_apostrophe(line)).count());
    let mut page: Vec<&str> = begin.to_vec();
    page.push(&title);
    for (at, line) in rest.iter().enumerate() {
        let next_to_nothing =
            page.last().is_some_and(|line| line.is_empty()) || rest.get(at + 1).is_some_and(|line| line.is_empty());
        if !(is_apostrophe(line) || *line == ".br" && next_to_nothing) {
            page.push(line);
        }
    }
    page.join("\n") + "\n"
}

fn paragraphs(name: &str) -> Roff {
    let mut roff = Roff::new();
    for text in MORE.iter().filter(|(page, _)| *page == name).flat_map(|(_, paragraphs)| *paragraphs) {
        roff.control("PP", []);
        roff.text([roman(*text)]);
    }
    roff
}

fn item(roff: &mut Roff, term: &str, text: &str) {
    roff.control("TP", []);
    roff.text([bold(term)]);
    roff.text([roman(text)]);
}

fn takes(command: &Command, option: &str) -> bool {
    command.get_arguments().any(|argument| argument.get_id() == option)
}

fn exit_status(roff: &mut Roff, command: &Command, name: &str) {
    roff.control("SH", ["EXIT STATUS"]);
    let done =
        if name == "picket-run" { "It was asked to stop, and the store has what is not finished." } else { "Done." };
    item(roff, "0", done);
    let failed = CODES.iter().find(|(page, code, _)| *page == name && *code == "1");
    item(
        roff,
        "1",
        failed.map_or("It failed. One line on standard error says why, with a stable code: error[CODE].", |c| c.2),
    );
    item(roff, "2", "The command line is wrong.");
    let whole = name == "picket";
    if whole || matches!(name, "picket-run" | "picket-dead") || name.starts_with("picket-dead-") {
        item(roff, "75", "Another Picket holds the store (store/locked). Trying again later may help.");
    }
    if whole || takes(command, "config") {
        item(
            roff,
            "78",
            "The configuration is wrong: one line with file, line, column and the nearest right key. No socket was opened. \
             Or the store was written by a newer Picket (store/newer-version), and was left as it is. Trying again does not \
             help, so systemd should not (RestartPreventExitStatus=78).",
        );
    }
}

fn files(roff: &mut Roff, command: &Command) {
    if !takes(command, "config") && command.get_name() != "picket" {
        return;
    }
    roff.control("SH", ["FILES"]);
    item(roff, "/etc/picket/picket.toml", "The configuration, unless --config says otherwise.");
    item(
        roff,
        "/etc/picket/conf.d/*.toml",
        "Read after it, in the order of their names; later keys override earlier ones.",
    );
    item(roff, "/var/lib/picket", "The store, unless [store] path says otherwise: jobs, results, ledger, decisions.");
}

fn environment(roff: &mut Roff, name: &str) {
    if !matches!(name, "picket" | "picket-run" | "picket-check") {
        return;
    }
    roff.control("SH", ["ENVIRONMENT"]);
    for (variable, text) in ENVIRONMENT {
        item(roff, variable, text);
    }
}

/// The pages directly above and below; of the first one all.
fn see_also(roff: &mut Roff, name: &str, all: &[String]) {
    roff.control("SH", ["SEE ALSO"]);
    let below = |page: &&String| page.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'));
    let above = name.rsplit_once('-').map(|(above, _)| above.to_owned()).filter(|above| all.contains(above));
    let mut pages: Vec<&String> = above.iter().chain(all.iter().filter(below)).collect();
    let root = "picket".to_owned();
    if name != "picket" && !pages.contains(&&root) {
        pages.insert(0, &root);
    }
    let mut line = Vec::new();
    let others = ["journalctl", "systemd-creds"].map(str::to_owned);
    let others = if matches!(name, "picket" | "picket-run") { others.iter().collect() } else { Vec::new() };
    for page in pages.into_iter().chain(others) {
        if !line.is_empty() {
            line.push(roman(", "));
        }
        line.extend([italic(page.as_str()), roman("(1)")]);
    }
    roff.text(line);
}

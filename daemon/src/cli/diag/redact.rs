//! What of a configuration may leave in an archive, and what is taken out of everything else.

use std::path::PathBuf;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use toml::{Table, Value};

/// Stands where something was.
const GONE: &str = "<left out>";
/// Shorter texts are words, and would be found everywhere.
const SECRET_BYTES: usize = 4;
/// Behind others, shorter words are no secrets of their own.
const WORD_BYTES: usize = 8;
/// Lines of a key's or certificate's file that are shorter say nothing.
const LINE_BYTES: usize = 16;

/// Keys whose texts say how Picket is set up. What stands under any other key is left out.
const SHOWN: &[&str] = &[
    "after",
    "answer",
    "at",
    "auth_header",
    "backend",
    "board",
    "bundle",
    "bus",
    "chip",
    "class",
    "client_id",
    "confirm",
    "delta",
    "dtype",
    "edge",
    "embedded",
    "fit",
    "format",
    "group",
    "id",
    "keep",
    "kind",
    "label",
    "labels",
    "layout",
    "listen",
    "max",
    "max_body",
    "max_bytes",
    "max_packet",
    "max_tokens_field",
    "mode",
    "model",
    "name",
    "names",
    "on_full",
    "output",
    "outputs",
    "path",
    "pin",
    "pixel",
    "prefix",
    "privacy",
    "profile",
    "providers",
    "qos",
    "readings",
    "region",
    "regions",
    "safe",
    "smaller",
    "step",
    "structured",
    "suffix",
    "sysfs",
    "tensors",
    "unit",
    "url",
    "version",
    "when_full",
];

/// Words of keys and options behind which secrets are.
const SECRET_WORDS: &[&str] = &[
    "pass",
    "secret",
    "token",
    "credential",
    "auth",
    "cookie",
    "key",
    "passwd",
    "pwd",
    "private",
    "bearer",
    "signature",
];

/// All secrets that are known, to be taken out of whatever else is collected.
#[derive(Default)]
pub struct Scrubber {
    secrets: Vec<String>,
    /// Files that hold secrets, as the configuration names them.
    pub files: Vec<PathBuf>,
}

impl Scrubber {
    fn know(&mut self, secret: &str) {
        let secret = secret.trim();
        if secret.len() < SECRET_BYTES {
            return;
        }
        let quoted = serde_json::Value::from(secret).to_string();
        let forms = [secret, quoted.trim_matches('"'), &STANDARD_NO_PAD.encode(secret)].map(str::to_owned);
        self.secrets.extend(forms);
        // `Bearer …`: the word alone may be quoted somewhere.
        if let Some((_, last)) = secret.rsplit_once(' ').filter(|(_, last)| last.len() >= WORD_BYTES) {
            self.know(last);
        }
    }

    /// What is in such a file is taken out, too.
    pub fn know_file(&mut self, content: &[u8]) {
        let text = String::from_utf8_lossy(content);
        self.know(&text);
        text.lines().filter(|line| line.len() >= LINE_BYTES).for_each(|line| self.know(line));
        self.secrets.push(STANDARD_NO_PAD.encode(content));
    }

    /// The text without all that is known.
    pub fn clean(&mut self, text: &str) -> String {
        // The longest first: one may be a part of another.
        self.secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        self.secrets.dedup();
        let mut clean = without_addresses_secrets(text);
        for secret in self.secrets.iter().filter(|secret| secret.len() >= SECRET_BYTES) {
            if clean.contains(secret.as_str()) {
                clean = clean.replace(secret.as_str(), GONE);
            }
        }
        clean
    }

    /// A configuration without its comments and without everything that may be a secret. One that is no TOML keeps its
    /// keys alone.
    pub fn configuration(&mut self, text: &str) -> String {
        let Ok(mut table) = text.parse::<Table>() else { return self.keys_alone(text) };
        self.table(&mut table);
        toml::to_string_pretty(&table).unwrap_or_default()
    }

    fn table(&mut self, table: &mut Table) {
        for (key, value) in table.iter_mut() {
            self.value(key, value);
        }
    }

    fn value(&mut self, key: &str, value: &mut Value) {
        match value {
            Value::Table(table) => self.table(table),
            Value::Array(array) if key == "command" => self.command(array),
            Value::Array(array) => array.iter_mut().for_each(|value| self.value(key, value)),
            Value::String(text) if key.ends_with("_file") => self.files.push(PathBuf::from(text.as_str())),
            Value::String(text) if SHOWN.contains(&key) => {
                if let Some(user) = user_of(text) {
                    self.know_user(&user);
                }
                *text = if key == "url" { shown_address(text) } else { without_addresses_secrets(text) };
            }
            other => {
                if is_secret(key) {
                    self.know(other.as_str().unwrap_or(&other.to_string()));
                }
                // A price by token is no secret.
                let is_number = other.is_float() || other.is_integer();
                if other.is_str() || is_secret(key) && !(is_number && key.contains("token")) {
                    *other = Value::String(GONE.to_owned());
                }
            }
        }
    }

    /// The program, and what of its arguments cannot be a secret.
    fn command(&mut self, arguments: &mut [Value]) {
        let mut before = String::new();
        for argument in arguments {
            let Value::String(text) = argument else { continue };
            let original = text.clone();
            if let Some(user) = user_of(text) {
                self.know_user(&user);
            }
            let is_address = text.contains("://") && !text.starts_with('-');
            let (option, value) = text.split_once(['=', ' ']).unwrap_or((text, ""));
            if !is_address && (is_secret(option) || is_secret(text) && text.contains(':')) {
                self.know(value);
                self.know(text);
                *text = if text.starts_with('-') && !text.contains(' ') { option.to_owned() } else { GONE.to_owned() };
            } else if before.starts_with('-') && is_secret_option(&before) && !text.starts_with('-') {
                self.know(text);
                *text = GONE.to_owned();
            } else {
                *text = without_addresses_secrets(text);
            }
            before = original;
        }
    }

    fn know_user(&mut self, user: &str) {
        self.know(user);
        if let Some((_, password)) = user.split_once(':') {
            self.know(password);
        }
    }

    /// Line by line: headers of tables, and keys without their values.
    fn keys_alone(&mut self, text: &str) -> String {
        let mut shown = String::new();
        for line in text.lines().map(str::trim) {
            let is_name = |name: &str| {
                !name.is_empty()
                    && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ' '))
            };
            if let Some((key, value)) = line.split_once('=').filter(|(key, _)| is_name(key.trim())) {
                let key = key.trim();
                self.know_broken(key, value.trim());
                shown.push_str(&format!("{key} = {GONE}\n"));
            } else if line.starts_with('[') && is_name(line.trim_matches(['[', ']'])) {
                shown.push_str(&format!("{line}\n"));
            }
        }
        shown
    }

    fn know_broken(&mut self, key: &str, value: &str) {
        let value = value.split('#').next().unwrap_or_default().trim().trim_matches(['"', '\'']);
        if key.ends_with("_file") {
            self.files.push(PathBuf::from(value));
        } else if is_secret(key) {
            self.know(value);
        }
        if let Some(user) = user_of(value) {
            self.know_user(&user);
        }
    }
}

fn is_secret(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|secret| word.contains(secret))
}

fn is_secret_option(option: &str) -> bool {
    is_secret(option) || matches!(option, "-u" | "-p" | "-H" | "--user" | "--header" | "-headers")
}

/// `user:password` of an address, with or without its scheme.
fn user_of(text: &str) -> Option<String> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#', ' ']).next().unwrap_or_default();
    authority.rsplit_once('@').map(|(user, _)| user.to_owned())
}

/// Also one that is no address yet.
fn shown_address(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((before, rest)) => {
            let scheme = before.split_once("://").map_or(String::new(), |(scheme, _)| format!("{scheme}://"));
            let rest = rest.split_once('?').map_or(rest.to_owned(), |(path, _)| format!("{path}?{GONE}"));
            format!("{scheme}{GONE}@{rest}")
        }
        None => without_addresses_secrets(text),
    }
}

/// Every address in the text without its user and without its query.
fn without_addresses_secrets(text: &str) -> String {
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ')' | '>' | ',');
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, behind) = rest.split_at(at + 3);
        let (address, after) = behind.split_at(behind.find(ends).unwrap_or(behind.len()));
        clean.push_str(before);
        let authority = address.split(['/', '?', '#']).next().unwrap_or_default();
        let user = authority.rfind('@').map_or(0, |at| at + 1);
        if user > 0 && !authority.starts_with(GONE) {
            clean.push_str(GONE);
            clean.push('@');
        } else {
            clean.push_str(&address[..user]);
        }
        let address = &address[user..];
        match address.split_once('?') {
            Some((path, _)) => {
                clean.push_str(path);
                clean.push('?');
                clean.push_str(GONE);
            }
            None => clean.push_str(address),
        }
        rest = after;
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
# the old password was comment-canary
[device]
id = "press-4"
[mqtt]
url = "mqtt://user:url-canary@broker:1883/x?token=query-canary"
password_file = "/etc/picket/mqtt.password"
password = "typo-canary"
keep_alive_s = 30
[http]
listen = "127.0.0.1:8470"
token_file = "credential:http-token"
[[provider]]
name = "vlm"
prompt = "prompt-canary"
headers = { Authorization = "Bearer header-canary", pin = "GPIO1" }
cost = { input_token = 0.15 }
[[source]]
name = "cam"
command = ["ffmpeg", "-loglevel", "error", "-headers", "Authorization: Basic head2-canary", "--token=flag-canary",
  "--password", "next-canary", "-i", "rtsp://admin:cam-canary@camera/stream?auth=q2-canary"]
"#;

    #[test]
    fn a_configuration_keeps_what_it_sets_up_and_no_secret() {
        let mut scrubber = Scrubber::default();
        let shown = scrubber.configuration(CONFIG);
        assert!(!shown.contains("canary"), "{shown}");
        for kept in [
            "id = \"press-4\"",
            "url = \"mqtt://<left out>@broker:1883/x?<left out>\"",
            "password_file = \"/etc/picket/mqtt.password\"",
            "token_file = \"credential:http-token\"",
            "keep_alive_s = 30",
            "listen = \"127.0.0.1:8470\"",
            "name = \"vlm\"",
            "\"ffmpeg\"",
            "\"-loglevel\"",
            "rtsp://<left out>@camera/stream?<left out>",
        ] {
            assert!(shown.contains(kept), "{kept} is not in\n{shown}");
        }
        assert!(shown.parse::<Table>().is_ok(), "{shown}");
        let files: Vec<&str> = scrubber.files.iter().filter_map(|file| file.to_str()).collect();
        assert_eq!(files, ["credential:http-token", "/etc/picket/mqtt.password"]);
        let log = "typo-canary url-canary header-canary head2-canary flag-canary next-canary cam-canary dHlwby1jYW5hcnk= press-4";
        assert_eq!(
            scrubber.clean(log),
            format!("{} dHlwby1jYW5hcnk= press-4", [GONE; 7].join(" ")).replace("dHlwby1jYW5hcnk", GONE)
        );
    }

    #[test]
    fn what_is_no_toml_keeps_its_keys_alone() {
        let mut scrubber = Scrubber::default();
        let broken = CONFIG.replace("[http]", "[http");
        let shown = scrubber.configuration(&broken);
        assert!(!shown.contains("canary") && shown.contains("[mqtt]\nurl = <left out>\n"), "{shown}");
        assert_eq!(scrubber.clean("typo-canary url-canary"), format!("{GONE} {GONE}"));
    }

    #[test]
    fn secrets_of_files_are_taken_out_also_line_by_line() {
        let mut scrubber = Scrubber::default();
        scrubber.know_file(b"-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----\n");
        assert_eq!(scrubber.clean("said MIGHAgEAMBMGByqGSM49!"), format!("said {GONE}!"));
        scrubber.know_file(b"a \"quoted\" secret\n");
        assert_eq!(scrubber.clean(r#"{"why":"a \"quoted\" secret"}"#), format!(r#"{{"why":"{GONE}"}}"#));
    }

    #[test]
    fn addresses_lose_user_and_query_wherever_they_stand() {
        for (text, clean) in [
            ("see http://a:b@c/d, and (https://e/f?g=h)", "see http://<left out>@c/d, and (https://e/f?<left out>)"),
            ("mqtt://127.0.0.1:1883", "mqtt://127.0.0.1:1883"),
            ("no address: a@b", "no address: a@b"),
            ("x://", "x://"),
        ] {
            assert_eq!(without_addresses_secrets(text), clean);
        }
        assert_eq!(shown_address("user:pw@host"), "<left out>@host");
        assert_eq!(shown_address("mqtt:/user:p@w@host"), "<left out>@host");
    }
}

//! An event as text: what it says, its fields, its code.

use std::fmt::{Debug, Write};

use tracing::{
    Event,
    field::{Field, Visit},
};

/// An event's words and fields, in their order.
#[derive(Default)]
pub struct Line {
    pub message: String,
    pub fields: Vec<(&'static str, String)>,
}

impl Line {
    pub fn of(event: &Event<'_>) -> Self {
        let mut line = Self::default();
        event.record(&mut line);
        line
    }

    /// The field `code`, or a code that the message begins with: `store/full: …`.
    pub fn code(&self) -> Option<&str> {
        let field = self.fields.iter().find(|(name, _)| *name == "code").map(|(_, value)| value.as_str());
        field.or_else(|| self.message.split(": ").next().filter(|word| is_code(word)))
    }

    /// As one reads it: the message, and what belongs to it.
    pub fn text(&self) -> String {
        let mut text = self.message.clone();
        for (name, value) in &self.fields {
            let space = if text.is_empty() { "" } else { " " };
            // Writing into a String cannot fail.
            let _ = if value.contains(char::is_whitespace) || value.is_empty() {
                write!(text, "{space}{name}={value:?}")
            } else {
                write!(text, "{space}{name}={value}")
            };
        }
        text
    }

    fn put(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name => self.fields.push((name, value)),
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}"));
    }
}

/// `area/name`, in small letters.
fn is_code(word: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    word.split_once('/').is_some_and(|(area, name)| part(area) && part(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_a_field_or_the_first_word() {
        let mut line = Line { message: "store/full: the disk is full; results drain".to_owned(), fields: Vec::new() };
        assert_eq!(line.code(), Some("store/full"));
        line.fields.push(("code", "store/failed".to_owned()));
        assert_eq!(line.code(), Some("store/failed"));
        for none in ["ledger: the head", "a/b", "and/or so: 1", "A/b: c", "/b: c", "stopping: no new jobs"] {
            let line = Line { message: none.to_owned(), fields: Vec::new() };
            assert_eq!(line.code().is_some(), none == "a/b", "{none}");
        }
    }

    #[test]
    fn text_that_has_spaces_is_quoted() {
        let fields =
            vec![("model", "digits".to_owned()), ("why", "no \"JSON\"\nat all".to_owned()), ("x", String::new())];
        let line = Line { message: "job failed".to_owned(), fields };
        assert_eq!(line.text(), r#"job failed model=digits why="no \"JSON\"\nat all" x="""#);
    }
}

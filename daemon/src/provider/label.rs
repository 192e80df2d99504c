//! Which of the question's labels a text names.
//!
//! Asked for a label, a model answers with the label, with JSON, or with a sentence. Whatever the form: no label is taken
//! that does not stand in the text, and a text that fits two of them fits none.

use std::ops::Range;

use picket_core::limits;
use serde_json::Value;

/// Why a text names no label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoLabel {
    #[error("it names none of the labels")]
    None,
    #[error("it names several labels")]
    Several,
    #[error("it says what the label is not")]
    Denied,
    #[error("it is too long to be searched for a label")]
    TooLong,
}

/// What reasoning models write before their answer.
const THOUGHT_END: &str = "</think>";

/// Words that turn the meaning of what follows.
const DENIALS: [&str; 7] = ["not", "no", "never", "neither", "nor", "cannot", "without"];

/// Index of the label that `text` names.
pub(super) fn find(text: &str, labels: &[String]) -> Result<usize, NoLabel> {
    let text = text.rsplit(THOUGHT_END).next().unwrap_or_default();
    if text.len() > limits::LABEL_TEXT_BYTES {
        return Err(NoLabel::TooLong);
    }
    let text = unfenced(text.trim());
    if let Some(found) = whole(text, labels) {
        return found;
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => match object.get("label") {
            Some(Value::String(label)) => whole(label, labels).unwrap_or(Err(NoLabel::None)),
            Some(Value::Number(label)) => whole(&label.to_string(), labels).unwrap_or(Err(NoLabel::None)),
            _ => Err(NoLabel::None),
        },
        Ok(Value::String(label)) => whole(&label, labels).unwrap_or(Err(NoLabel::None)),
        _ => within(text, labels),
    }
}

/// A text between the fences of Markdown.
fn unfenced(text: &str) -> &str {
    let inner = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    // The first line may name the language.
    inner.and_then(|inner| inner.split_once('\n')).map_or(text, |(_, body)| body.trim())
}

/// The whole text is a label: exactly, else in another case, with quotes or a full stop around it.
fn whole(text: &str, labels: &[String]) -> Option<Result<usize, NoLabel>> {
    let bare = text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '*' | '.'));
    for candidate in [text, text.trim(), bare] {
        if let Some(index) = labels.iter().position(|label| !label.is_empty() && label == candidate) {
            return Some(Ok(index));
        }
    }
    let lower = bare.to_lowercase();
    let mut same = (0..labels.len()).filter(|index| !lower.is_empty() && labels[*index].to_lowercase() == lower);
    let first = same.next()?;
    Some(if same.next().is_some() { Err(NoLabel::Several) } else { Ok(first) })
}

/// The only label that stands in the text as a word, or as several.
fn within(text: &str, labels: &[String]) -> Result<usize, NoLabel> {
    let text = text.to_lowercase();
    let mut places: Vec<(Range<usize>, usize)> = Vec::new();
    for (index, label) in labels.iter().enumerate().filter(|(_, label)| !label.trim().is_empty()) {
        let label = label.to_lowercase();
        let starts = text.match_indices(&label).map(|(start, _)| start..start + label.len());
        places.extend(starts.filter(|place| is_word(&text, place)).map(|place| (place, index)));
    }
    // "wild cat" is no "cat".
    let part_of = |a: &Range<usize>, b: &Range<usize>| b.start <= a.start && a.end <= b.end && a != b;
    let longest: Vec<_> = places.iter().filter(|(a, _)| !places.iter().any(|(b, _)| part_of(a, b))).collect();
    let Some((_, index)) = longest.first() else { return Err(NoLabel::None) };
    if longest.iter().any(|(_, other)| other != index) {
        return Err(NoLabel::Several);
    }
    let mut rest = text.clone();
    for (place, _) in longest.iter().rev() {
        rest.replace_range(place.clone(), " ");
    }
    let words = rest.split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '’');
    let denied =
        words.into_iter().any(|word| DENIALS.contains(&word) || word.ends_with("n't") || word.ends_with("n’t"));
    if denied { Err(NoLabel::Denied) } else { Ok(*index) }
}

/// Neither side of the place continues the word: `7` is none in `17`, `7.5`, `-7` and `8x7`.
fn is_word(text: &str, place: &Range<usize>) -> bool {
    let (before, after) = (&text[..place.start], &text[place.end..]);
    let joins = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let point = |c: Option<char>| matches!(c, Some('.' | ','));
    let (mut left, mut right) = (before.chars().rev(), after.chars());
    let (last, next) = (left.next(), right.next());
    let goes_on = last.is_some_and(joins) || next.is_some_and(joins);
    let in_a_number = (point(last) && digit(left.next())) || (point(next) && digit(right.next()));
    !goes_on && !in_a_number
}

#[cfg(test)]
#[path = "label_tests.rs"]
mod tests;

//! Answers that are no list of scores.

use picket_core::{
    escalation::{decide::Observation, rating},
    said::Said,
};

use super::AnswerDocument;
use crate::bundle::Bundle;

/// An answer by itself.
pub(super) fn said<'a>(said: &Said, bundle: &'a Bundle) -> AnswerDocument<'a> {
    match said {
        Said::Class(index) => AnswerDocument {
            label: bundle.labels.get(*index).map(String::as_str),
            index: Some(*index),
            ..AnswerDocument::default()
        },
        Said::Value(value) => {
            AnswerDocument { value: Some(*value), unit: bundle.unit.as_deref(), ..AnswerDocument::default() }
        }
    }
}

/// Of tasks without a list of scores.
pub(super) fn local_number<'a>(seen: &Observation, bundle: &'a Bundle) -> AnswerDocument<'a> {
    let rated = rating::rate(seen, &bundle.measure, &rating::rule(&bundle.measure, bundle.temperature));
    let answer = rated.map_or_else(AnswerDocument::default, |(local, _)| said(&local, bundle));
    match seen {
        Observation::Anomaly(score) => AnswerDocument { score: Some(*score), ..answer },
        Observation::Value { sigma, .. } => AnswerDocument { sigma: *sigma, ..answer },
        _ => answer,
    }
}

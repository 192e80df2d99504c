//! `bundle.toml` as it is written, with the place of everything that can be wrong.

use std::ops::Range;

use picket_core::limits;
use serde::Deserialize;
use toml::Spanned;

use super::{
    BundleError, MANIFEST,
    files::Folder,
    states::{RawState, RawStream},
    steps::RawStep,
};
use crate::config::section::{Source, in_plain_words, is_unknown_key};

/// The only format so far.
const FORMAT: &str = "picket-bundle/1";

/// A parsed `bundle.toml` that can say where its mistakes are.
pub struct Manifest {
    pub source: Source,
    pub raw: Raw,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    #[serde(rename = "format")]
    _format: String,
    pub name: Spanned<String>,
    pub version: u64,
    pub task: Spanned<String>,
    pub labels: Option<Spanned<Vec<Spanned<String>>>>,
    pub model: RawModel,
    #[serde(default)]
    pub input: Vec<RawTensor>,
    #[serde(default)]
    pub constant: Vec<RawConstant>,
    #[serde(default)]
    pub output: Vec<RawTensor>,
    #[serde(default)]
    pub state: Vec<RawState>,
    pub stream: Option<RawStream>,
    #[serde(default)]
    pub prepare: Vec<RawStep>,
    #[serde(default)]
    pub conclude: Vec<RawStep>,
    pub decision: Option<Spanned<RawDecision>>,
    pub card: Option<Spanned<Card>>,
    #[serde(default)]
    pub golden: Vec<RawGolden>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawModel {
    /// A file of the bundle …
    pub file: Option<Spanned<String>>,
    /// … or one that may lie elsewhere: absolute, or as seen from the bundle's folder.
    pub path: Option<Spanned<String>>,
    pub sha256: Spanned<String>,
}

/// Where a bundle's model lies. Its digest binds it in either case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelFile {
    /// In the bundle's folder.
    Inside(String),
    /// Wherever: absolute, or as seen from the bundle's folder.
    Anywhere(String),
}

impl ModelFile {
    pub fn name(&self) -> &str {
        let (Self::Inside(name) | Self::Anywhere(name)) = self;
        name
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTensor {
    pub name: Spanned<String>,
    pub dtype: Spanned<String>,
    /// -1 is a dimension that the job decides.
    pub shape: Spanned<Vec<i64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawConstant {
    /// The model's name of it.
    pub input: Spanned<String>,
    /// A number or a truth value for all elements, or a list with one for each.
    pub value: Spanned<toml::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawDecision {
    pub temperature: Option<Spanned<f32>>,
    /// A probability; of an anomaly score, where it begins to be an anomaly.
    pub threshold: Option<Spanned<f32>>,
    /// A number that is off by more is wrong.
    pub tolerance: Option<Spanned<f64>>,
    /// Of the number.
    pub unit: Option<Spanned<String>>,
    /// Name of the output that says how sure the number is, as its standard deviation.
    pub sigma: Option<Spanned<String>>,
    /// From this intersection over union on, two boxes are the same.
    pub iou: Option<Spanned<f64>>,
    /// Labels whose boxes count; the others are not shown.
    pub listed: Option<Spanned<Vec<Spanned<String>>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawGolden {
    pub file: Spanned<String>,
    pub tolerance: Spanned<f64>,
}

/// What a model is for, where it comes from and who answers for it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    pub intended_use: String,
    pub training_data: String,
    pub data_licence: String,
    pub attribution: Option<String>,
    pub known_limits: String,
    /// How well it did, on what.
    pub measured: String,
    pub risk_class: String,
    /// Who answers for it.
    pub responsible: String,
}

/// What `picket model init` writes where only a person knows what belongs there.
pub const PLACEHOLDER: &str = "FILL IN";

impl Card {
    /// Keys that nobody has filled in.
    pub fn open_keys(&self) -> Vec<&'static str> {
        let keys = [
            ("intended_use", &self.intended_use),
            ("training_data", &self.training_data),
            ("data_licence", &self.data_licence),
            ("known_limits", &self.known_limits),
            ("measured", &self.measured),
            ("risk_class", &self.risk_class),
            ("responsible", &self.responsible),
        ];
        let open = |(_, text): &(&str, &String)| text.trim().is_empty() || text.starts_with(PLACEHOLDER);
        keys.into_iter().filter(open).map(|(key, _)| key).collect()
    }
}

/// Reads and parses the manifest of a folder.
///
/// # Errors
/// It cannot be read, is no TOML, or has another form than this version knows.
pub fn read(folder: &Folder) -> Result<Manifest, BundleError> {
    let bytes = folder.read(MANIFEST, limits::CONFIG_BYTES)?;
    let path = folder.path_of(MANIFEST);
    let text = std::str::from_utf8(&bytes).map_err(|error| super::files::unreadable(&path, &error.to_string()))?;
    let source = Source::new(path, text);
    check_format(&source, text)?;
    let raw = toml::from_str(text).map_err(|error| {
        let code = if is_unknown_key(error.message()) { "bundle/unknown-key" } else { "bundle/invalid" };
        at(&source, code, error.span(), in_plain_words(error.message()))
    })?;
    Ok(Manifest { source, raw })
}

/// Before anything else: another format may have other keys.
fn check_format(source: &Source, text: &str) -> Result<(), BundleError> {
    #[derive(Deserialize)]
    struct Head {
        format: Option<Spanned<toml::Value>>,
    }
    let head: Head = toml::from_str(text)
        .map_err(|error| at(source, "bundle/syntax", error.span(), in_plain_words(error.message())))?;
    let Some(format) = head.format else {
        return Err(at(source, "bundle/invalid", None, format!("the first key must be `format = \"{FORMAT}\"`")));
    };
    if format.get_ref().as_str() == Some(FORMAT) {
        return Ok(());
    }
    let message = format!("the format is {}; this Picket reads \"{FORMAT}\"", format.get_ref());
    Err(at(source, "bundle/not-yet", Some(format.span()), message))
}

impl Manifest {
    /// An error at a place of the manifest.
    pub fn error(&self, code: &'static str, span: Option<Range<usize>>, message: impl Into<String>) -> BundleError {
        at(&self.source, code, span, message.into())
    }

    pub fn invalid<T>(&self, place: &Spanned<T>, message: impl Into<String>) -> BundleError {
        self.error("bundle/invalid", Some(place.span()), message)
    }
}

fn at(source: &Source, code: &'static str, span: Option<Range<usize>>, message: String) -> BundleError {
    BundleError::new(code, source.place(span.as_ref()) + &message)
}

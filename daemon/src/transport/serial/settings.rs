//! The section `[serial]`.

use std::{collections::BTreeSet, ops::Range, path::PathBuf, sync::Arc};

use firmware_profiles::{
    nodes::{PROFILES, Profile},
    wire::NodeId,
};
use picket_core::limits;
use serde::Deserialize;
use toml::Spanned;

use crate::config::{
    ConfigError, Section,
    section::{Source, unknown_word},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    port: Vec<RawPort>,
    #[serde(default)]
    node: Vec<Spanned<RawNode>>,
    rate: Option<Spanned<u32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPort {
    path: Spanned<PathBuf>,
    baud: Option<Spanned<u32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNode {
    profile: Option<Spanned<String>>,
    id: Option<Spanned<String>>,
    model: Option<Spanned<String>>,
    readings: Option<Spanned<String>>,
}

/// Default speed of a port, in bits per second.
const BAUD: u32 = 115_200;
/// Default for the frames of a node, per second.
const RATE: u32 = 200;
const RATE_MAX: u32 = 100_000;

/// A checked `[serial]` section.
#[derive(Debug)]
pub(super) struct Settings {
    pub ports: Vec<Port>,
    pub assigned: Vec<Assigned>,
    /// Frames of one node per second.
    pub rate: u32,
    /// Models that are named in the section, and where.
    named: Vec<(String, Range<usize>)>,
    source: Arc<Source>,
}

#[derive(Clone, Debug)]
pub(super) struct Port {
    pub path: PathBuf,
    pub baud: u32,
}

/// Which models a node's frames go to.
#[derive(Clone, Debug)]
pub(super) struct Assigned {
    pub who: Who,
    /// For jobs that name no model.
    pub model: Option<Arc<str>>,
    /// For the windows that its readings fill.
    pub readings: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Who {
    Node(NodeId),
    Profile(&'static Profile),
}

impl Settings {
    pub fn parse(section: &Section<'_>) -> Result<Self, ConfigError> {
        let raw: Raw = section.parse()?;
        if raw.port.is_empty() {
            return Err(section.error(None, "`[[serial.port]]` is missing: a serial line needs a `path`"));
        }
        if raw.port.len() > limits::SERIAL_PORTS {
            return Err(section.error(None, format!("at most {} ports", limits::SERIAL_PORTS)));
        }
        let mut ports: Vec<Port> = Vec::new();
        for RawPort { path, baud } in raw.port {
            if path.get_ref().as_os_str().is_empty() {
                return Err(section.error(Some(path.span()), "`path` is empty"));
            }
            if ports.iter().any(|port| port.path == *path.get_ref()) {
                return Err(section.error(Some(path.span()), "this port is there already"));
            }
            let baud = match baud {
                Some(baud) if !(300..=12_000_000).contains(baud.get_ref()) => {
                    return Err(section.error(Some(baud.span()), "`baud` is between 300 and 12,000,000"));
                }
                baud => baud.map_or(BAUD, Spanned::into_inner),
            };
            ports.push(Port { path: path.into_inner(), baud });
        }
        let rate = match raw.rate {
            Some(rate) if !(1..=RATE_MAX).contains(rate.get_ref()) => {
                let message = format!("`rate` is 1 to {RATE_MAX} frames per second");
                return Err(section.error(Some(rate.span()), message));
            }
            rate => rate.map_or(RATE, Spanned::into_inner),
        };
        let (mut assigned, mut named): (Vec<Assigned>, _) = (Vec::new(), Vec::new());
        for node in raw.node {
            let span = node.span();
            let node = node.into_inner();
            let who = who(section, &node, span.clone())?;
            if assigned.iter().any(|other| other.who == who) {
                return Err(section.error(Some(span), "there is a [[serial.node]] for it already"));
            }
            if node.model.is_none() && node.readings.is_none() {
                return Err(section.error(Some(span), "a [[serial.node]] needs `model`, `readings` or both"));
            }
            let mut note = |name: Option<Spanned<String>>| {
                let name = name?;
                named.push((name.get_ref().clone(), name.span()));
                Some(Arc::from(name.into_inner()))
            };
            assigned.push(Assigned { who, model: note(node.model), readings: note(node.readings) });
        }
        Ok(Self { ports, assigned, rate, named, source: section.source.clone() })
    }

    /// Every model that is named here is one of these.
    pub fn check_models(&self, models: &[&str]) -> Result<(), ConfigError> {
        let known: BTreeSet<&str> = models.iter().copied().collect();
        match self.named.iter().find(|(name, _)| !known.contains(name.as_str())) {
            Some((name, span)) => {
                let message = unknown_word("model", name, models);
                Err(self.source.error("config/unknown-name", Some(span.clone()), message))
            }
            None => Ok(()),
        }
    }
}

fn who(section: &Section<'_>, node: &RawNode, span: Range<usize>) -> Result<Who, ConfigError> {
    match (&node.profile, &node.id) {
        (Some(name), None) => match Profile::by_name(name.get_ref()) {
            Some(profile) => Ok(Who::Profile(profile)),
            None => {
                let known: Vec<&str> = PROFILES.iter().map(|profile| profile.name).collect();
                let message = unknown_word("profile", name.get_ref(), &known);
                Err(section.fault("config/unknown-name", Some(name.span()), message))
            }
        },
        (None, Some(id)) => {
            let text = id.get_ref();
            let hex = text.len() <= 16 && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            match u64::from_str_radix(text, 16) {
                Ok(number) if hex => Ok(Who::Node(NodeId(number))),
                _ => {
                    Err(section.error(Some(id.span()), format!("`{text}` is no node's id: 1 to 16 hexadecimal digits")))
                }
            }
        }
        _ => Err(section.error(Some(span), "a [[serial.node]] has either `profile` or `id`")),
    }
}

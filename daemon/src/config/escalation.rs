//! `[escalation]`: who is asked about doubtful answers.

use picket_core::{
    escalation::{budget::Limits, decide::Mode, money::Money},
    job::{Privacy, ProviderId},
};
use serde::Deserialize;
use toml::Spanned;

use super::{
    provider::ProviderConfig,
    redact::{self, RawSteps, RedactStep},
    section::{ConfigError, Section, unknown_word},
    units::Size,
    words::{choose, id_fault},
};

/// Who is asked about doubtful answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Escalation {
    /// In the order in which they are asked; only those in a region that is allowed.
    pub providers: Vec<ProviderId>,
    /// Class of a job that brings none.
    pub privacy: Privacy,
    /// For models that have no steps of their own.
    pub redact: Vec<RedactStep>,
    /// A certificate has to promise at least this, or it is not in force.
    pub promise: Demand,
    /// Share of the jobs that get a second opinion, drawn by lottery; `None`: what suits traffic and budget.
    pub audit_rate: Option<f64>,
    /// Which comes first, the promise or the budget?
    pub mode: Mode,
    pub budget: Limits,
    /// Sentences for the operator.
    pub warnings: Vec<String>,
}

/// What the owner wants to be promised; `None`: whatever the certificate does.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Demand {
    pub alpha: Option<f64>,
    pub delta: Option<f64>,
}

/// Enough to notice within days when the parts change (escalation.md 2.2, "Lottery audits"); what a plan is made with where
/// nothing is configured.
pub const AUDIT_RATE: f64 = 0.02;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    providers: Vec<Spanned<String>>,
    privacy: Option<Spanned<String>>,
    regions: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    redact: RawSteps,
    alpha: Option<Spanned<f64>>,
    delta: Option<Spanned<f64>>,
    audit_rate: Option<Spanned<f64>>,
    mode: Option<Spanned<String>>,
    #[serde(default)]
    budget: RawBudget,
}

/// What escalation may cost; what is not there is not limited.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBudget {
    money_per_day: Option<Spanned<f64>>,
    bytes_per_day: Option<Size>,
    calls_per_hour: Option<u64>,
}

impl RawBudget {
    fn limits(&self, section: &Section<'_>) -> Result<Limits, ConfigError> {
        let money = |given: &Spanned<f64>| {
            Money::from_units(*given.get_ref()).ok_or_else(|| {
                section.error(Some(given.span()), "`money_per_day` is an amount of at least 0, in the unit of `cost`")
            })
        };
        Ok(Limits {
            money_per_day: self.money_per_day.as_ref().map(money).transpose()?,
            bytes_per_day: self.bytes_per_day.map(|Size(bytes)| bytes),
            calls_per_hour: self.calls_per_hour,
        })
    }
}

pub(super) fn check(section: &Section<'_>, providers: &[ProviderConfig]) -> Result<Escalation, ConfigError> {
    let raw: Raw = section.parse()?;
    let mut chosen = Vec::new();
    for name in &raw.providers {
        let id = provider_id(section, name, providers)?;
        if chosen.contains(&id) {
            return Err(section.error(Some(name.span()), format!("`{}` is in this list twice", name.get_ref())));
        }
        chosen.push(id);
    }
    let privacy = match &raw.privacy {
        Some(word) => {
            let choices = [("ok", Privacy::Ok), ("redacted", Privacy::Redacted), ("never", Privacy::Never)];
            choose(section, "privacy", word, &choices, &[])?
        }
        None => Privacy::default(),
    };
    let mut warnings = Vec::new();
    if let Some(regions) = &raw.regions {
        let allowed = regions_of(section, regions)?;
        let before = chosen.len();
        chosen.retain(|id| may_be_asked(&providers[id.0], &allowed, &mut warnings));
        if chosen.is_empty() && before > 0 {
            warnings
                .push(format!("no provider is in an allowed region ({}): nobody is ever asked", allowed.join(", ")));
        }
    }
    let redact = redact::check(section, &raw.redact)?;
    let share = |given: &Option<Spanned<f64>>, name: &str| match given {
        Some(given) if !(*given.get_ref() > 0.0 && *given.get_ref() < 1.0) => {
            Err(section.error(Some(given.span()), format!("`{name}` lies between 0 and 1, both excluded")))
        }
        given => Ok(given.as_ref().map(|given| *given.get_ref())),
    };
    let promise = Demand { alpha: share(&raw.alpha, "alpha")?, delta: share(&raw.delta, "delta")? };
    let audit_rate = match &raw.audit_rate {
        Some(rate) if !(0.0..=1.0).contains(rate.get_ref()) => {
            return Err(section.error(Some(rate.span()), "`audit_rate` is a share of the jobs, 0 to 1"));
        }
        rate => rate.as_ref().map(|rate| *rate.get_ref()),
    };
    let mode = match &raw.mode {
        Some(word) => {
            let choices = [("promise-first", Mode::PromiseFirst), ("budget-first", Mode::BudgetFirst)];
            choose(section, "mode", word, &choices, &[])?
        }
        None => Mode::default(),
    };
    let budget = raw.budget.limits(section)?;
    Ok(Escalation { providers: chosen, privacy, redact, promise, audit_rate, mode, budget, warnings })
}

fn regions_of<'r>(
    section: &Section<'_>,
    regions: &'r Spanned<Vec<Spanned<String>>>,
) -> Result<Vec<&'r str>, ConfigError> {
    if regions.get_ref().is_empty() {
        let message = "`regions` allows no region, so nobody could be asked; without it every region is allowed";
        return Err(section.error(Some(regions.span()), message));
    }
    let mut allowed = Vec::new();
    for region in regions.get_ref() {
        if let Some(why) = id_fault(region.get_ref()) {
            return Err(section.error(Some(region.span()), why));
        }
        allowed.push(region.get_ref().as_str());
    }
    Ok(allowed)
}

/// A provider that does not say where it is, is not where it may be.
fn may_be_asked(provider: &ProviderConfig, allowed: &[&str], warnings: &mut Vec<String>) -> bool {
    let region = provider.region.as_deref();
    let may = region.is_some_and(|region| allowed.contains(&region));
    if !may {
        let name = &provider.setup.name;
        warnings.push(match region {
            Some(region) => format!("provider {name} is never asked: its region {region} is not in `regions`"),
            None => format!("provider {name} is never asked: it states no `region`, and `regions` is set"),
        });
    }
    may
}

fn provider_id(
    section: &Section<'_>,
    name: &Spanned<String>,
    providers: &[ProviderConfig],
) -> Result<ProviderId, ConfigError> {
    if let Some(index) = providers.iter().position(|provider| *provider.setup.name == **name.get_ref()) {
        return Ok(ProviderId(index));
    }
    let known: Vec<&str> = providers.iter().map(|provider| &*provider.setup.name).collect();
    let message = unknown_word("provider", name.get_ref(), &known);
    Err(section.fault("config/unknown-name", Some(name.span()), message))
}

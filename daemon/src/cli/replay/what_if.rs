//! Another policy, as people write it.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use anyhow::{Context, bail};
use picket_core::{
    escalation::{
        calibration::{Calibration, Certified, State},
        decide::{Circumstances, Mode, Policy},
    },
    job::Privacy,
};
use serde::Deserialize;

use crate::decisions::record::Setting;

/// Keys that are not there leave everything as it was.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    /// Only for this model.
    model: Option<String>,
    /// The bundle's; no certificate is in force then.
    threshold: Option<f32>,
    /// A calibration file of the same model, beside this one.
    calibration: Option<String>,
    /// Another promise out of that calibration's menu.
    alpha: Option<f64>,
    mode: Option<String>,
    answer: Option<String>,
    /// Class of every job.
    privacy: Option<String>,
    /// `false`: no lottery.
    audit: Option<bool>,
    /// Only these may be asked, of those that were configured.
    providers: Option<Vec<String>>,
    /// By provider.
    #[serde(default)]
    accuracy: BTreeMap<String, f64>,
}

/// Another policy, checked as far as that goes without the log.
#[derive(Debug)]
pub(super) struct WhatIf {
    raw: Raw,
    mode: Option<Mode>,
    at_once: Option<bool>,
    privacy: Option<Privacy>,
    /// Of the model with this digest.
    certified: Option<(String, Arc<Certified>)>,
}

impl WhatIf {
    /// # Errors
    /// `replay/bad-policy`, with what is wrong.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let bad = || format!("error[replay/bad-policy]: {}", path.display());
        let text = fs::read_to_string(path).with_context(bad)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, folder).with_context(bad)
    }

    fn parse(text: &str, folder: &Path) -> anyhow::Result<Self> {
        let raw: Raw = toml::from_str(text)?;
        let mode =
            word("mode", &raw.mode, &[("promise-first", Mode::PromiseFirst), ("budget-first", Mode::BudgetFirst)])?;
        let at_once = word("answer", &raw.answer, &[("amend", true), ("with-deadline", false)])?;
        let classes = [("ok", Privacy::Ok), ("redacted", Privacy::Redacted), ("never", Privacy::Never)];
        let privacy = word("privacy", &raw.privacy, &classes)?;
        if raw.threshold.is_some_and(|threshold| !(0.0..=1.0).contains(&threshold)) {
            bail!("`threshold` lies between 0 and 1");
        }
        if let Some((name, share)) = raw.accuracy.iter().find(|(_, share)| !(0.0..=1.0).contains(*share)) {
            bail!("`accuracy.{name}` is a share, {share} is none");
        }
        if raw.threshold.is_some() && raw.calibration.is_some() {
            bail!("`threshold` counts where no certificate is in force: give either it or `calibration`");
        }
        let certified = match (&raw.calibration, raw.alpha) {
            (Some(file), alpha) => Some(certificate(&folder.join(file), alpha)?),
            (None, Some(_)) => bail!("another `alpha` needs a `calibration` whose menu has it: the log has none"),
            (None, None) => None,
        };
        Ok(Self { raw, mode, at_once, privacy, certified })
    }

    /// What would have been in force instead.
    ///
    /// # Errors
    /// It does not fit what the log says of the model.
    pub fn applied(&self, setting: &Setting, around: &Circumstances) -> anyhow::Result<(Policy, Circumstances)> {
        let (mut policy, mut around) = (setting.policy.clone(), around.clone());
        if self.raw.model.as_ref().is_some_and(|model| *model != setting.model) {
            return Ok((policy, around));
        }
        if let Some(threshold) = self.raw.threshold {
            policy.threshold = Some(threshold);
            policy.calibration = State::Missing;
        }
        if let Some((model_sha256, certified)) = &self.certified {
            if *model_sha256 != setting.model_sha256 {
                bail!(
                    "error[replay/bad-policy]: the calibration is not of the model {}; `model = \"…\"` names the one that it \
                     is of",
                    setting.model
                );
            }
            policy.calibration = State::Valid(certified.clone());
            // What suspended another certificate says nothing about this one.
            around.suspect = false;
        }
        policy.mode = self.mode.unwrap_or(policy.mode);
        policy.at_once = self.at_once.unwrap_or(policy.at_once);
        around.privacy = self.privacy.unwrap_or(around.privacy);
        around.audit &= self.raw.audit.unwrap_or(true);
        if let Some(names) = &self.raw.providers {
            if let Some(stranger) = names.iter().find(|name| !setting.providers.contains(name)) {
                bail!(
                    "error[replay/bad-policy]: the log knows no provider {stranger:?}; it knows: {}",
                    setting.providers.join(", ")
                );
            }
            let may = |id| names.iter().any(|name| name == setting.provider(id));
            policy.providers.retain(|id| may(*id));
            around.providers.retain(|view| may(view.id));
        }
        for view in &mut around.providers {
            let stated = self.raw.accuracy.get(setting.provider(view.id));
            view.accuracy = stated.copied().unwrap_or(view.accuracy);
        }
        Ok((policy, around))
    }
}

fn word<T: Copy>(key: &str, given: &Option<String>, known: &[(&str, T)]) -> anyhow::Result<Option<T>> {
    let Some(given) = given else { return Ok(None) };
    let found = known.iter().find(|(word, _)| word == given).map(|(_, value)| *value);
    let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
    found.map(Some).with_context(|| format!("`{key}` cannot be {given:?}: one of {}", words.join(", ")))
}

fn certificate(path: &Path, alpha: Option<f64>) -> anyhow::Result<(String, Arc<Certified>)> {
    let text = fs::read(path).with_context(|| path.display().to_string())?;
    let calibration: Calibration = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
    let digest = crate::bundle::files::sha256(&text);
    let mut certified = calibration
        .certified(&format!("sha256:{digest}"))
        .map_err(|why| anyhow::anyhow!("{}: {why}", path.display()))?;
    if let Some(alpha) = alpha {
        let menu = &calibration.promise.menu;
        let Some(entry) = menu.iter().find(|entry| (entry.alpha - alpha).abs() < 1e-9) else {
            let known: Vec<String> = menu.iter().map(|entry| entry.alpha.to_string()).collect();
            bail!("the menu of {} has no alpha of {alpha}; it has: {}", path.display(), known.join(", "));
        };
        certified.promise.alpha = alpha;
        certified.lambdas = vec![entry.lambda; certified.lambdas.len()];
    }
    Ok((calibration.model_sha256, Arc::new(certified)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<WhatIf, String> {
        WhatIf::parse(text, Path::new(".")).map_err(|error| format!("{error:#}"))
    }

    fn setting() -> Setting {
        Setting {
            model: "digits".to_owned(),
            version: "1".to_owned(),
            model_sha256: "00".to_owned(),
            labels: Vec::new(),
            providers: vec!["hq".to_owned()],
            audit_rate: 0.02,
            policy: Policy::alone(1.0, Some(0.5)),
        }
    }

    #[test]
    fn what_is_not_said_stays_as_it_was() {
        let (policy, around) = parsed("").unwrap().applied(&setting(), &Circumstances::ALONE).unwrap();
        assert_eq!((policy, around), (setting().policy, Circumstances::ALONE));
    }

    #[test]
    fn every_key_does_something() {
        let text = "threshold = 0.9\nmode = \"budget-first\"\nanswer = \"amend\"\nprivacy = \"ok\"\naudit = false\n";
        let before = Circumstances { audit: true, ..Circumstances::ALONE };
        let (policy, around) = parsed(text).unwrap().applied(&setting(), &before).unwrap();
        assert_eq!((policy.threshold, policy.mode, policy.at_once), (Some(0.9), Mode::BudgetFirst, true));
        assert_eq!((around.privacy, around.audit), (Privacy::Ok, false));
        let other = format!("model = \"pump\"\n{text}");
        let (policy, around) = parsed(&other).unwrap().applied(&setting(), &before).unwrap();
        assert_eq!((policy, around), (setting().policy, before));
    }

    #[test]
    fn a_wrong_key_says_what_is_wrong_with_it() {
        for (text, what) in [
            ("treshold = 0.5", "treshold"),
            ("threshold = 5.0", "between 0 and 1"),
            ("mode = \"cheap\"", "promise-first, budget-first"),
            ("alpha = 0.01", "needs a `calibration`"),
            ("calibration = \"none.json\"", "none.json"),
            ("threshold = 0.5\ncalibration = \"none.json\"", "either"),
            ("[accuracy]\nhq = 7.0", "accuracy.hq"),
        ] {
            let why = parsed(text).unwrap_err();
            assert!(why.contains(what), "{text}: {why}");
        }
        let stranger = parsed("providers = [\"vlm\"]").unwrap().applied(&setting(), &Circumstances::ALONE);
        assert!(stranger.unwrap_err().to_string().contains("knows no provider \"vlm\""));
    }
}

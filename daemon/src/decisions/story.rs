//! From records to jobs: what was decided about each, and what came of it.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

use super::{
    read::{self, ReadError, Reading},
    record::{Alarm, At, Closed, End, Ended, Entry, Fault, How, Judged, Said, Setting, SettingId, StoodIn, What},
};

/// One job, as the log knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Story {
    pub setting: Arc<Setting>,
    /// At least one; another for each provider that did not help.
    pub judged: Vec<(At, Judged)>,
    pub faults: Vec<Fault>,
    pub ended: Option<Ended>,
    pub closed: Option<Closed>,
    /// What had suspended the certificate, where it was suspended.
    pub alarm: Option<Alarm>,
    /// The model that the job was for, when a smaller one answered because the board was too hot.
    pub instead_of: Option<String>,
}

impl Story {
    /// What was decided first, when nobody had been asked.
    pub fn first(&self) -> &(At, Judged) {
        &self.judged[0]
    }

    /// What a provider said in the end.
    pub fn said(&self) -> Option<&Said> {
        let at_once = match self.ended.as_ref().map(|ended| &ended.how) {
            Some(How::Answered { by, .. }) => by.as_ref(),
            _ => None,
        };
        at_once.or(match self.closed.as_ref().map(|closed| &closed.end) {
            Some(End::Amended(said) | End::Agreed(said)) => Some(said),
            _ => None,
        })
    }
}

/// What a log tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// In the order of their first decisions.
    pub stories: Vec<Story>,
    pub reading: Reading,
    /// Decisions without the record of what was in force: it is missing.
    pub without_setting: u64,
}

/// Reads a log. `only`: nothing but this job.
///
/// # Errors
/// As [`read::read`].
pub fn tell(log: &Path, only: Option<&str>) -> Result<Told, ReadError> {
    let mut teller = Teller { only, ..Teller::default() };
    let reading = read::read(log, |_, entry| teller.hear(entry))?;
    Ok(Told { stories: teller.stories, reading, without_setting: teller.without_setting })
}

#[derive(Default)]
struct Teller<'a> {
    only: Option<&'a str>,
    settings: HashMap<SettingId, Arc<Setting>>,
    alarms: BTreeMap<String, Alarm>,
    stories: Vec<Story>,
    /// The last one of each job.
    by_job: HashMap<String, usize>,
    without_setting: u64,
}

impl Teller<'_> {
    fn hear(&mut self, Entry { at, what }: Entry) {
        match what {
            What::Setting(setting) => {
                self.settings.entry(setting.id()).or_insert_with(|| Arc::from(setting));
            }
            What::Alarm(alarm) => {
                self.alarms.insert(alarm.model.clone(), alarm);
            }
            What::Judged(judged) => self.judged(at, *judged),
            What::Fault(fault) => self.add(&fault.job.clone(), |story| story.faults.push(fault)),
            What::Ended(ended) => self.add(&ended.job.clone(), |story| story.ended = Some(ended)),
            What::Closed(closed) => self.add(&closed.job.clone(), |story| story.closed = Some(closed)),
            What::StoodIn(StoodIn { job, wanted }) => self.add(&job, |story| story.instead_of = Some(wanted)),
        }
    }

    fn judged(&mut self, at: At, judged: Judged) {
        if self.only.is_some_and(|only| only != judged.job) {
            return;
        }
        // The same job, once more: a provider did not help.
        if judged.around.asked > 0 && self.by_job.contains_key(&judged.job) {
            return self.add(&judged.job.clone(), |story| story.judged.push((at, judged)));
        }
        let Some(setting) = self.settings.get(&judged.setting).cloned() else {
            self.without_setting += 1;
            return;
        };
        let alarm = judged.around.suspect.then(|| self.alarms.get(&setting.model).cloned()).flatten();
        self.by_job.insert(judged.job.clone(), self.stories.len());
        let judged = vec![(at, judged)];
        let (faults, ended, closed, instead_of) = (Vec::new(), None, None, None);
        self.stories.push(Story { setting, judged, faults, ended, closed, alarm, instead_of });
    }

    fn add(&mut self, job: &str, change: impl FnOnce(&mut Story)) {
        if let Some(story) = self.by_job.get(job).and_then(|at| self.stories.get_mut(*at)) {
            change(story);
        }
    }
}

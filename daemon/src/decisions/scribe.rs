//! From what the loop hands over to records: what was in force is written where a file needs it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use picket_core::{
    Decided,
    escalation::alarms::Evidence,
    escalation::decide::Policy,
    job::{JobId, ModelId},
    limits,
};

use super::{
    Counts, Errand, Names,
    book::Book,
    record::{self, Alarm, At, Entry, Judged, Setting, SettingId, What},
};
use crate::calendar::Calendar;

pub(super) struct Scribe {
    folder: PathBuf,
    most: u64,
    names: Names,
    calendar: Box<dyn Calendar>,
    counts: Arc<Counts>,
    /// `None`: it cannot be opened.
    book: Option<Book>,
    at: At,
    /// By model: what was in force last.
    settings: BTreeMap<usize, (Arc<Setting>, SettingId)>,
    /// Settings that are in the file that is written now.
    written: BTreeSet<SettingId>,
    alarms: BTreeMap<usize, Evidence>,
    /// The disk has failed, and nothing was written since.
    failing: bool,
}

impl Scribe {
    pub fn new(folder: PathBuf, most: u64, names: Names, calendar: Box<dyn Calendar>, counts: Arc<Counts>) -> Self {
        Self {
            folder,
            most,
            names,
            calendar,
            counts,
            book: None,
            at: At::default(),
            settings: BTreeMap::new(),
            written: BTreeSet::new(),
            alarms: BTreeMap::new(),
            failing: false,
        }
    }

    pub fn open(&mut self) {
        match Book::open(self.folder.clone(), self.most) {
            Ok((book, opened)) => {
                self.book = Some(book);
                if opened.torn > 0 {
                    self.counts.torn.fetch_add(1, Relaxed);
                    tracing::warn!(bytes = opened.torn, "decisions/torn: an unfinished record was cut off");
                }
                if let Some(moved_to) = opened.moved_to {
                    tracing::warn!(
                        moved_to = %moved_to.display(),
                        "decisions/foreign-version: the log is of another version; it was moved aside and another begins"
                    );
                }
            }
            Err(error) => {
                let folder = self.folder.display();
                tracing::error!(%folder, %error, "decisions/unwritable: no decision is written down");
            }
        }
    }

    /// What comes now, comes together.
    pub fn begin(&mut self) {
        let stamp = self.calendar.stamp();
        self.at = At { wall: stamp.wall, trusted: stamp.trusted };
    }

    pub fn write(&mut self, errand: Errand) {
        if self.book.is_none() {
            return self.counts.drop_some(1);
        }
        self.turn_the_page();
        if self.book.as_ref().is_some_and(Book::is_full) {
            return self.counts.drop_some(1);
        }
        match errand {
            Errand::Decided { job, decided } => self.decided(&job, *decided),
            Errand::Fault(fault) => self.stage(What::Fault(fault)),
            Errand::Ended(ended) => self.stage(What::Ended(ended)),
            Errand::Closed(closed) => self.stage(What::Closed(closed)),
            Errand::StoodIn(stood_in) => self.stage(What::StoodIn(stood_in)),
            Errand::Alarm { model, evidence } => {
                self.alarms.insert(model.0, evidence);
                self.alarm(model.0, evidence);
            }
            Errand::Recertified { model } => {
                self.alarms.remove(&model.0);
            }
            Errand::Close => {}
        }
    }

    fn decided(&mut self, job: &JobId, decided: Decided) {
        let Decided { key: _, model, seen, policy, around, decision } = decided;
        let (setting, id) = self.setting(model, policy);
        if self.written.insert(id) {
            self.stage(What::Setting(Box::new(Setting::clone(&setting))));
        }
        let judged = Judged { job: job.to_string(), setting: id, seen, around, decision };
        self.stage(What::Judged(Box::new(judged)));
    }

    /// What is in force: nearly always what was in force last.
    fn setting(&mut self, model: ModelId, policy: Policy) -> (Arc<Setting>, SettingId) {
        if let Some((setting, id)) = self.settings.get(&model.0).filter(|(setting, _)| setting.policy == policy) {
            return (setting.clone(), *id);
        }
        let names = self.names.models.get(model.0).cloned().unwrap_or_default();
        let setting = Arc::new(Setting {
            model: names.name,
            version: names.version,
            model_sha256: names.sha256,
            labels: names.labels,
            providers: self.names.providers.clone(),
            audit_rate: self.names.audit_rate,
            policy,
        });
        let id = setting.id();
        self.settings.insert(model.0, (setting.clone(), id));
        (setting, id)
    }

    fn alarm(&mut self, model: usize, evidence: Evidence) {
        let model = self.names.models.get(model).map(|names| names.name.clone()).unwrap_or_default();
        self.stage(What::Alarm(Alarm { model, evidence }));
    }

    fn stage(&mut self, what: What) {
        let payload = record::encode(&Entry { at: self.at, what });
        match (payload, &mut self.book) {
            (Ok(payload), Some(book)) if payload.len() <= limits::DECISION_BYTES => book.stage(&payload),
            _ => self.counts.drop_some(1),
        }
    }

    pub fn commit(&mut self) {
        let Some(book) = &mut self.book else { return };
        match book.commit() {
            Ok(()) => self.failing = false,
            Err((records, error)) => {
                self.counts.drop_some(records);
                // Nobody knows which settings got there.
                self.written.clear();
                self.complain(&error);
            }
        }
    }

    fn turn_the_page(&mut self) {
        if !self.book.as_ref().is_some_and(Book::is_full) {
            return;
        }
        self.commit();
        let Some(book) = &mut self.book else { return };
        match book.turn_the_page() {
            Ok(gone) => {
                self.counts.aged.fetch_add(gone, Relaxed);
                self.written.clear();
                for (model, evidence) in self.alarms.clone() {
                    self.alarm(model, evidence);
                }
            }
            Err(error) => self.complain(&error),
        }
    }

    /// Once per outage.
    fn complain(&mut self, error: &std::io::Error) {
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(%error, "decisions/unwritable: decisions are not written down until this works again");
        }
    }
}

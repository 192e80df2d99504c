//! What a job may ask for beside its answer: the same keys as MQTT user properties and as Open Inference Protocol
//! `parameters`.

use picket_core::{
    job::{Failure, JobId, Privacy},
    limits,
    time::Span,
};

/// The options of one job. Defaults are those of a job that says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobOptions {
    pub id: Option<JobId>,
    /// Useful until this long after arrival; never zero, at most [`limits::DEADLINE_MAX`].
    pub deadline: Option<Span>,
    /// 0 (last, the default) to 9 (first).
    pub priority: u8,
    pub privacy: Option<Privacy>,
    /// The answer shall carry the model's output tensors.
    pub outputs: bool,
    /// A later revision of the answer shall go to the reply address too.
    pub amend: bool,
    /// The part that several frames show: only one of them is asked about. For a model that listens to streams it is the
    /// stream's key instead, where there is no `stream`, and keeps nothing from being asked.
    pub group_key: Option<String>,
    /// The stream that this job's samples continue, for models that keep windows or states. Without it and without
    /// `group_key` all jobs are one stream.
    pub stream: Option<String>,
    /// Number in the stream: one that does not follow the last one's begins the stream anew. Without it a gap shows by
    /// its length alone.
    pub seq: Option<u64>,
    /// W3C trace context, passed on as it came.
    pub traceparent: Option<String>,
}

impl JobOptions {
    /// Sets one option from its text. Unknown keys are ignored: they are somebody else's.
    ///
    /// # Errors
    /// `job/invalid-option`, naming key and value.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), Failure> {
        match key {
            "id" => self.id = Some(JobId::new(value).map_err(|why| invalid(key, value, &why))?),
            "deadline-ms" | "deadline_ms" => self.deadline = Some(deadline(key, value)?),
            "group-key" | "group_key" => self.group_key = Some(short_text(key, value)?),
            "stream" => self.stream = Some(short_text(key, value)?),
            "seq" => {
                let number = value.parse().map_err(|_| invalid(key, value, "a whole number from 0 to 2^64 - 1"))?;
                self.seq = Some(number);
            }
            "privacy" => {
                let class = Privacy::parse(value).ok_or_else(|| invalid(key, value, "one of ok, redacted, never"))?;
                self.privacy = Some(class);
            }
            "amend" => self.amend = flag(key, value)?,
            "outputs" => self.outputs = flag(key, value)?,
            "priority" => {
                let number = value.parse().ok().filter(|n| *n <= 9);
                self.priority = number.ok_or_else(|| invalid(key, value, "a whole number from 0 to 9"))?;
            }
            "traceparent" => self.traceparent = Some(short_text(key, value)?),
            _ => {}
        }
        Ok(())
    }

    /// Is this a key that [`Self::set`] knows?
    pub fn knows(key: &str) -> bool {
        matches!(
            key,
            "id" | "deadline-ms"
                | "deadline_ms"
                | "group-key"
                | "group_key"
                | "stream"
                | "seq"
                | "privacy"
                | "amend"
                | "outputs"
                | "priority"
                | "traceparent"
        )
    }
}

/// A failure `job/invalid-option` that names key and value.
pub fn invalid(key: &str, value: &str, want: &str) -> Failure {
    let shown: String = value.chars().take(limits::JOB_ID_BYTES).collect();
    Failure::new("job/invalid-option", format!("`{key}` cannot be {shown:?}: {want}")).expected(want, shown)
}

fn flag(key: &str, value: &str) -> Result<bool, Failure> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(invalid(key, value, "true or false")),
    }
}

/// Milliseconds; fractions count, because JSON writers like to print `1000.0`.
fn deadline(key: &str, value: &str) -> Result<Span, Failure> {
    let micros = value.parse::<f64>().map(|ms| (ms * 1000.0).round()).unwrap_or(f64::NAN);
    let max = limits::DEADLINE_MAX.as_micros();
    // NaN compares false with everything.
    if micros >= 1.0 && micros <= max as f64 {
        return Ok(Span::from_micros(micros as u64));
    }
    Err(invalid(key, value, &format!("milliseconds above 0, at most {}", max / 1000)))
}

fn short_text(key: &str, value: &str) -> Result<String, Failure> {
    if value.is_empty() || value.len() > limits::JOB_TEXT_BYTES {
        return Err(invalid(key, value, &format!("1 to {} bytes", limits::JOB_TEXT_BYTES)));
    }
    Ok(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_says_what_it_wants() {
        let mut options = JobOptions::default();
        for (key, value) in [
            ("id", "press-4/1"),
            ("deadline-ms", "250"),
            ("group-key", "part 7"),
            ("stream", "microphone 2"),
            ("seq", "18446744073709551615"),
            ("privacy", "never"),
            ("amend", "true"),
            ("priority", "9"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("outputs", "true"),
            ("colour", "green"),
        ] {
            assert_eq!(options.set(key, value), Ok(()), "{key}");
            assert_eq!(JobOptions::knows(key), key != "colour");
        }
        assert_eq!(options.id.as_ref().map(JobId::as_str), Some("press-4/1"));
        assert_eq!(options.deadline, Some(Span::from_millis(250)));
        assert_eq!((options.priority, options.privacy), (9, Some(Privacy::Never)));
        assert!(options.amend && options.outputs);
        assert_eq!((options.stream.as_deref(), options.seq), (Some("microphone 2"), Some(u64::MAX)));
    }

    #[test]
    fn a_deadline_may_be_a_fraction() {
        let mut options = JobOptions::default();
        options.set("deadline_ms", "0.5").unwrap();
        assert_eq!(options.deadline, Some(Span::from_micros(500)));
        options.set("deadline_ms", "1000.0").unwrap();
        assert_eq!(options.deadline, Some(Span::from_millis(1000)));
    }

    #[test]
    fn a_wrong_value_is_named() {
        for (key, value) in [
            ("id", "a b"),
            ("id", ""),
            ("deadline-ms", "0"),
            ("deadline-ms", "-1"),
            ("deadline-ms", "NaN"),
            ("deadline-ms", "inf"),
            ("deadline-ms", "86400001"),
            ("deadline-ms", "soon"),
            ("privacy", "Never"),
            ("amend", "1"),
            ("priority", "10"),
            ("priority", "-1"),
            ("group-key", ""),
            ("stream", ""),
            ("seq", "-1"),
            ("seq", "18446744073709551616"),
        ] {
            let failure = JobOptions::default().set(key, value).unwrap_err();
            assert_eq!(failure.code, "job/invalid-option");
            assert!(failure.message.contains(key) && failure.message.contains(value), "{failure}");
        }
    }
}

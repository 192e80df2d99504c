//! Topics and properties, both ways. Pure: no client, no connection.

use std::sync::Arc;

use bytes::Bytes;
use picket_core::{
    job::{AckTicket, Failure, JobId, TransportId},
    limits,
    time::Span,
};
use rumqttc::{Publish, PublishProperties};
use sha2::{Digest, Sha256};

use crate::{
    answer::hex,
    media::Media,
    oip,
    options::{self, JobOptions},
    ports::{Address, Content, Face, InStream, Reply, Request},
    tensor::Dtype,
};

/// The topics of one device.
#[derive(Clone, Debug)]
pub struct Topics {
    transport: TransportId,
    prefix: String,
    /// `{prefix}/{device}`.
    device: String,
    group: Option<String>,
    /// Largest payload of a job, bytes.
    max_payload: usize,
    /// Consumers send receipts.
    receipts: bool,
}

impl Topics {
    pub fn new(transport: TransportId, prefix: &str, device: &str, group: Option<&str>, max_payload: usize) -> Self {
        let (prefix, group) = (prefix.to_owned(), group.map(str::to_owned));
        Self { transport, device: format!("{prefix}/{device}"), prefix, group, max_payload, receipts: false }
    }

    #[must_use]
    pub fn with_receipts(self, receipts: bool) -> Self {
        Self { receipts, ..self }
    }

    /// Filters of jobs for this device, of jobs for whichever Picket of its group is free, and of receipts.
    pub fn subscriptions(&self) -> Vec<String> {
        let shared = self.group.as_ref().map(|group| format!("$share/{group}/{}/group/{group}/job/+", self.prefix));
        let receipts = self.receipts.then(|| self.receipt_topic());
        std::iter::once(format!("{}/job/+", self.device)).chain(shared).chain(receipts).collect()
    }

    fn receipt_topic(&self) -> String {
        format!("{}/receipt", self.device)
    }

    /// A Publish as a receipt: its payload is the id of a job whose result has arrived. `None` when it is something else,
    /// `Some(None)` when it is a receipt for nothing that could be a job.
    pub fn receipt(&self, publish: &Publish) -> Option<Option<JobId>> {
        if !self.receipts || publish.topic != self.receipt_topic() {
            return None;
        }
        let id = std::str::from_utf8(&publish.payload).ok().and_then(|text| JobId::new(text.trim()).ok());
        Some(id)
    }

    pub fn state(&self) -> String {
        format!("{}/state", self.device)
    }

    pub fn loss(&self) -> String {
        format!("{}/loss", self.device)
    }

    pub fn event(&self) -> String {
        format!("{}/event", self.device)
    }

    pub fn dead(&self) -> Address {
        self.address(format!("{}/dead", self.device), None)
    }

    pub fn result(&self, model: &str) -> Address {
        self.address(format!("{}/result/{model}", self.device), None)
    }

    pub fn amend(&self, model: &str) -> Address {
        self.address(format!("{}/amend/{model}", self.device), None)
    }

    fn address(&self, topic: String, correlation: Option<Bytes>) -> Address {
        Address { transport: self.transport, to: topic.into(), correlation }
    }

    /// The model that a job's topic names.
    fn model<'a>(&self, topic: &'a str) -> Option<&'a str> {
        let own = topic.strip_prefix(&self.device).and_then(|rest| rest.strip_prefix("/job/"));
        let shared = || {
            let group = self.group.as_ref()?;
            topic.strip_prefix(&format!("{}/group/{group}/job/", self.prefix))
        };
        own.or_else(shared).filter(|model| !model.contains('/'))
    }

    /// A Publish as a request. `None` when the topic is none of ours. Whatever is wrong with the rest becomes the
    /// request's fault, so that it is answered.
    pub fn request(&self, publish: &Publish, ticket: Option<AckTicket>) -> Option<Request> {
        let topic = std::str::from_utf8(&publish.topic).ok()?;
        let model = self.model(topic)?;
        let none = PublishProperties::default();
        let properties = publish.properties.as_ref().unwrap_or(&none);
        let mut reading = Reading {
            options: JobOptions::default(),
            dtype: None,
            shape: None,
            reply_to: None,
            // A copy: kept results hold it, and a slice would hold the whole packet and its read buffer with it.
            correlation: properties.correlation_data.as_deref().map(Bytes::copy_from_slice),
            fault: None,
        };
        reading.reply_to("response topic", properties.response_topic.as_deref());
        let content = reading.content(publish, properties, self.max_payload);
        let Reading { options, dtype: _, shape: _, reply_to, correlation, fault } = reading;
        let expiry = properties.message_expiry_interval.map(|s| Span::from_millis(u64::from(s) * 1000));
        let in_stream = InStream { key: options.stream.map(Arc::from), seq: options.seq };
        let implied = || implied_id(topic, reply_to.as_deref(), correlation.as_ref(), &in_stream, &publish.payload);
        let id = options.id.or_else(implied);
        let to = reply_to.unwrap_or_else(|| format!("{}/result/{model}", self.device));
        Some(Request {
            ticket,
            model: model.into(),
            id,
            fault,
            deadline: [options.deadline, expiry].into_iter().flatten().min(),
            expiry,
            priority: options.priority,
            privacy: options.privacy,
            content,
            reply: Reply { to: self.address(to, correlation), face: Face::Message { outputs: options.outputs } },
            amend: options.amend,
            group: options.group_key.map(Arc::from),
            in_stream,
            answer_repeats: false,
        })
    }
}

/// What has been read of a job so far; the first thing wrong is its fault.
struct Reading {
    options: JobOptions,
    dtype: Option<Dtype>,
    shape: Option<Vec<usize>>,
    reply_to: Option<String>,
    correlation: Option<Bytes>,
    fault: Option<Failure>,
}

impl Reading {
    fn blame(&mut self, failure: Failure) {
        self.fault.get_or_insert(failure);
    }

    /// Not every broker looks at what callers write there, and each refuses to publish to a wildcard, again and again.
    fn reply_to(&mut self, key: &str, topic: Option<&str>) {
        match topic {
            Some(topic) if valid_topic(topic) => {
                self.reply_to.get_or_insert_with(|| topic.to_owned());
            }
            Some(topic) => self.blame(options::invalid(key, topic, "a topic without wildcards")),
            None => {}
        }
    }

    fn content(&mut self, publish: &Publish, properties: &PublishProperties, max_payload: usize) -> Content {
        let payload = publish.payload.clone();
        let content_type = properties.content_type.as_deref().unwrap_or("application/json");
        let content = match content_type.split(';').next().unwrap_or_default().trim() {
            _ if payload.len() > max_payload => {
                let message = format!("the payload has {} bytes, at most {max_payload} are taken", payload.len());
                let (want, got) = (format!("at most {max_payload} bytes"), format!("{} bytes", payload.len()));
                self.blame(Failure::new("input/too-large", message).expected(want, got));
                // Only what a dead letter shows is kept.
                Content::Raw {
                    bytes: payload.slice(..limits::DEAD_LETTER_BYTES.min(payload.len())),
                    dtype: None,
                    shape: None,
                }
            }
            "application/json" | "" => {
                self.envelope(&payload);
                Content::Oip { json: payload, binary: Bytes::new() }
            }
            "application/octet-stream" => Content::Raw { bytes: payload, dtype: None, shape: None },
            other => match Media::parse(other) {
                Some(media) => Content::Image { bytes: payload, media },
                None => {
                    let message = format!("content type {other:?} is not understood");
                    let known = "application/json, application/octet-stream, image/jpeg, image/png or image/bmp";
                    self.blame(Failure::new("input/undecodable", message).expected(known, other));
                    Content::Raw { bytes: payload, dtype: None, shape: None }
                }
            },
        };
        // User properties come last, so that they win over the same keys in JSON.
        for (key, value) in &properties.user_properties {
            self.property(key, value);
        }
        match content {
            Content::Raw { bytes, .. } => Content::Raw { bytes, dtype: self.dtype, shape: self.shape.take() },
            whole @ (Content::Oip { .. } | Content::Image { .. }) => whole,
        }
    }

    fn envelope(&mut self, json: &[u8]) {
        let envelope = match oip::envelope(json) {
            Ok(envelope) => envelope,
            Err(failure) => return self.blame(failure),
        };
        match envelope.options() {
            Ok(options) => self.options = options,
            Err(failure) => self.blame(failure),
        }
        self.reply_to("reply_to", envelope.reply_to.as_deref());
        if let Some(correlation) = envelope.correlation {
            self.correlation.get_or_insert(correlation.into());
        }
    }

    fn property(&mut self, key: &str, value: &str) {
        let result = match key {
            "dtype" => Dtype::parse(value)
                .map(|dtype| self.dtype = Some(dtype))
                .ok_or_else(|| options::invalid(key, value, "a type such as FP32 or UINT8")),
            "shape" => parse_shape(value)
                .map(|shape| self.shape = Some(shape))
                .ok_or_else(|| options::invalid(key, value, "dimensions such as 1x64 or [1,64]")),
            _ => self.options.set(key, value),
        };
        if let Err(failure) = result {
            self.blame(failure);
        }
    }
}

/// `1x64`, `1,64` or `[1, 64]`.
fn parse_shape(text: &str) -> Option<Vec<usize>> {
    let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
    inner.split([',', 'x']).map(|dim| dim.trim().parse().ok()).collect()
}

fn valid_topic(topic: &str) -> bool {
    !topic.is_empty() && topic.len() <= 65_535 && !topic.contains(['+', '#', '\0'])
}

/// An id for a job that brings none but can be told from others: its correlation data, with a digest of where it came
/// from and what it is, because callers count their correlation data from zero at every start.
fn implied_id(
    topic: &str,
    reply_to: Option<&str>,
    correlation: Option<&Bytes>,
    in_stream: &InStream,
    payload: &[u8],
) -> Option<JobId> {
    let correlation = correlation?;
    let mut hash = Sha256::new();
    if *in_stream != InStream::default() {
        hash.update(format!("{in_stream:?}"));
    }
    for part in [topic.as_bytes(), reply_to.unwrap_or_default().as_bytes(), correlation, payload] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let shown = &correlation[..correlation.len().min(32)];
    JobId::new(&format!("{}-{}", hex(shown), hex(&hash.finalize()[..8]))).ok()
}

/// Properties of a result.
pub(super) fn result_properties(
    correlation: Option<&Bytes>,
    code: Option<&Arc<str>>,
    left: Option<Span>,
) -> PublishProperties {
    PublishProperties {
        content_type: Some("application/json".to_owned()),
        correlation_data: correlation.cloned(),
        // Rounded up: a result that is in time must not expire at the broker.
        message_expiry_interval: left
            .map(|left| u32::try_from(left.as_micros().div_ceil(1_000_000)).unwrap_or(u32::MAX)),
        user_properties: code.map(|code| ("error".to_owned(), code.to_string())).into_iter().collect(),
        ..PublishProperties::default()
    }
}

#[cfg(test)]
mod tests {
    use rumqttc::mqttbytes::QoS;

    use super::*;

    fn topics() -> Topics {
        Topics::new(TransportId(0), "picket/v1", "press-4", Some("line-2"), 1_000)
    }

    fn publish(topic: &str, payload: &str, properties: PublishProperties) -> Publish {
        Publish::new(topic, QoS::AtLeastOnce, payload.to_owned(), Some(properties))
    }

    #[test]
    fn jobs_come_on_the_own_topic_and_on_the_groups() {
        let none = PublishProperties::default;
        for topic in ["picket/v1/press-4/job/digits", "picket/v1/group/line-2/job/digits"] {
            let request = topics().request(&publish(topic, "{}", none()), None).unwrap();
            assert_eq!(&*request.model, "digits");
            assert_eq!(&*request.reply.to.to, "picket/v1/press-4/result/digits");
        }
        assert!(topics().request(&publish("picket/v1/press-5/job/digits", "{}", none()), None).is_none());
        assert!(topics().request(&publish("picket/v1/press-4/job/a/b", "{}", none()), None).is_none());
    }

    #[test]
    fn a_raw_job_says_its_type_shape_and_id_in_user_properties() {
        let user =
            [("id", "p/1"), ("dtype", "UINT8"), ("shape", "[1, 64]"), ("deadline-ms", "2000"), ("priority", "3")];
        let properties = PublishProperties {
            content_type: Some("application/octet-stream".into()),
            response_topic: Some("me/answers".into()),
            correlation_data: Some(Bytes::from_static(b"\x01\x02")),
            message_expiry_interval: Some(1),
            user_properties: user.map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec(),
            ..PublishProperties::default()
        };
        let request = topics().request(&publish("picket/v1/press-4/job/digits", "x", properties), None).unwrap();
        assert_eq!(request.id.unwrap().as_str(), "p/1");
        assert_eq!(
            (&*request.reply.to.to, request.reply.to.correlation.as_deref()),
            ("me/answers", Some(&[1u8, 2][..]))
        );
        assert_eq!(request.deadline, Some(Span::from_millis(1000)), "the earlier of deadline and expiry");
        assert_eq!(request.priority, 3);
        let Content::Raw { dtype, shape, .. } = request.content else { panic!() };
        assert_eq!((dtype, shape), (Some(Dtype::Uint8), Some(vec![1, 64])));
    }

    #[test]
    fn an_image_is_what_its_content_type_says() {
        let properties =
            PublishProperties { content_type: Some("image/png; x=y".into()), ..PublishProperties::default() };
        let request = topics().request(&publish("picket/v1/press-4/job/digits", "x", properties), None).unwrap();
        assert_eq!(request.fault, None);
        assert!(matches!(request.content, Content::Image { media: Media::Png, .. }), "{:?}", request.content);
    }

    #[test]
    fn an_answer_never_goes_where_no_broker_takes_it() {
        for wrong in ["me/#", "+/answers", "", "a\0b"] {
            let properties = PublishProperties { response_topic: Some(wrong.into()), ..PublishProperties::default() };
            let job = publish("picket/v1/press-4/job/digits", r#"{"inputs":[]}"#, properties);
            let request = topics().request(&job, None).unwrap();
            assert_eq!(request.fault.unwrap().code, "job/invalid-option", "{wrong:?}");
            assert_eq!(&*request.reply.to.to, "picket/v1/press-4/result/digits");
        }
    }

    #[test]
    fn json_names_its_reply_for_clients_without_mqtt_5() {
        let json = r#"{"id":"a/1","reply_to":"me/a","correlation":"c7","inputs":[]}"#;
        let job = Publish::new("picket/v1/press-4/job/digits", QoS::AtLeastOnce, json, None);
        let request = topics().request(&job, None).unwrap();
        assert_eq!(request.fault, None);
        assert_eq!(request.id.unwrap().as_str(), "a/1");
        assert_eq!((&*request.reply.to.to, request.reply.to.correlation.as_deref()), ("me/a", Some(&b"c7"[..])));
    }

    #[test]
    fn what_is_wrong_becomes_the_jobs_fault() {
        let with = |key: &str, value: &str, content_type: &str| {
            let properties = PublishProperties {
                content_type: Some(content_type.into()),
                user_properties: vec![(key.into(), value.into())],
                ..PublishProperties::default()
            };
            topics()
                .request(&publish("picket/v1/press-4/job/digits", "{}", properties), None)
                .unwrap()
                .fault
                .unwrap()
                .code
        };
        assert_eq!(with("priority", "10", "application/json"), "job/invalid-option");
        assert_eq!(with("shape", "1x-2", "application/octet-stream"), "job/invalid-option");
        assert_eq!(with("x", "y", "image/webp"), "input/undecodable");
        let broken =
            topics().request(&publish("picket/v1/press-4/job/digits", "{", PublishProperties::default()), None);
        assert_eq!(broken.unwrap().fault.unwrap().code, "input/undecodable");
    }

    #[test]
    fn an_oversize_payload_is_refused_and_not_kept() {
        let job = publish("picket/v1/press-4/job/digits", &"x".repeat(1_001), PublishProperties::default());
        let request = topics().request(&job, None).unwrap();
        assert_eq!(request.fault.unwrap().code, "input/too-large");
        assert_eq!(request.content.parts().0.len(), limits::DEAD_LETTER_BYTES);
    }

    #[test]
    fn an_implied_id_tells_jobs_apart_and_repetitions_not() {
        let placed = |place: &InStream, topic: &str, correlation: &'static [u8], payload: &str| {
            implied_id(topic, Some("r"), Some(&Bytes::from_static(correlation)), place, payload.as_bytes()).unwrap()
        };
        let none = InStream::default();
        let id = |topic: &str, correlation, payload: &str| placed(&none, topic, correlation, payload);
        assert_eq!(id("t", b"1", "x"), id("t", b"1", "x"));
        assert_ne!(id("t", b"1", "x"), id("t", b"1", "y"));
        assert_ne!(id("t", b"1", "x"), id("u", b"1", "x"));
        assert!(id("t", &[7; 4000], "x").as_str().len() <= 128);
        assert_eq!(implied_id("t", None, None, &none, b"x"), None);
        // Two chunks of silence.
        let number = |seq| placed(&InStream { key: Some("mic".into()), seq: Some(seq) }, "t", b"1", "x");
        assert_ne!(number(1), number(2));
        assert_eq!(number(1), number(1));
    }
}

//! What a stranger publishes on a job's topic, up to the tensors that the model would get: it is decoded, or it has a fault
//! with a code that is sent back. It never ends the daemon.
//!
//! An input is lines `key: value` with the topic and the properties, an empty line, and the payload.

#![no_main]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a fuzzer panics where it finds something")]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use picket::{
    pipeline,
    ports::TensorSpec,
    tensor::{Dtype, elements},
    transport::mqtt::topics::Topics,
};
use picket_core::job::{Failure, TransportId};
use rumqttc::{Publish, PublishProperties, mqttbytes::QoS};

const MAX_PAYLOAD: usize = 4_096;

fn publish(data: &[u8]) -> Publish {
    let split = data.windows(2).position(|pair| pair == b"\n\n");
    let (head, payload) = split.map_or((&[][..], data), |at| (&data[..at], &data[at + 2..]));
    let mut topic = "picket/v1/press-4/job/digits".to_owned();
    let mut properties = None;
    for line in String::from_utf8_lossy(head).lines() {
        let Some((key, value)) = line.split_once(": ") else { continue };
        if key == "topic" {
            value.clone_into(&mut topic);
            continue;
        }
        let known = properties.get_or_insert_with(PublishProperties::default);
        match key {
            "content-type" => known.content_type = Some(value.to_owned()),
            "response-topic" => known.response_topic = Some(value.to_owned()),
            "correlation" => known.correlation_data = Some(Bytes::copy_from_slice(value.as_bytes())),
            "expiry" => known.message_expiry_interval = value.parse().ok(),
            _ => known.user_properties.push((key.to_owned(), value.to_owned())),
        }
    }
    Publish::new(topic, QoS::AtLeastOnce, Bytes::copy_from_slice(payload), properties)
}

fn is_an_answer(failure: &Failure) {
    let (family, name) = failure.code.split_once('/').expect("a code has a family");
    assert!(matches!(family, "input" | "job"), "{failure:?}");
    assert!(!name.is_empty() && !failure.message.is_empty(), "{failure:?}");
}

fuzz_target!(|data: &[u8]| {
    let topics = Topics::new(TransportId(0), "picket/v1", "press-4", Some("line-2"), MAX_PAYLOAD).with_receipts(true);
    let publish = publish(data);
    if publish.topic.iter().any(|byte| b"+#\0".contains(byte)) {
        return; // No broker sends that.
    }
    let _ = topics.receipt(&publish);
    let Some(request) = topics.request(&publish, None) else { return };
    assert!(request.content.parts().0.len() <= MAX_PAYLOAD, "what is refused is not kept");
    assert!(!request.reply.to.to.contains(['+', '#', '\0']), "no broker takes a message to {:?}", request.reply.to.to);
    if let Some(fault) = &request.fault {
        is_an_answer(fault);
    }
    let spec =
        |name: &str, dtype, shape: &[Option<usize>]| TensorSpec { name: name.into(), dtype, shape: shape.to_vec() };
    let models = [
        vec![spec("image", Dtype::Fp32, &[Some(1), Some(64)])],
        vec![spec("image", Dtype::Uint8, &[None, Some(3), Some(8)]), spec("mask", Dtype::Bool, &[Some(4)])],
        vec![spec("scalar", Dtype::Fp16, &[])],
        vec![spec("free", Dtype::Int64, &[None, None])],
        vec![spec("photo", Dtype::Uint8, &[None, None, Some(3)])],
    ];
    for wanted in models {
        match pipeline::decode(&request.content, &wanted) {
            Ok(tensors) => {
                assert_eq!(tensors.len(), wanted.len());
                for (tensor, spec) in tensors.iter().zip(&wanted) {
                    assert!(tensor.dtype() == spec.dtype && spec.accepts(tensor.shape()), "{tensor:?} is no {spec:?}");
                    assert_eq!(Some(tensor.data().len()), elements(tensor.shape()).map(|n| n * spec.dtype.size()));
                }
            }
            Err(failure) => is_an_answer(&failure),
        }
    }
});

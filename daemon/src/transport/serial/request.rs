//! A node's job as the run loop takes it, and the way back from its id.

use std::sync::Arc;

use firmware_profiles::{
    nodes::Profile,
    wire::{Address, NodeId, Samples},
};
use picket_core::job::{AckTicket, JobId};

use crate::{
    ports::{self, Content, Face, InStream, Reply, Request},
    tensor::Dtype,
};

/// The samples as little-endian `f32`. Counts stand for a share of a channel's full scale, so they must be a whole window
/// of the profile, channel after channel; `None`: they are not.
pub(super) fn values(input: Samples<'_>, profile: &Profile) -> Option<Vec<u8>> {
    let window = usize::from(profile.window);
    match input {
        Samples::Floats(bytes) => Some(bytes.to_vec()),
        Samples::Counts(bytes) => {
            if input.len() != window * profile.channels.len() {
                return None;
            }
            let channels = profile.channels.iter().zip(bytes.chunks_exact(window * 2));
            let values = channels.flat_map(|(channel, bytes)| Samples::Counts(bytes).values(channel.full_scale));
            Some(values.flat_map(f32::to_le_bytes).collect())
        }
    }
}

/// A job with everything left at its default. It belongs to the stream of this start of the node, for models that keep
/// windows or states.
pub(super) fn request(ticket: AckTicket, address: Address, model: Arc<str>, values: Vec<u8>) -> Request {
    let to: Arc<str> = address.to_string().into();
    let stream = format!("node/{}/{}", address.node, address.boot);
    Request {
        ticket: Some(ticket),
        model,
        id: JobId::new(&to).ok(),
        fault: None,
        deadline: None,
        expiry: None,
        priority: 0,
        privacy: None,
        content: Content::Raw { bytes: values.into(), dtype: Some(Dtype::Fp32), shape: None },
        reply: Reply {
            to: ports::Address { transport: ticket.transport, to, correlation: None },
            face: Face::Message { outputs: false },
        },
        amend: true,
        group: None,
        // The numbers of a node's jobs have gaps, so they say nothing of its order.
        in_stream: InStream { key: Some(stream.into()), seq: None },
        answer_repeats: false,
    }
}

/// The frame that a job's id names.
pub(super) fn job_of(id: &str) -> Option<Address> {
    let mut parts = id.strip_prefix("node/")?.split('/');
    let node = NodeId(u64::from_str_radix(parts.next()?, 16).ok()?);
    let address = Address { node, boot: parts.next()?.parse().ok()?, seq: parts.next()?.parse().ok()? };
    (address.to_string() == id).then_some(address)
}

#[cfg(test)]
mod tests {
    use firmware_profiles::nodes::HYDRAULIC_RIG;

    use super::*;

    #[test]
    fn an_id_names_its_frame() {
        let address = Address { node: NodeId(0x386), boot: 7, seq: u32::MAX };
        assert_eq!(job_of(&address.to_string()), Some(address));
        for strange in ["node/386/7/1", "node/0000000000000386/7", "node/0000000000000386/7/1/2", "press-4/1", ""] {
            assert_eq!(job_of(strange), None, "{strange}");
        }
    }

    #[test]
    fn counts_are_shares_of_each_channel_s_full_scale() {
        let counts: Vec<u8> = (0..8 * 60).flat_map(|_| 16_384_i16.to_le_bytes()).collect();
        let values = values(Samples::Counts(&counts), &HYDRAULIC_RIG).unwrap();
        let first = |channel: usize| f32::from_le_bytes(values[channel * 240..][..4].try_into().unwrap());
        assert_eq!((values.len(), first(0), first(4)), (8 * 60 * 4, 64.0, 2.0));
        assert_eq!(super::values(Samples::Counts(&counts[2..]), &HYDRAULIC_RIG), None);
    }
}

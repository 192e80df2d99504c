//! What microcontrollers and the Picket daemon share. No allocator, no standard library.
//!
//! | module | what |
//! |---|---|
//! | [`wire`] | frames, and a receiver that finds them in noise |
//! | [`uplink`] | a node's side of the wire, the same on every board |
//! | [`clock`] | what the other side's clock shows |
//! | [`nodes`] | node profiles: channels, units, rates, windows; data |
//! | [`sensors`] | chips over embedded-hal 1.0, on a microcontroller or on the gateway's own bus |
//! | [`units`] | physical quantities with checked constructors |
//!
//! # How a gateway speaks to nodes
//!
//! One [`wire::Receiver`] for each serial line. Bytes in, frames out, and for each frame an answer:
//!
//! ```
//! use firmware_profiles::{nodes::Profile, wire::{self, Address, Body, Fault, Frame, Receiver, RejectCode}};
//!
//! fn heard(receiver: &mut Receiver, mut bytes: &[u8], mut send: impl FnMut(&[u8]), now_us: u64) {
//!     let mut buffer = [0; wire::ENCODED_MAX];
//!     while let Some(result) = receiver.receive(&mut bytes) {
//!         let (address, body) = match result {
//!             Ok(Frame { address, body: Body::Hello { profile, fingerprint, .. } }) => {
//!                 let known = Profile::by_name(profile).is_some_and(|row| row.fingerprint() == fingerprint);
//!                 let welcome = Body::Welcome { seq: address.seq, now_us, window: 4 };
//!                 (address, if known { welcome } else { Body::Reject { seq: address.seq, code: RejectCode::PROFILE } })
//!             }
//!             // `address` is the job's id. Acknowledge it when it is on disk, or when it was there before.
//!             Ok(Frame { address, body: Body::Job { .. } | Body::Reading { .. } }) => {
//!                 (address, Body::Ack { seq: address.seq })
//!             }
//!             // The verdict `(node, boot, seq)` of this revision need not be sent again.
//!             Ok(Frame { body: Body::Receipt { .. }, .. }) => continue,
//!             Ok(_) => continue,
//!             Err(Fault::Version { address, .. }) => {
//!                 (address, Body::Reject { seq: address.seq, code: RejectCode::VERSION })
//!             }
//!             Err(Fault::Unreadable { address }) => {
//!                 (address, Body::Reject { seq: address.seq, code: RejectCode::UNREADABLE })
//!             }
//!             Err(_) => continue, // Noise: counted by the receiver.
//!         };
//!         // The gateway's own count of frames to this node stands in the address of what it sends.
//!         let answer = Frame { address: Address { seq: 1, ..address }, body };
//!         if let Ok(length) = wire::encode(&answer, &mut buffer) {
//!             send(&buffer[..length]);
//!         }
//!     }
//! }
//! ```
//!
//! Rules that a gateway keeps, because nodes count on them:
//!
//! - **Job id.** `(node, boot, seq)`, which [`wire::Address`] writes as `node/{node}/{boot}/{seq}`. A node repeats a frame
//!   until it is acknowledged: what is known already is acknowledged again and not run again. What a node counted as
//!   `seq` need not be a job, so the ids of its jobs have gaps.
//! - **Ack** only what is safe. **Reject** what never will be, with a code; [`RejectCode::BUSY`](wire::RejectCode::BUSY)
//!   and [`RejectCode::HELLO_FIRST`](wire::RejectCode::HELLO_FIRST) keep the frame with the node.
//! - **Verdict** until its receipt, or until the node says Hello with another `boot`: a node that was restarted has
//!   forgotten its jobs and answers to nothing that is meant for the start before. A revision that amends is one more
//!   Verdict with a higher `revision`; `last` says that none will follow. A job without an answer gets
//!   [`Outcome::Failed`](wire::Outcome::Failed) with the error's code.
//! - **Hello** comes again now and then: each is answered by a Welcome with its `seq` and the time. Its `t_us` and the time
//!   of its arrival make a [`clock::ClockOffset::from_one_way`], which turns the `t_us` of readings to the gateway's time.
//! - One 0x00 first on a line that was just opened. Frames of other nodes on the same line are told apart by their address.

#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[cfg(test)]
extern crate std;

pub mod clock;
pub mod nodes;
pub mod sensors;
pub mod units;
pub mod uplink;
pub mod wire;

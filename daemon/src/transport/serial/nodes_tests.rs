#![allow(clippy::unwrap_used, reason = "a test panics where it is broken")]

use firmware_profiles::{
    nodes::{HYDRAULIC_RIG, MOTOR_CURRENT},
    wire::{Outcome, Receiver, Verdict},
};

use super::{
    nodes::{EPOCH, Heard, Nodes, Out, Rules},
    settings::{Assigned, Who},
};
use crate::ports::{self, Message};
use firmware_profiles::wire::{Address, Body, Fault, Frame, NodeId, RejectCode, Samples};
use picket_core::{
    job::{AckTicket, RowId, TransportId},
    limits,
    time::{Moment, Span},
};

const TRANSPORT: TransportId = TransportId(3);
const MODEL: &str = "hydraulic-pump";
const WALL_US: u64 = 1_800_000_000_000_000;

/// A gateway without ports, whose time is ours.
struct Bench {
    nodes: Nodes,
    now: Moment,
    room: usize,
}

/// What came of something, in words.
#[derive(Debug, PartialEq)]
enum Seen {
    /// Port, boot, and what the frame says.
    Sent(usize, u32, String),
    /// Id and model.
    Job(String, String),
    Done(u64, bool),
    Twice,
}

fn says(body: &Body<'_>) -> String {
    match body {
        Body::Reject { seq, code } => format!("reject {seq} {code}"),
        Body::Welcome { seq, .. } => format!("welcome {seq}"),
        Body::Ack { seq } => format!("ack {seq}"),
        Body::Verdict(Verdict { seq, revision, outcome: Outcome::Class { class, .. }, .. }) => {
            format!("verdict {seq} {revision} {class}")
        }
        other => format!("{other:?}"),
    }
}

impl Bench {
    fn new() -> Self {
        Self::with_rate(1_000)
    }

    fn with_rate(rate: u32) -> Self {
        let who = Who::Profile(&HYDRAULIC_RIG);
        let assigned = vec![Assigned { who, model: Some(MODEL.into()), readings: None }];
        let models = [MODEL.into()].into();
        let nodes = Nodes::new(Rules { transport: TRANSPORT, rate, assigned, models });
        Self { nodes, now: Moment::ZERO, room: 1 }
    }

    fn seen(out: Vec<Out>) -> Vec<Seen> {
        let mut seen = Vec::new();
        for one in out {
            match one {
                Out::Send { port, bytes } => {
                    let mut receiver = Box::new(Receiver::<4_200>::new());
                    let mut bytes = bytes.as_slice();
                    let frame = receiver.receive(&mut bytes).unwrap().unwrap();
                    seen.push(Seen::Sent(port, frame.address.boot, says(&frame.body)));
                }
                Out::Job(request) => {
                    seen.push(Seen::Job(request.id.unwrap().as_str().to_owned(), request.model.to_string()));
                }
                Out::Done { row, taken } => seen.push(Seen::Done(row.0, taken)),
                Out::Twice { .. } => seen.push(Seen::Twice),
                Out::Count(_) => {}
            }
        }
        seen
    }

    fn hear(&mut self, port: usize, address: Address, body: Body<'_>) -> Vec<Seen> {
        let mut out = Vec::new();
        let heard = Heard { now: self.now, wall_us: WALL_US + self.now.as_micros(), port, room: self.room };
        self.nodes.hear(heard, Ok(Frame { address, body }), &mut out);
        Self::seen(out)
    }

    fn hello(&mut self, port: usize, address: Address) -> Vec<Seen> {
        let (profile, fingerprint) = (HYDRAULIC_RIG.name, HYDRAULIC_RIG.fingerprint());
        self.hear(port, address, Body::Hello { profile, fingerprint, t_us: 0 })
    }

    fn job(&mut self, address: Address) -> Vec<Seen> {
        self.hear(0, address, Body::Job { model: "", input: Samples::floats(&[0; 8]).unwrap() })
    }

    fn ack(&mut self, serial: u64) -> Vec<Seen> {
        let mut out = Vec::new();
        self.nodes.ack(AckTicket { transport: TRANSPORT, epoch: EPOCH, serial }, &mut out);
        Self::seen(out)
    }

    fn deliver(&mut self, row: u64, job: Address, revision: u16, class: u16) -> Vec<Seen> {
        let document = serde_json::json!({
            "revision": revision, "final": true, "certified": false, "answer": { "index": class, "confidence": 0.5 },
        });
        let to = ports::Address { transport: TRANSPORT, to: job.to_string().into(), correlation: None };
        let payload = document.to_string().into_bytes().into();
        let message = Message { to, payload, json_len: None, code: None, job: None, expires_at: None };
        let mut out = Vec::new();
        self.nodes.deliver(self.now, RowId(row), &message, &mut out);
        Self::seen(out)
    }

    /// Time passes up to there; what was due meanwhile, with its time in ms.
    fn until(&mut self, end_ms: u64) -> Vec<(u64, Seen)> {
        let end = Moment::ZERO + Span::from_millis(end_ms);
        let mut seen = Vec::new();
        while let Some(due) = self.nodes.next_due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            let mut out = Vec::new();
            self.nodes.tick(self.now, &mut out);
            let at = self.now.as_micros() / 1_000;
            seen.extend(Self::seen(out).into_iter().map(|one| (at, one)));
        }
        self.now = end;
        seen
    }
}

const fn frame(boot: u32, seq: u32) -> Address {
    Address { node: NodeId(0x386), boot, seq }
}

fn sent(boot: u32, what: &str) -> Seen {
    Seen::Sent(0, boot, what.to_owned())
}

#[test]
fn a_job_is_acknowledged_when_it_is_stored_and_its_repetitions_wait_for_that() {
    let mut bench = Bench::new();
    assert_eq!(bench.job(frame(7, 2)), [sent(7, "reject 2 node/hello-first")]);
    assert_eq!(bench.hello(0, frame(7, 1)), [sent(7, "welcome 1")]);
    let handed_in = [Seen::Job("node/0000000000000386/7/2".to_owned(), MODEL.to_owned())];
    assert_eq!(bench.job(frame(7, 2)), handed_in);
    assert_eq!(bench.job(frame(7, 2)), [], "the first one is being stored");
    assert_eq!(bench.ack(0), [sent(7, "ack 2")]);
    assert_eq!(bench.ack(0), []);
    // The Ack was lost: the engine knows the job, and lets another one leave.
    assert_eq!(bench.job(frame(7, 2)), handed_in);
    assert_eq!(bench.ack(1), [sent(7, "ack 2")]);
}

#[test]
fn a_verdict_comes_again_ever_more_seldom_until_its_receipt() {
    let mut bench = Bench::new();
    bench.hello(0, frame(7, 1));
    bench.job(frame(7, 2));
    assert_eq!(bench.deliver(40, frame(7, 2), 1, 2), [sent(7, "verdict 2 1 2")]);
    let times: Vec<u64> = bench.until(30_000).into_iter().map(|(at, _)| at).collect();
    assert_eq!(times, [250, 750, 1_750, 3_750, 7_750, 15_750, 23_750]);
    assert_eq!(bench.hear(0, frame(7, 0), Body::Receipt { seq: 2, revision: 2 }), [], "of another revision");
    assert_eq!(bench.hear(0, frame(8, 0), Body::Receipt { seq: 2, revision: 1 }), [], "of another start");
    assert_eq!(bench.hear(0, frame(7, 0), Body::Receipt { seq: 2, revision: 1 }), [Seen::Done(40, true)]);
    assert_eq!(bench.until(60_000), []);
    assert_eq!(bench.deliver(41, frame(7, 2), 2, 1), [sent(7, "verdict 2 2 1")], "an amendment");
}

#[test]
fn a_node_that_starts_anew_is_told_nothing_of_the_start_before() {
    let mut bench = Bench::new();
    bench.hello(0, frame(7, 1));
    bench.job(frame(7, 2));
    bench.deliver(40, frame(7, 2), 1, 2);
    assert_eq!(bench.hello(0, frame(8, 1)), [sent(8, "welcome 1"), Seen::Done(40, false)]);
    assert_eq!(bench.ack(0), [], "nobody waits for it any more");
    assert_eq!(bench.deliver(41, frame(7, 3), 1, 2), [Seen::Done(41, false)]);
    assert_eq!(bench.until(60_000), []);
}

#[test]
fn rows_of_an_earlier_process_wait_until_their_node_says_hello() {
    let mut bench = Bench::new();
    assert_eq!(bench.deliver(40, frame(7, 2), 1, 2), []);
    assert_eq!(bench.deliver(41, Address { node: NodeId(1), ..frame(7, 2) }, 1, 2), []);
    let mut out = Vec::new();
    bench.nodes.port_is_up(0, true, &mut out);
    let called = [sent(7, "reject 2 node/hello-first"), sent(7, "reject 2 node/hello-first")];
    assert_eq!(Bench::seen(out), called, "whom something is owed to is asked to say Hello");
    assert_eq!(bench.until(3_600_000), []);
    assert_eq!(bench.hello(0, frame(7, 9)), [sent(7, "welcome 9"), sent(7, "verdict 2 1 2")]);
    assert_eq!(bench.hear(0, frame(7, 0), Body::Receipt { seq: 2, revision: 1 }), [Seen::Done(40, true)]);
    // The other node never comes back.
    let day = limits::NODE_FORGOTTEN.as_micros() / 1_000;
    let forgotten = bench.until(2 * day);
    assert_eq!(forgotten, [(day, Seen::Done(41, false))]);
}

#[test]
fn two_nodes_with_one_id_are_told_apart_by_their_ports() {
    let mut bench = Bench::new();
    bench.hello(0, frame(7, 1));
    let taken = Seen::Sent(1, 9, "reject 1 node/id-taken".to_owned());
    assert_eq!(bench.hello(1, frame(9, 1)), [Seen::Twice, taken]);
    let taken = Seen::Sent(1, 9, "reject 2 node/id-taken".to_owned());
    assert_eq!(bench.hello(1, frame(9, 2)), [taken], "it is said once");
    assert_eq!(bench.job(frame(7, 2)).len(), 1, "the first one goes on");
    // Unplugged, it may come back anywhere.
    bench.nodes.port_is_up(0, false, &mut Vec::new());
    assert_eq!(bench.hello(1, frame(9, 3)), [Seen::Sent(1, 9, "welcome 3".to_owned())]);
}

#[test]
fn what_is_too_much_stays_with_the_node() {
    let mut bench = Bench::with_rate(50);
    bench.hello(0, frame(7, 1));
    let jobs = u32::try_from(limits::NODE_JOBS).unwrap();
    for seq in 0..jobs {
        assert_eq!(bench.job(frame(7, 10 + seq)).len(), 1);
        bench.ack(u64::from(seq));
    }
    assert_eq!(bench.job(frame(7, 99)), [sent(7, "reject 99 node/busy")], "too many without an answer");
    bench.deliver(40, frame(7, 10), 1, 0);
    bench.hear(0, frame(7, 0), Body::Receipt { seq: 10, revision: 1 });
    bench.room = 0;
    assert_eq!(bench.job(frame(7, 99)), [sent(7, "reject 99 node/busy")], "the run loop is behind");
    bench.room = 1;
    assert!(matches!(bench.job(frame(7, 99))[..], [Seen::Job(..)]));
    let busy = (0..100).filter(|_| bench.job(frame(7, 99)) == [sent(7, "reject 99 node/busy")]).count();
    assert!(busy > 50, "more frames than its rate: {busy}");
    bench.until(1_000);
    bench.nodes.stop_intake();
    assert_eq!(bench.job(frame(7, 100)), [sent(7, "reject 100 node/busy")]);
}

#[test]
fn strangers_and_bad_frames_are_refused_with_the_reason() {
    let mut bench = Bench::new();
    let hello = Body::Hello { profile: HYDRAULIC_RIG.name, fingerprint: 1, t_us: 0 };
    assert_eq!(bench.hear(0, frame(7, 1), hello), [sent(7, "reject 1 node/profile")]);
    bench.hello(0, frame(7, 2));
    let input = Samples::floats(&[0; 8]).unwrap();
    let unknown = Body::Job { model: "no-such-model", input };
    assert_eq!(bench.hear(0, frame(7, 3), unknown), [sent(7, "reject 3 node/model")]);
    let short = Body::Job { model: MODEL, input: Samples::counts(&[0; 8]).unwrap() };
    assert_eq!(bench.hear(0, frame(7, 4), short), [sent(7, "reject 4 node/input")]);
    let heard = Heard { now: bench.now, wall_us: WALL_US, port: 0, room: 1 };
    let mut out = Vec::new();
    bench.nodes.hear(heard, Err(Fault::Version { version: 9, address: frame(1, 5) }), &mut out);
    bench.nodes.hear(heard, Err(Fault::Noise), &mut out);
    assert_eq!(Bench::seen(out), [sent(1, "reject 5 node/version")]);
    assert_eq!(RejectCode::VERSION.name(), "node/version");
}

#[test]
fn no_more_nodes_than_there_is_room_for() {
    let mut bench = Bench::new();
    let node = |number: usize| Address { node: NodeId(number as u64), ..frame(7, 1) };
    for number in 0..limits::NODES {
        assert_eq!(bench.hello(0, node(number)), [sent(7, "welcome 1")]);
    }
    assert_eq!(bench.hello(0, node(99)), [sent(7, "reject 1 node/busy")]);
    bench.until(limits::NODE_SILENCE.as_micros() / 1_000);
    assert_eq!(bench.hello(0, node(99)), [sent(7, "welcome 1")], "one that is silent makes room");
}

#[test]
fn a_node_that_says_hello_as_another_kind_has_that_kind_s_windows() {
    let mut bench = Bench::new();
    let assigned = vec![Assigned { who: Who::Node(frame(7, 0).node), model: None, readings: Some(MODEL.into()) }];
    bench.nodes = Nodes::new(Rules { transport: TRANSPORT, rate: 1_000, assigned, models: [MODEL.into()].into() });
    bench.hello(0, frame(7, 1));
    let reading = Body::Reading { channel: 5, t_us: 0, samples: Samples::floats(&[0; 8]).unwrap() };
    assert_eq!(bench.hear(0, frame(7, 2), reading), [sent(7, "ack 2")]);
    let (profile, fingerprint) = (MOTOR_CURRENT.name, MOTOR_CURRENT.fingerprint());
    bench.hear(0, frame(7, 3), Body::Hello { profile, fingerprint, t_us: 0 });
    assert_eq!(bench.hear(0, frame(7, 4), reading), [sent(7, "reject 4 node/channel")]);
}

#[test]
fn a_late_reading_that_completes_two_windows_brings_two_jobs() {
    for (room, jobs) in [(2, 2), (1, 1)] {
        let mut bench = Bench::new();
        let assigned = vec![Assigned { who: Who::Node(frame(7, 0).node), model: None, readings: Some(MODEL.into()) }];
        bench.nodes = Nodes::new(Rules { transport: TRANSPORT, rate: 1_000, assigned, models: [MODEL.into()].into() });
        bench.room = room;
        bench.hello(0, frame(7, 1));
        let window = [0; 60 * 4];
        let reading = |channel, t_us| Body::Reading { channel, t_us, samples: Samples::floats(&window).unwrap() };
        // The first block lacks its last channel; the second one is whole.
        for channel in 0..7 {
            assert_eq!(bench.hear(0, frame(7, 10 + u32::from(channel)), reading(channel, 0)).len(), 1);
        }
        for channel in 0..8 {
            assert_eq!(bench.hear(0, frame(7, 20 + u32::from(channel)), reading(channel, 1_000_000)).len(), 1);
        }
        let seen = bench.hear(0, frame(7, 30), reading(7, 0));
        let ids: Vec<bool> = seen.iter().map(|one| matches!(one, Seen::Job(..))).collect();
        assert_eq!(ids, vec![true; jobs], "acknowledged when they are stored: {seen:?}");
        // What found no room comes with the next reading, whatever that is.
        let seen = bench.hear(0, frame(7, 31), reading(0, 2_000_000));
        assert_eq!(seen.iter().filter(|one| matches!(one, Seen::Job(..))).count(), 2 - jobs, "{seen:?}");
    }
}

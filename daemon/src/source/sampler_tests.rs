#![allow(clippy::unwrap_used, reason = "a test panics where it is broken")]

use embedded_hal::i2c::{ErrorKind, ErrorType, Operation};
use firmware_profiles::{
    nodes::Channel,
    sensors::tmp117,
    units::{Hertz, Unit},
};

use super::*;

static PROFILE: Profile = Profile {
    name: "oven",
    channels: &[Channel { name: "inside", unit: Unit::Celsius, rate: Hertz::of(1.0), full_scale: 128.0 }],
    window: 4,
    hop: 2,
};
const CHIP: Chip = Chip { kind: &tmp117::KIND, address: 0x48 };
const PERIOD: Duration = Duration::from_secs(1);

/// What happens at each sample, one after the other.
#[derive(Clone, Copy, Debug)]
enum Step {
    Degrees(i16),
    /// The bus does not answer.
    Away,
    /// The sampler's thread wakes so much too late.
    Late(Duration, i16),
    /// Somebody pulls the trigger before it.
    Edge(i16),
}

/// A bus with one TMP117 (TI SNOSD82: register 15 is its name, 1 its settings, 0 the temperature in 1/128 °C).
struct Bus(Arc<Mutex<Option<Step>>>);

#[derive(Debug)]
struct NoAnswer;

impl embedded_hal::i2c::Error for NoAnswer {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Bus
    }
}

impl ErrorType for Bus {
    type Error = NoAnswer;
}

impl I2c for Bus {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), NoAnswer> {
        assert_eq!(address, 0x48);
        let step = *self.0.lock().unwrap();
        let mut register = 0xff;
        for operation in operations {
            match operation {
                Operation::Write(bytes) => register = bytes[0],
                Operation::Read(bytes) => {
                    let value = match (register, step) {
                        (15, _) => 0x0117,
                        (1, _) => 0x2000,
                        (0, Some(Step::Degrees(degrees) | Step::Late(_, degrees) | Step::Edge(degrees))) => {
                            degrees * 128
                        }
                        _ => return Err(NoAnswer),
                    };
                    bytes.copy_from_slice(&value.to_be_bytes());
                }
            }
        }
        Ok(())
    }
}

/// Lives through the steps in virtual time; all that was said, in order.
fn live(steps: &[Step]) -> Vec<Taken> {
    let (shared, now) = (Arc::new(Shared::default()), Arc::new(Mutex::new(None)));
    let (current, heard) = (now.clone(), Arc::new(Mutex::new(Vec::new())));
    let mut to_come: VecDeque<Step> = steps.iter().copied().collect();
    let (said, outside) = (heard.clone(), shared.clone());
    let wait = move |moment: Instant| {
        let taken = outside.take();
        if taken != Taken::default() {
            said.lock().unwrap().push(taken);
        }
        let step = to_come.pop_front();
        *current.lock().unwrap() = step;
        match step {
            Some(Step::Late(by, _)) => return moment + by,
            Some(Step::Edge(_)) => outside.start_over(),
            Some(_) => {}
            None => outside.stop(),
        }
        moment
    };
    let open = move |_| Ok::<_, String>(Bus(now.clone()));
    let chips = vec![CHIP];
    Sampler { window: &PROFILE, chips, shared, open: Box::new(open), wait: Box::new(wait) }.live();
    std::mem::take(&mut *heard.lock().unwrap())
}

fn windows(said: &[Taken]) -> Vec<Vec<f32>> {
    let floats = |bytes: &Vec<u8>| bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    said.iter().filter_map(|taken| taken.window.as_ref()).map(floats).collect()
}

#[test]
fn windows_overlap_by_the_profile_s_hop() {
    let said = live(&[20, 21, 22, 23, 24, 25, 26, 27].map(Step::Degrees));
    assert!(said[0].is_back, "it says when it begins to measure");
    assert_eq!(windows(&said), [[20.0, 21.0, 22.0, 23.0], [22.0, 23.0, 24.0, 25.0], [24.0, 25.0, 26.0, 27.0]]);
    assert_eq!(said.iter().map(|taken| taken.gaps).sum::<u64>(), 0);
}

#[test]
fn a_window_has_no_gap_in_it_and_a_little_late_is_none() {
    let late = |periods: f64, degrees| Step::Late(PERIOD.mul_f64(periods), degrees);
    let said = live(&[
        Step::Degrees(20),
        Step::Degrees(21),
        late(1.5, 22),
        late(3.5, 23),
        Step::Degrees(24),
        Step::Degrees(25),
        Step::Degrees(26),
    ]);
    assert_eq!(windows(&said), [[23.0, 24.0, 25.0, 26.0]]);
    assert_eq!(said.iter().map(|taken| taken.gaps).sum::<u64>(), 1);
}

#[test]
fn what_was_measured_before_an_edge_does_not_belong_to_it() {
    let said = live(&[
        Step::Degrees(20),
        Step::Degrees(21),
        Step::Degrees(22),
        Step::Edge(23),
        Step::Degrees(24),
        Step::Degrees(25),
        Step::Degrees(26),
    ]);
    assert_eq!(windows(&said), [[23.0, 24.0, 25.0, 26.0]]);
}

#[test]
fn a_chip_that_is_away_is_tried_again_and_its_window_begins_anew() {
    let mut steps = vec![Step::Degrees(20), Step::Degrees(21), Step::Away];
    // The wait before the next try.
    steps.push(Step::Away);
    steps.extend([22, 23, 24, 25].map(Step::Degrees));
    let said = live(&steps);
    let outages: Vec<_> = said.iter().filter_map(|taken| taken.outage.clone()).collect();
    assert_eq!(outages, [("source/no-sensor", "tmp117 at 0x48: the bus: Bus error occurred".to_owned())]);
    assert_eq!(windows(&said), [[22.0, 23.0, 24.0, 25.0]]);
    assert_eq!(said.iter().filter(|taken| taken.is_back).count(), 2);
}

#[test]
fn a_bus_that_is_not_there_is_named() {
    let shared = Arc::new(Shared::default());
    let outside = shared.clone();
    let wait = move |moment: Instant| {
        outside.stop();
        moment
    };
    let open = |_| Err::<Bus, _>("there is no bus".to_owned());
    let chips = vec![CHIP];
    Sampler { window: &PROFILE, chips, shared: shared.clone(), open: Box::new(open), wait: Box::new(wait) }.live();
    assert_eq!(shared.take().outage, Some(("source/no-bus", "there is no bus".to_owned())));
}

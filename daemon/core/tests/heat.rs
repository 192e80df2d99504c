//! The stages of heat against a simple model of a board: one thermal resistance, one time constant, and less power in each
//! stage. Seeded; a failure prints its seed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it is broken")]

use picket_core::{
    Action, Input,
    engine::{Engine, ModelRules, ProviderRules, WhenFull},
    escalation::{
        decide::{Policy, Reason},
        money::Money,
    },
    heat::{Heat, Reading, Stage, ZoneLimits},
    inquiry::{Inquiry, InquiryId, Lane, StoredInquiry},
    job::{JobId, ModelId, Privacy, ProviderId},
    limits,
    said::Said,
    time::{Moment, Span},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

const SEEDS: u64 = 2_000;
const PERIOD_S: f64 = 2.0;
/// Simulated time of one seed's hot part; half as long again for the cool one.
const HOT_STEPS: usize = 2 * 3_600 / 2;

/// dT/dt = (ambient + resistance × power − T) / time constant.
struct Board {
    limits: ZoneLimits,
    ambient: f64,
    /// °C that full power adds in the end.
    rise: f64,
    /// Parts of full power in the stages.
    power: [f64; 3],
    time_constant_s: f64,
    celsius: f64,
}

impl Board {
    fn random(rng: &mut StdRng) -> Self {
        let soft = rng.random_range(60.0..95.0);
        let limits = ZoneLimits::new(soft, soft + rng.random_range(5.0..15.0)).unwrap();
        let ambient = rng.random_range(0.0..50.0);
        let eased = rng.random_range(0.6..0.95);
        let power = [1.0, eased, eased * rng.random_range(0.4..0.95)];
        let rise = rng.random_range(10.0..80.0);
        Self { limits, ambient, rise, power, time_constant_s: rng.random_range(60.0..900.0), celsius: ambient }
    }

    fn end(&self, stage: Stage) -> f64 {
        self.ambient + self.rise * self.power[stage as usize]
    }

    fn pass(&mut self, stage: Stage) {
        self.celsius += (self.end(stage) - self.celsius) * (1.0 - (-PERIOD_S / self.time_constant_s).exp());
    }
}

/// A sensor: noise, sometimes nothing, sometimes nonsense, but never twice in a row: that would be the truth to anybody.
#[derive(Default)]
struct Sensor {
    raved: bool,
}

impl Sensor {
    fn says(&mut self, rng: &mut StdRng, celsius: f64, trouble: f64) -> Option<f64> {
        let raved = std::mem::take(&mut self.raved);
        match rng.random::<f64>() {
            p if p < trouble / 2.0 => None,
            p if p < trouble && !raved => {
                self.raved = true;
                Some(rng.random_range(-300.0..300.0))
            }
            _ => Some(celsius + rng.random_range(-0.5..0.5)),
        }
    }
}

struct Run {
    heat: Heat,
    board: Board,
    sensor: Sensor,
    now: Moment,
    changed: Option<Moment>,
    dwell: Span,
}

impl Run {
    /// One period; checks what must always hold.
    fn step(&mut self, rng: &mut StdRng, trouble: f64, seed: u64) -> bool {
        self.now += Span::from_millis(2_000);
        self.board.pass(self.heat.stage());
        let celsius = [self.sensor.says(rng, self.board.celsius, trouble)];
        let Some(change) = self.heat.step(self.now, &Reading { celsius: &celsius, throttled: false }) else {
            return false;
        };
        let in_stage = self.changed.map(|changed| self.now.since(changed));
        if change.to < change.from {
            assert!(in_stage.unwrap() >= self.dwell, "seed {seed}: {change:?} after {in_stage:?}");
            assert_eq!(change.from as u8 - change.to as u8, 1, "seed {seed}: {change:?}: down is one stage at a time");
        } else if self.board.celsius + 1.0 < self.board.limits.hard() && trouble == 0.0 {
            let settle = limits::HEAT_SETTLE.min(self.dwell);
            assert!(in_stage.is_none_or(|span| span >= settle), "seed {seed}: {change:?} after {in_stage:?}");
        }
        self.changed = Some(self.now);
        true
    }
}

#[test]
fn the_stages_keep_a_board_below_its_limit_and_go_back() {
    let (mut hot, mut kept) = (0, 0);
    for seed in 0..SEEDS {
        let rng = &mut StdRng::seed_from_u64(seed);
        let board = Board::random(rng);
        let dwell = Span::from_millis(rng.random_range(2_000..300_000));
        let trouble = if seed % 2 == 0 { 0.0 } else { rng.random_range(0.0..0.3) };
        let (heat, sensor) = (Heat::new(&[board.limits], dwell), Sensor::default());
        let mut run = Run { heat, board, sensor, now: Moment::ZERO, changed: None, dwell };
        let mut downs = 0;
        for left in (0..HOT_STEPS).rev() {
            let before = run.heat.stage();
            if run.step(rng, trouble, seed) && run.heat.stage() < before {
                downs += 1;
            }
            let Board { limits, celsius, .. } = &run.board;
            if left < 300 && run.board.end(Stage::Smaller) < limits.hard() - 1.0 {
                // What the model can bear: half a degree of noise, and as much as passes until the next good reading or two.
                let most = limits.hard() + if trouble == 0.0 { 1.5 } else { 5.0 };
                assert!(*celsius <= most, "seed {seed}: {celsius:.1} °C, limit {:.1} °C", limits.hard());
                kept += u64::from(left == 0);
            }
        }
        hot += u64::from(run.changed.is_some());
        let most = HOT_STEPS as u64 * 2_000_000 / run.dwell.as_micros() + 1;
        assert!(downs <= most, "seed {seed}: {downs} times down in stages of {dwell:?} at least");

        // A cold night, and nothing to do.
        (run.board.ambient, run.board.rise) = (run.board.limits.soft() - 60.0, 5.0);
        (0..HOT_STEPS / 2).for_each(|_| {
            run.step(rng, trouble, seed);
        });
        assert_eq!(run.heat.stage(), Stage::Normal, "seed {seed}: {:.1} °C", run.board.celsius);
    }
    assert!(hot > SEEDS / 4 && kept > SEEDS / 2, "the seeds show too little: {hot} hot, {kept} within their limits");
}

#[test]
fn a_cool_board_never_leaves_the_normal_stage() {
    for seed in 0..200 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let limits = ZoneLimits::new(75.0, 80.0).unwrap();
        let mut heat = Heat::new(&[limits, limits], Span::from_millis(2_000));
        let mut sensor = Sensor::default();
        for step in 0..5_000 {
            // The second sensor says 120 °C every now and then.
            let celsius =
                [sensor.says(rng, 50.0, 0.0), if step % 7 == 3 { Some(120.0) } else { sensor.says(rng, 45.0, 0.0) }];
            let now = Moment::from_micros(step * 2_000_000);
            let change = heat.step(now, &Reading { celsius: &celsius, throttled: false });
            assert_eq!(change, None, "seed {seed}, step {step}");
        }
        assert!(heat.leaps() > 500, "seed {seed}");
    }
}

#[test]
fn while_the_board_is_hot_one_inquiry_is_asked_at_once() {
    let asked = |eased: bool| {
        let span = Span::from_millis(1_000);
        let policy = Policy { providers: vec![ProviderId(0)], amends: true, ..Policy::alone(1.0, None) };
        let model = ModelRules { workers: 1, queue: 4, when_full: WhenFull::Shed, deadline: span, policy };
        let provider = ProviderRules { timeout: span, price: Money::ZERO, accuracy: 0.95 };
        let mut engine = Engine::new(vec![model], vec![provider]);
        engine.ease(eased);
        let inquiry = Inquiry {
            lane: Lane::Value,
            reason: Reason::EscBelowLambda,
            answered: Reason::LocalUncertifiedLink,
            said: Said::Class(0),
            s: 0.5,
            p_wrong: 0.5,
            certified: false,
            audit: false,
            gain: 0.5,
            privacy: Privacy::Ok,
        };
        let stored = |number: u64| StoredInquiry {
            id: InquiryId(number),
            job: JobId::new(&format!("j-{number}")).unwrap(),
            model: Ok(ModelId(0)),
            inquiry: inquiry.clone(),
            age: Span::ZERO,
            bytes: 100,
        };
        let mut out = Vec::new();
        engine.step(Moment::ZERO, Input::Inquiries((0..9).map(stored).collect()), &mut out);
        out.iter().filter(|action| matches!(action, Action::Inquire { .. })).count()
    };
    assert_eq!((asked(false), asked(true)), (limits::INQUIRY_CALLS, limits::INQUIRY_CALLS_HOT));
}

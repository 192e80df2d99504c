//! Reads sensors at the rate of their profile, on a thread of its own: a bus blocks. What it has is left in one place, where
//! the newest window is.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use embedded_hal::i2c::I2c;
use firmware_profiles::{
    nodes::Profile,
    sensors::{AnySensor, SensorError, SensorKind, VALUES_MAX},
};
use picket_core::limits;
use tokio::sync::Notify;

/// A chip on the bus.
#[derive(Clone, Copy, Debug)]
pub struct Chip {
    pub kind: &'static SensorKind,
    pub address: u8,
}

/// Between the sampler's thread and its source.
#[derive(Default)]
pub struct Shared {
    left: Mutex<Left>,
    changed: Notify,
    stopped: Condvar,
}

#[derive(Default)]
struct Left {
    taken: Taken,
    start_over: bool,
    stop: bool,
}

/// What has happened since somebody looked.
#[derive(Debug, Default, PartialEq)]
pub struct Taken {
    /// Little-endian `f32`, channel after channel: the newest of them.
    pub window: Option<Vec<u8>>,
    pub windows: u64,
    /// Samples that came too late, or not at all; a window has none in it.
    pub gaps: u64,
    /// Code and sentence.
    pub outage: Option<(&'static str, String)>,
    /// It measures; said when it begins to.
    pub is_back: bool,
}

impl Shared {
    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn take(&self) -> Taken {
        std::mem::take(&mut self.left().taken)
    }

    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The next window begins now.
    pub fn start_over(&self) {
        self.left().start_over = true;
    }

    pub fn stop(&self) {
        self.left().stop = true;
        self.stopped.notify_all();
    }

    /// Until then, or until the end. Blocks: this is for the sampler's thread.
    pub fn wait(&self, moment: Instant) -> Instant {
        let left = moment.saturating_duration_since(Instant::now());
        let goes_on = |left: &mut Left| !left.stop;
        let waited = self.stopped.wait_timeout_while(self.left(), left, goes_on);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        Instant::now()
    }

    fn say(&self, change: impl FnOnce(&mut Taken)) {
        change(&mut self.left().taken);
        self.changed.notify_one();
    }
}

/// `open`: a handle of the bus, for the chip at an address.
pub struct Sampler<I2C> {
    pub window: &'static Profile,
    pub chips: Vec<Chip>,
    pub shared: Arc<Shared>,
    pub open: Box<dyn Fn(u8) -> Result<I2C, String> + Send>,
    /// Waits for a moment, and says when it is: [`Shared::wait`], but for tests.
    pub wait: Box<dyn FnMut(Instant) -> Instant + Send>,
}

/// Why there are no samples: code and sentence.
type Outage = (&'static str, String);

impl<I2C: I2c> Sampler<I2C> {
    /// Until it is told to stop. A bus or a chip that is away is tried again.
    pub fn live(mut self) {
        let mut retry = super::retry();
        while !self.shared.left().stop {
            let outage = match self.open_all() {
                Ok(mut sensors) => {
                    retry.reset();
                    match self.sample(&mut sensors) {
                        Some(outage) => outage,
                        None => return,
                    }
                }
                Err(outage) => outage,
            };
            self.shared.say(|taken| taken.outage = Some(outage));
            (self.wait)(Instant::now() + Duration::from(retry.wait()));
        }
    }

    fn open_all(&self) -> Result<Vec<AnySensor<I2C>>, Outage> {
        let open = |chip: &Chip| {
            let bus = (self.open)(chip.address).map_err(|message| ("source/no-bus", message))?;
            AnySensor::open(chip.kind.name, bus, chip.address).map_err(|error| no_sensor(*chip, error))
        };
        self.chips.iter().map(open).collect()
    }

    /// Until the end (`None`), or until a sensor is away.
    fn sample(&mut self, sensors: &mut [AnySensor<I2C>]) -> Option<Outage> {
        let rate = self.window.channels.first().map_or(1.0, |channel| channel.rate.get());
        let period = Duration::from_secs_f32(1.0 / rate);
        let mut rows = Rows::new(self.window);
        let (mut next, mut measures) = (Instant::now(), false);
        loop {
            let now = (self.wait)(next);
            let (stop, start_over) = {
                let mut left = self.shared.left();
                (left.stop, std::mem::take(&mut left.start_over))
            };
            if stop {
                return None;
            }
            if start_over {
                rows.clear();
            }
            if now.saturating_duration_since(next) > period * limits::SAMPLE_PERIODS {
                // This thread, or the bus, was held up.
                next = now;
                self.gap(&mut rows);
            }
            next += period;
            match read(sensors, &self.chips) {
                Ok(values) => {
                    if !std::mem::replace(&mut measures, true) {
                        self.shared.say(|taken| taken.is_back = true);
                    }
                    if let Some(window) = rows.push(&values) {
                        self.shared.say(|taken| {
                            taken.window = Some(window);
                            taken.windows += 1;
                        });
                    }
                }
                // The chip has said nothing wrong: there was no sample.
                Err((_, SensorError::NotReady | SensorError::OutOfRange)) => self.gap(&mut rows),
                Err((chip, error)) => return Some(no_sensor(chip, error)),
            }
        }
    }

    fn gap(&self, rows: &mut Rows) {
        if rows.clear() {
            self.shared.say(|taken| taken.gaps += 1);
        }
    }
}

/// All values of all sensors, in their order.
fn read<I2C: I2c>(sensors: &mut [AnySensor<I2C>], chips: &[Chip]) -> Result<Vec<f32>, (Chip, SensorError)> {
    let mut all = Vec::new();
    for (sensor, chip) in sensors.iter_mut().zip(chips) {
        let mut values = [0.0; VALUES_MAX];
        sensor.read(&mut values).map_err(|error| (*chip, error))?;
        all.extend_from_slice(values.get(..chip.kind.values.len()).unwrap_or_default());
    }
    Ok(all)
}

fn no_sensor(chip: Chip, error: SensorError) -> Outage {
    ("source/no-sensor", format!("{} at {:#04x}: {error}", chip.kind.name, chip.address))
}

/// Samples until they are a window.
struct Rows {
    channels: Vec<VecDeque<f32>>,
    window: usize,
    hop: usize,
}

impl Rows {
    fn new(profile: &Profile) -> Self {
        let channels = profile.channels.iter().map(|_| VecDeque::new()).collect();
        Self { channels, window: usize::from(profile.window), hop: usize::from(profile.hop) }
    }

    /// One sample of each channel; a window when it is full.
    fn push(&mut self, values: &[f32]) -> Option<Vec<u8>> {
        self.channels.iter_mut().zip(values).for_each(|(channel, value)| channel.push_back(*value));
        if self.channels.first()?.len() < self.window {
            return None;
        }
        let values = self.channels.iter().flat_map(|channel| channel.iter().take(self.window));
        let bytes = values.flat_map(|value| value.to_le_bytes()).collect();
        self.channels.iter_mut().for_each(|channel| drop(channel.drain(..self.hop.min(channel.len()))));
        Some(bytes)
    }

    /// Says whether there was anything.
    fn clear(&mut self) -> bool {
        let had = self.channels.iter().any(|channel| !channel.is_empty());
        self.channels.iter_mut().for_each(VecDeque::clear);
        had
    }
}

#[cfg(test)]
#[path = "sampler_tests.rs"]
mod tests;

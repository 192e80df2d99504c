//! `kind = "sensor"`: sensors on the board's own I²C bus, their samples as windows of a profile of `firmware-profiles`.
//! The drivers are those of the microcontrollers, over `linux-embedded-hal`.

use std::{
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use firmware_profiles::{
    nodes::{PROFILES, Profile as Window},
    sensors::{SENSORS, SensorKind},
};
use linux_embedded_hal::I2cdev;
use picket_core::limits;
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};
use toml::Spanned;

use super::{
    SourceKind, SourceSetup,
    desk::{Desk, News},
    sampler::{Chip, Sampler, Shared, Taken},
    trigger::{RawTrigger, Trigger},
    turn::Turn,
};
use crate::{
    board::Profile,
    config::{ConfigError, Section, section::unknown_word, words},
    ports::Content,
    tensor::Dtype,
};

pub struct SensorWindow;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    bus: PathBuf,
    profile: Spanned<String>,
    sensors: Spanned<Vec<RawSensor>>,
    every_ms: Option<Spanned<u64>>,
    trigger: Option<RawTrigger>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSensor {
    kind: Spanned<String>,
    address: Option<Spanned<u64>>,
}

struct Setup {
    bus: PathBuf,
    window: &'static Window,
    chips: Vec<Chip>,
    every: Option<Duration>,
    trigger: Option<Trigger>,
}

const EVERY_MAX_MS: u64 = 24 * 3_600_000;

impl SourceKind for SensorWindow {
    fn name(&self) -> &'static str {
        "sensor"
    }

    fn configure(
        &self,
        section: Section<'_>,
        folder: &Path,
        board: &Profile,
    ) -> Result<Box<dyn SourceSetup>, ConfigError> {
        let raw: Raw = section.parse()?;
        let known: Vec<&str> = PROFILES.iter().map(|profile| profile.name).collect();
        let window = Window::by_name(raw.profile.get_ref()).ok_or_else(|| {
            let message = unknown_word("profile", raw.profile.get_ref(), &known);
            section.fault("config/unknown-name", Some(raw.profile.span()), message)
        })?;
        let chips: Vec<Chip> =
            raw.sensors.get_ref().iter().map(|sensor| chip(&section, sensor)).collect::<Result<_, _>>()?;
        let fits = fits(window, &chips);
        fits.map_err(|message| section.error(Some(raw.sensors.span()), message))?;
        let every = raw.every_ms.as_ref().map(|every| {
            words::number(&section, "every_ms", Some(every), 1..=EVERY_MAX_MS, 1).map(Duration::from_millis)
        });
        let trigger = raw.trigger.as_ref().map(|raw| Trigger::check(&section, raw, folder, board)).transpose()?;
        Ok(Box::new(Setup { bus: folder.join(raw.bus), window, chips, every: every.transpose()?, trigger }))
    }
}

fn chip(section: &Section<'_>, raw: &RawSensor) -> Result<Chip, ConfigError> {
    let known: Vec<&str> = SENSORS.iter().map(|kind| kind.name).collect();
    let kind: &'static SensorKind =
        SENSORS.iter().find(|kind| kind.name == raw.kind.get_ref()).copied().ok_or_else(|| {
            let message = unknown_word("sensor", raw.kind.get_ref(), &known);
            section.fault("config/unknown-name", Some(raw.kind.span()), message)
        })?;
    let possible = || kind.addresses.iter().map(|address| format!("{address:#04x}")).collect::<Vec<_>>().join(", ");
    let address = match &raw.address {
        None => kind.addresses.first().copied(),
        Some(given) => kind.addresses.iter().find(|address| u64::from(**address) == *given.get_ref()).copied(),
    };
    let address = address.ok_or_else(|| {
        let message = format!("a {} cannot have this address; possible: {}", kind.name, possible());
        section.error(raw.address.as_ref().map(Spanned::span), message)
    })?;
    Ok(Chip { kind, address })
}

/// The sensors' values, one after the other, are the profile's channels.
fn fits(window: &Window, chips: &[Chip]) -> Result<(), String> {
    if chips.is_empty() || chips.len() > limits::SOURCE_SENSORS {
        return Err(format!("`sensors` has 1 to {} sensors", limits::SOURCE_SENSORS));
    }
    let twice =
        chips.iter().enumerate().find(|(index, chip)| chips[..*index].iter().any(|c| c.address == chip.address));
    if let Some((_, chip)) = twice {
        return Err(format!("two sensors cannot both have the address {:#04x}", chip.address));
    }
    let rate = window.channels.first().map_or(1.0, |channel| channel.rate.get());
    if window.channels.iter().any(|channel| channel.rate.get() != rate) {
        return Err(format!("the channels of {} have different rates; they cannot be sampled together", window.name));
    }
    if let Some(slow) = chips.iter().find(|chip| chip.kind.rate_max.get() < rate) {
        let most = slow.kind.rate_max.get();
        return Err(format!("{} wants {rate} samples a second; a {} has at most {most}", window.name, slow.kind.name));
    }
    let have: Vec<_> = chips.iter().flat_map(|chip| chip.kind.values).map(|(name, unit)| (*name, *unit)).collect();
    let want: Vec<_> = window.channels.iter().map(|channel| (channel.name, channel.unit)).collect();
    let list = |values: &[(&str, firmware_profiles::units::Unit)]| {
        values.iter().map(|(name, unit)| format!("{name} in {}", unit.symbol())).collect::<Vec<_>>().join(", ")
    };
    let units =
        |values: &[(&str, firmware_profiles::units::Unit)]| values.iter().map(|(_, unit)| *unit).collect::<Vec<_>>();
    if units(&have) != units(&want) {
        return Err(format!("{} has the channels {}; these sensors measure {}", window.name, list(&want), list(&have)));
    }
    Ok(())
}

impl SourceSetup for Setup {
    fn missing(&self) -> Option<String> {
        let no_bus = (!self.bus.exists()).then(|| no_bus(&self.bus));
        no_bus.or_else(|| self.trigger.as_ref()?.missing())
    }

    fn sample(&self) -> Option<Content> {
        let values = self.window.channels.len() * usize::from(self.window.window);
        Some(content(vec![0; values * size_of::<f32>()]))
    }

    fn run(self: Box<Self>, desk: Desk) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(live(*self, desk))
    }
}

fn no_bus(bus: &Path) -> String {
    let bus = bus.display();
    format!("there is no bus {bus}: I²C may be off (Raspberry Pi: dtparam=i2c_arm=on, and the module i2c-dev)")
}

async fn live(setup: Setup, mut desk: Desk) {
    let Setup { bus, window, chips, every, trigger } = setup;
    let shared = Arc::new(Shared::default());
    let open = move |address: u8| -> Result<I2cdev, String> {
        let mut device = I2cdev::new(&bus).map_err(|error| match bus.exists() {
            true => format!("the bus {} cannot be opened: {error}", bus.display()),
            false => no_bus(&bus),
        })?;
        device.set_slave_address(u16::from(address)).map_err(|error| format!("address {address:#04x}: {error}"))?;
        Ok(device)
    };
    let clock = shared.clone();
    let wait = move |moment| clock.wait(moment);
    let sampler = Sampler { window, chips, shared: shared.clone(), open: Box::new(open), wait: Box::new(wait) };
    if let Err(error) = std::thread::Builder::new().name("sensor".to_owned()).spawn(move || sampler.live()) {
        desk.tell("source/no-bus", &format!("there is no thread for it: {error}")).await;
        return desk.drain().await;
    }
    let hop = Duration::from_secs_f64(
        f64::from(window.hop) / f64::from(window.channels.first().map_or(1.0, |channel| channel.rate.get())),
    );
    let mut turn = Turn::new(trigger.map(|trigger| trigger.start(&desk)));
    let mut is_out = false;
    loop {
        turn.hand_in(&desk, apart(every, hop, desk.rate.get()), content).await;
        let due = turn.due();
        tokio::select! {
            biased;
            news = desk.news() => match news {
                News::Ended(ended) => turn.hear(&desk, &ended).await,
                News::Stop => break,
            },
            () = turn.edge() => {
                turn.arm(&desk);
                // What was measured before the edge does not belong to it.
                shared.start_over();
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            () = shared.changed() => take(&shared, &mut turn, &desk, &mut is_out).await,
        }
    }
    shared.stop();
    desk.drain().await;
}

/// What the sampler has left.
async fn take(shared: &Shared, turn: &mut Turn<Vec<u8>>, desk: &Desk, is_out: &mut bool) {
    let Taken { window, windows, gaps, outage, is_back } = shared.take();
    desk.count_many("gaps", gaps);
    if let Some((code, message)) = outage {
        desk.count("no-sensor");
        if !std::mem::replace(is_out, true) {
            desk.tell(code, &message).await;
        }
    }
    if is_back && std::mem::take(is_out) {
        desk.tell("source/back", "the sensors measure again").await;
    }
    if let Some(window) = window {
        desk.count_many("windows", windows);
        turn.offer(desk, window, windows);
    }
}

fn content(window: Vec<u8>) -> Content {
    Content::Raw { bytes: window.into(), dtype: Some(Dtype::Fp32), shape: None }
}

/// Between one job and the next: as the configuration says, else as the windows come. Longer while the board is hot.
fn apart(every: Option<Duration>, hop: Duration, rate: f64) -> Duration {
    match every {
        None if rate >= 1.0 => Duration::ZERO,
        every => every.unwrap_or(hop).div_f64(rate.max(1e-3)),
    }
}

#[cfg(test)]
mod tests {
    use firmware_profiles::{
        nodes::{HYDRAULIC_RIG, MOTOR_CURRENT, MOTOR_VIBRATION},
        sensors::{ina219, lis3dh, tmp117},
    };

    use super::*;

    #[test]
    fn sensors_are_the_channels_of_a_profile_or_the_difference_is_said() {
        let [lis3dh, ina219] = [&lis3dh::KIND, &ina219::KIND].map(|kind| Chip { kind, address: kind.addresses[0] });
        assert_eq!(fits(&MOTOR_VIBRATION, &[lis3dh]), Ok(()));
        assert_eq!(fits(&MOTOR_CURRENT, &[ina219]), Ok(()));
        let wrong = fits(&MOTOR_CURRENT, &[lis3dh]).unwrap_err();
        assert!(wrong.contains("current in A, supply in V; these sensors measure x in g"), "{wrong}");
        assert!(fits(&MOTOR_CURRENT, &[]).is_err());
        let twice = fits(&MOTOR_VIBRATION, &[lis3dh, lis3dh]).unwrap_err();
        assert_eq!(twice, "two sensors cannot both have the address 0x18");
        let tmp117 = Chip { kind: &tmp117::KIND, address: 0x48 };
        let slow = fits(&MOTOR_VIBRATION, &[tmp117]).unwrap_err();
        assert!(slow.starts_with("motor-vibration wants 400 samples a second; a tmp117 has at most"), "{slow}");
        assert!(fits(&HYDRAULIC_RIG, &[tmp117]).unwrap_err().contains("TS1 in °C"));
    }

    #[test]
    fn windows_are_handed_in_as_they_come_at_an_interval_or_less_often_in_heat() {
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(apart(None, second, 1.0), Duration::ZERO);
        assert_eq!(apart(None, second, 0.5), 2 * second);
        assert_eq!(apart(Some(minute), second, 1.0), minute);
        assert_eq!(apart(Some(minute), second, 0.25), 4 * minute);
    }
}

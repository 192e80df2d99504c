//! A Picket node on Nordic's nRF52840 DK: which pin is what.
//!
//! | pin | what |
//! |---|---|
//! | P0.06, P0.08 | UARTE 0, TX and RX: the wire to the gateway through the board's USB, 115,200 baud |
//! | P0.26, P0.27 | TWIM 1, SDA and SCL, 400 kHz: an INA219 at 0x40, shunt 0.1 Ω |
//! | P0.13 | LED 1, on at low level: on while the last verdict is a bad one |

#![no_std]
#![no_main]

mod app;
mod handlers;
mod port;

use cortex_m::{
    peripheral::{Peripherals as Core, SYST, syst::SystClkSource},
    singleton,
};
use cortex_m_rt::entry;
use embassy_nrf::{
    bind_interrupts,
    buffered_uarte::{self, BufferedUarte},
    config::{Config, HfclkSource},
    gpio::{Level, Output, OutputDrive},
    pac, peripherals,
    rng::Rng,
    twim::{self, Twim},
    uarte,
};
use firmware_profiles::{
    clock::Ticks,
    sensors::{Sensor, ina219::Ina219},
    wire::NodeId,
};
use panic_halt as _;

use port::Port;

bind_interrupts!(struct Interrupts {
    UARTE0 => buffered_uarte::InterruptHandler<peripherals::UARTE0>;
    TWISPI1 => twim::InterruptHandler<peripherals::TWISPI1>;
});

/// Bytes of the line that wait in each direction: 22 ms at 115,200 baud.
const BUFFER: usize = 256;
/// The driver's own copy of what goes out on the bus; the sensor is never sent more than three bytes.
const BUS_BUFFER: usize = 16;
/// The core runs at 64 MHz.
const TICKS_PER_US: u64 = 64;
const SYSTICK_MAX: u32 = 0x00ff_ffff;
const SENSOR: u8 = 0x40;

#[entry]
fn main() -> ! {
    let Some(mut core) = Core::take() else { panic!("started twice") };
    let mut settings = Config::default();
    // The crystal: the RC oscillator is off by up to 1.5 %, too much for a baud rate beside the gateway's error.
    settings.hfclk_source = HfclkSource::ExternalXtal;
    let chip = embassy_nrf::init(settings);
    let [low, high] = [0, 1].map(|word| u64::from(pac::FICR.deviceid(word).read()));
    let node = NodeId(high << 32 | low);
    let boot = Rng::new_blocking(chip.RNG).blocking_next_u32();

    let buffers = (
        singleton!(: [u8; BUFFER] = [0; BUFFER]),
        singleton!(: [u8; BUFFER] = [0; BUFFER]),
        singleton!(: [u8; BUS_BUFFER] = [0; BUS_BUFFER]),
    );
    let (Some(receiving), Some(sending), Some(to_bus)) = buffers else { panic!("started twice") };
    // Without parity, 115,200 baud.
    let wire = BufferedUarte::new(
        chip.UARTE0,
        chip.TIMER1,
        chip.PPI_CH0,
        chip.PPI_CH1,
        chip.PPI_GROUP0,
        chip.P0_08,
        chip.P0_06,
        Interrupts,
        uarte::Config::default(),
        receiving,
        sending,
    );
    let mut speed = twim::Config::default();
    speed.frequency = twim::Frequency::K400;
    let bus = Twim::new(chip.TWISPI1, Interrupts, chip.P0_26, chip.P0_27, speed, to_bus);
    let lamp = Output::new(chip.P0_13, Level::High, OutputDrive::Standard);
    let Ok(sensor) = Ina219::open(bus, SENSOR) else { panic!("there is no INA219") };

    core.SYST.set_clock_source(SystClkSource::Core);
    core.SYST.set_reload(SYSTICK_MAX);
    core.SYST.clear_current();
    core.SYST.enable_counter();
    // The counter's round is 0.26 s, and the loop is never that long.
    let mut ticks = Ticks::<24>::new();
    let now_us = move || ticks.at(SYSTICK_MAX - SYST::get_current()) / TICKS_PER_US;
    app::run(Port::new(wire), sensor, lamp, (node, boot), now_us)
}

//! A Picket node on Nordic's nRF52840 DK: which pin is what.
//!
//! | pin | what |
//! |---|---|
//! | P0.06, P0.08 | UARTE 0, TX and RX: the wire to the gateway through the board's USB, 115,200 baud |
//! | P0.26, P0.27 | TWIM 0, SDA and SCL, 400 kHz: an INA219 at 0x40, shunt 0.1 Ω |
//! | P0.13 | LED 1, on at low level: on while the last verdict is a bad one |

#![no_std]
#![no_main]

mod app;
mod handlers;
mod port;

use cortex_m::{peripheral::Peripherals as Core, peripheral::SYST, peripheral::syst::SystClkSource, singleton};
use cortex_m_rt::entry;
use firmware_profiles::{
    clock::Ticks,
    sensors::{Sensor, ina219::Ina219},
    wire::NodeId,
};
use nrf52840_hal::{
    Clocks, Rng, Twim,
    gpio::{Level, p0},
    pac,
    twim::{Frequency, Pins as BusPins},
    uarte::{Baudrate, Parity, Pins, Uarte},
};
use panic_halt as _;

use port::{Port, TRANSFER};

/// The core runs at 64 MHz.
const TICKS_PER_US: u64 = 64;
const SYSTICK_MAX: u32 = 0x00ff_ffff;
const SENSOR: u8 = 0x40;

#[entry]
fn main() -> ! {
    let (Some(chip), Some(mut core)) = (pac::Peripherals::take(), Core::take()) else { panic!("started twice") };
    // The crystal: the RC oscillator is off by up to 1.5 %, too much for a baud rate beside the gateway's error.
    let _clocks = Clocks::new(chip.CLOCK).enable_ext_hfosc();
    let [low, high] = [0, 1].map(|word| u64::from(chip.FICR.deviceid[word].read().bits()));
    let node = NodeId(high << 32 | low);
    let boot = Rng::new(chip.RNG).random_u32();

    let pins = p0::Parts::new(chip.P0);
    let wire_pins = Pins {
        txd: pins.p0_06.into_push_pull_output(Level::High).degrade(),
        rxd: pins.p0_08.into_floating_input().degrade(),
        cts: None,
        rts: None,
    };
    let wire = Uarte::new(chip.UARTE0, wire_pins, Parity::EXCLUDED, Baudrate::BAUD115200);
    let buffers = (singleton!(: [u8; TRANSFER] = [0; TRANSFER]), singleton!(: [u8; 1] = [0]));
    let (Some(sending), Some(receiving)) = buffers else { panic!("started twice") };
    let Ok(halves) = wire.split(sending, receiving) else { panic!("the buffers are not in RAM") };

    let bus_pins =
        BusPins { sda: pins.p0_26.into_floating_input().degrade(), scl: pins.p0_27.into_floating_input().degrade() };
    let bus = Twim::new(chip.TWIM1, bus_pins, Frequency::K400);
    let lamp = pins.p0_13.into_push_pull_output(Level::High);
    let Ok(sensor) = Ina219::open(bus, SENSOR) else { panic!("there is no INA219") };

    core.SYST.set_clock_source(SystClkSource::Core);
    core.SYST.set_reload(SYSTICK_MAX);
    core.SYST.clear_current();
    core.SYST.enable_counter();
    // The counter's round is 0.26 s, and the loop is never that long.
    let mut ticks = Ticks::<24>::new();
    let now_us = move || ticks.at(SYSTICK_MAX - SYST::get_current()) / TICKS_PER_US;
    app::run(Port::new(halves), sensor, lamp, (node, boot), now_us)
}

//! A Picket node on a Raspberry Pi Pico: which pin is what.
//!
//! | pin | what |
//! |---|---|
//! | GP0, GP1 | UART 0, the wire to the gateway, 115,200 baud, 3.3 V |
//! | GP4, GP5 | I²C 0, SDA and SCL, 400 kHz: a LIS3DH at 0x18 |
//! | GP25 | the board's lamp: on while the last verdict is a bad one |

#![no_std]
#![no_main]

mod app;
mod handlers;

use firmware_profiles::{
    sensors::{Sensor, lis3dh::Lis3dh},
    wire::NodeId,
};
use panic_halt as _;
use rp2040_hal::{
    Clock, I2C, Sio, Timer, Watchdog,
    clocks::init_clocks_and_plls,
    fugit::RateExtU32,
    gpio::{FunctionI2C, FunctionUart, Pins, PullNone, PullUp},
    pac,
    rosc::RingOscillator,
    uart::{DataBits, StopBits, UartConfig, UartPeripheral},
};

/// What the boot ROM runs first: how to read this board's flash.
#[unsafe(link_section = ".boot2")]
#[used]
#[allow(unsafe_code, reason = "the boot ROM looks for it at this place")]
static BOOT2: [u8; 256] = rp2040_boot2::BOOT_LOADER_W25Q080;

const CRYSTAL_HZ: u32 = 12_000_000;
const BAUD: u32 = 115_200;
const SENSOR: u8 = 0x18;

/// `PICKET_NODE` of the build, in hexadecimal digits: each Pico of one gateway needs its own.
const NODE: NodeId = NodeId(match option_env!("PICKET_NODE") {
    Some(digits) => match u64::from_str_radix(digits, 16) {
        Ok(number) => number,
        Err(_) => panic!("PICKET_NODE is a hexadecimal number"),
    },
    None => 0x2040,
});

#[rp2040_hal::entry]
fn main() -> ! {
    let Some(mut chip) = pac::Peripherals::take() else { panic!("started twice") };
    // The ring oscillator's bits are this start's number: the chip keeps nothing over a loss of power.
    let chance = RingOscillator::new(chip.ROSC).initialize();
    let boot = (0..u32::BITS).fold(0, |bits, _| {
        // Bits in a row are alike; some hundred cycles apart they are not.
        cortex_m::asm::delay(500);
        bits << 1 | u32::from(chance.get_random_bit())
    });
    let mut watchdog = Watchdog::new(chip.WATCHDOG);
    let clocks = init_clocks_and_plls(
        CRYSTAL_HZ,
        chip.XOSC,
        chip.CLOCKS,
        chip.PLL_SYS,
        chip.PLL_USB,
        &mut chip.RESETS,
        &mut watchdog,
    );
    let Ok(clocks) = clocks else { panic!("the crystal does not start") };
    let pins = Pins::new(chip.IO_BANK0, chip.PADS_BANK0, Sio::new(chip.SIO).gpio_bank0, &mut chip.RESETS);
    let timer = Timer::new(chip.TIMER, &mut chip.RESETS, &clocks);

    let wire_pins =
        (pins.gpio0.reconfigure::<FunctionUart, PullNone>(), pins.gpio1.reconfigure::<FunctionUart, PullUp>());
    let settings = UartConfig::new(BAUD.Hz(), DataBits::Eight, None, StopBits::One);
    let wire =
        UartPeripheral::new(chip.UART0, wire_pins, &mut chip.RESETS).enable(settings, clocks.peripheral_clock.freq());
    let Ok(wire) = wire else { panic!("no such baud rate") };

    let bus = I2C::i2c0(
        chip.I2C0,
        pins.gpio4.reconfigure::<FunctionI2C, PullUp>(),
        pins.gpio5.reconfigure::<FunctionI2C, PullUp>(),
        400.kHz(),
        &mut chip.RESETS,
        clocks.system_clock.freq(),
    );
    let lamp = pins.gpio25.into_push_pull_output();
    let Ok(sensor) = Lis3dh::open(bus, SENSOR) else { panic!("there is no LIS3DH") };
    app::run(wire, sensor, lamp, (NODE, boot), || timer.get_counter().ticks())
}

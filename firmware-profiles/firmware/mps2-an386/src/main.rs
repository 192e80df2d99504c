//! A Picket node on Arm's MPS2+ with image AN386: which pin is what.
//!
//! UART 0 is the wire to the gateway at 1 Mbaud, UART 1 a console for people. `README.md` in the folder above says how to
//! run it in QEMU.

#![no_std]
#![no_main]

mod app;
mod handlers;
mod uart;

use core::{fmt::Write, panic::PanicInfo};

use cortex_m::peripheral::{Peripherals, SYST, syst::SystClkSource};
use cortex_m_rt::entry;
use cortex_m_semihosting::syscall;
use firmware_profiles::clock::Ticks;

use uart::Uart;

const CLOCK_HZ: u32 = 25_000_000;
const SYSTICK_MAX: u32 = 0x00ff_ffff;
const WIRE: usize = 0x4000_4000;
const CONSOLE: usize = 0x4000_5000;

#[entry]
#[allow(unsafe_code, reason = "the registers' places, and the debugger's clock")]
fn main() -> ! {
    // SAFETY: AN386's memory map; 25 and 217 are at least 16; this is the only place that takes them.
    let (wire, console) = unsafe { (Uart::new(WIRE, CLOCK_HZ / 1_000_000), Uart::new(CONSOLE, CLOCK_HZ / 115_200)) };
    // SAFETY: SYS_TIME takes no argument. The board has neither a clock nor a source of chance that outlives a reset, so
    // the number of this start is the debugger's (QEMU's): seconds since 1970.
    let boot = unsafe { syscall!(TIME) } as u32;
    let Some(mut peripherals) = Peripherals::take() else { halt() };
    peripherals.SYST.set_clock_source(SystClkSource::Core);
    peripherals.SYST.set_reload(SYSTICK_MAX);
    peripherals.SYST.clear_current();
    peripherals.SYST.enable_counter();
    // The counter's round is 0.67 s, and the loop is never that long.
    let mut ticks = Ticks::<24>::new();
    let now_us = move || ticks.at(SYSTICK_MAX - SYST::get_current()) / u64::from(CLOCK_HZ / 1_000_000);
    app::run(wire, console, boot, now_us)
}

#[panic_handler]
#[allow(unsafe_code, reason = "the console, whoever had it")]
fn panic(info: &PanicInfo<'_>) -> ! {
    // SAFETY: nobody writes to it any more.
    let mut console = unsafe { Uart::new(CONSOLE, CLOCK_HZ / 115_200) };
    let _ = writeln!(console, "{info}");
    halt()
}

fn halt() -> ! {
    loop {
        cortex_m::asm::wfe();
    }
}

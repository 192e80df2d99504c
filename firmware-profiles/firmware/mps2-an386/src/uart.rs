//! The CMSDK UART (Arm DDI 0479D, 4.3) as embedded-hal's serial port. There is no kept HAL crate for this board.
#![allow(unsafe_code, reason = "registers of the chip")]

use core::{convert::Infallible, fmt};

use embedded_hal_nb::serial::{ErrorType, Read, Write};

const DATA: usize = 0;
const STATE: usize = 1;
const CTRL: usize = 2;
const BAUDDIV: usize = 4;

const STATE_TX_FULL: u32 = 1;
const STATE_RX_FULL: u32 = 1 << 1;
const CTRL_TX_RX: u32 = 0b11;

/// One of the board's UARTs. It holds one byte in each direction.
pub struct Uart {
    base: *mut u32,
}

impl Uart {
    /// Switches a UART on.
    ///
    /// # Safety
    /// `base` is where a CMSDK UART's registers are, and nobody else has it. `divider` is at least 16.
    pub unsafe fn new(base: usize, divider: u32) -> Self {
        let mut uart = Self { base: base as *mut u32 };
        uart.set(BAUDDIV, divider);
        uart.set(CTRL, CTRL_TX_RX);
        uart
    }

    fn get(&self, register: usize) -> u32 {
        // SAFETY: whoever made this value says that the registers are there and ours.
        unsafe { self.base.add(register).read_volatile() }
    }

    fn set(&mut self, register: usize, value: u32) {
        // SAFETY: as above.
        unsafe { self.base.add(register).write_volatile(value) }
    }
}

impl ErrorType for Uart {
    type Error = Infallible;
}

impl Read<u8> for Uart {
    fn read(&mut self) -> nb::Result<u8, Infallible> {
        if self.get(STATE) & STATE_RX_FULL == 0 {
            return Err(nb::Error::WouldBlock);
        }
        Ok(self.get(DATA).to_le_bytes()[0])
    }
}

impl Write<u8> for Uart {
    fn write(&mut self, byte: u8) -> nb::Result<(), Infallible> {
        if self.get(STATE) & STATE_TX_FULL != 0 {
            return Err(nb::Error::WouldBlock);
        }
        self.set(DATA, byte.into());
        Ok(())
    }

    fn flush(&mut self) -> nb::Result<(), Infallible> {
        if self.get(STATE) & STATE_TX_FULL == 0 { Ok(()) } else { Err(nb::Error::WouldBlock) }
    }
}

/// Text for people: waits for the line.
impl fmt::Write for Uart {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            while self.write(byte).is_err() {}
        }
        Ok(())
    }
}

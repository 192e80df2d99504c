//! The chip's serial port as embedded-hal's, without waiting.
//!
//! The chip sends what stands in a buffer, and the HAL's port must not be written to between the end of a transfer and the
//! `flush` that notices it. So bytes are collected here and handed over when the port is idle.

use core::convert::Infallible;

use embedded_hal_02::serial::{Read as _, Write as _};
use embedded_hal_nb::serial::{ErrorType, Read, Write};
use nrf52840_hal::uarte::{Instance, UarteRx, UarteTx};

/// Bytes of one transfer.
pub const TRANSFER: usize = 64;

/// Both directions of a UARTE.
pub struct Port<T: Instance> {
    tx: UarteTx<T>,
    rx: UarteRx<T>,
    collected: [u8; TRANSFER],
    length: usize,
}

impl<T: Instance> Port<T> {
    /// `tx` has a buffer of [`TRANSFER`] bytes.
    pub fn new((tx, rx): (UarteTx<T>, UarteRx<T>)) -> Self {
        Self { tx, rx, collected: [0; TRANSFER], length: 0 }
    }

    /// Starts the next transfer, if the last one is done.
    fn pump(&mut self) {
        if self.tx.flush().is_err() || self.length == 0 {
            return;
        }
        for byte in self.collected.iter().take(self.length) {
            // Idle and with room for all: it takes them.
            let _ = self.tx.write(*byte);
        }
        self.length = 0;
        // It starts the transfer and says that it is not done.
        let _ = self.tx.flush();
    }
}

impl<T: Instance> ErrorType for Port<T> {
    type Error = Infallible;
}

impl<T: Instance> Read<u8> for Port<T> {
    fn read(&mut self) -> nb::Result<u8, Infallible> {
        self.pump();
        // A byte that the line spoilt is missing, and the frame's checksum finds that.
        self.rx.read().map_err(|_| nb::Error::WouldBlock)
    }
}

impl<T: Instance> Write<u8> for Port<T> {
    fn write(&mut self, byte: u8) -> nb::Result<(), Infallible> {
        let Some(place) = self.collected.get_mut(self.length) else {
            self.pump();
            return Err(nb::Error::WouldBlock);
        };
        *place = byte;
        self.length += 1;
        Ok(())
    }

    fn flush(&mut self) -> nb::Result<(), Infallible> {
        self.pump();
        if self.length == 0 { Ok(()) } else { Err(nb::Error::WouldBlock) }
    }
}

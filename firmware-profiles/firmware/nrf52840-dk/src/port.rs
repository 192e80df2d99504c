//! The chip's serial port as embedded-hal's, without waiting. Interrupts keep its buffers, so that nothing is lost while the
//! sensor is read.

use core::{
    convert::Infallible,
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use embassy_nrf::buffered_uarte::BufferedUarte;
use embedded_hal_nb::serial::{ErrorType, Read, Write};
use embedded_io_async::ReadReady;

/// Both directions of a UARTE.
pub struct Port<'d> {
    uarte: BufferedUarte<'d>,
}

impl<'d> Port<'d> {
    pub fn new(uarte: BufferedUarte<'d>) -> Self {
        Self { uarte }
    }
}

impl ErrorType for Port<'_> {
    type Error = Infallible;
}

impl Read<u8> for Port<'_> {
    fn read(&mut self) -> nb::Result<u8, Infallible> {
        // What the line spoilt or the buffer lost is missing, and the frame's checksum finds that.
        if !matches!(self.uarte.read_ready(), Ok(true)) {
            return Err(nb::Error::WouldBlock);
        }
        let mut byte = [0];
        // Something is there: the future is done when it is asked first, and nobody need be woken.
        let read = pin!(self.uarte.read(&mut byte)).poll(&mut Context::from_waker(Waker::noop()));
        match read {
            Poll::Ready(Ok(1)) => Ok(byte[0]),
            _ => Err(nb::Error::WouldBlock),
        }
    }
}

impl Write<u8> for Port<'_> {
    fn write(&mut self, byte: u8) -> nb::Result<(), Infallible> {
        match self.uarte.try_write(&[byte]) {
            Ok(1) => Ok(()),
            _ => Err(nb::Error::WouldBlock),
        }
    }

    /// What was written goes out by itself.
    fn flush(&mut self) -> nb::Result<(), Infallible> {
        Ok(())
    }
}

//! A node's serial port on a pty. A pty has no speed, so the line's speed is kept here: a byte leaves when its ten bits have
//! been sent, and what the gateway wrote at once is heard byte after byte.

use std::{
    collections::VecDeque,
    convert::Infallible,
    time::{Duration, Instant},
};

use embedded_hal_nb::serial;

use crate::pty::Pty;

/// Start, eight data bits, stop.
const BITS_PER_BYTE: f64 = 10.0;
/// Bytes that reach the gateway together, as a USB adapter of full speed hands them over; a frame's end waits for none.
const PACKET: usize = 64;
/// Bytes that the port takes before they are on the line, as one with DMA does: when this process has to wait for a core, the
/// line goes on for five milliseconds.
const FIFO: u32 = 512;

pub struct Line {
    pty: Pty,
    /// `None`: as fast as the pty takes it.
    byte: Option<Duration>,
    now: Instant,
    /// With the moment at which each byte has been sent.
    outgoing: VecDeque<(Instant, u8)>,
    incoming: VecDeque<(Instant, u8)>,
    sent_until: Instant,
    heard_until: Instant,
    message: Option<Message>,
    /// What has been sent, for whoever looks at it; kept only where somebody does.
    log: Option<Vec<Message>>,
    /// Bytes that were handed over.
    pub bytes: u64,
}

/// Bytes up to 0x00, and when they were on the line.
#[derive(Clone, Debug)]
pub struct Message {
    pub bytes: Vec<u8>,
    pub begin: Instant,
    pub end: Instant,
}

impl Line {
    pub fn new(pty: Pty, baud: Option<u32>, log: bool) -> Self {
        let now = Instant::now();
        Self {
            pty,
            byte: baud.map(|baud| Duration::from_secs_f64(BITS_PER_BYTE / f64::from(baud))),
            now,
            outgoing: VecDeque::new(),
            incoming: VecDeque::new(),
            sent_until: now,
            heard_until: now,
            message: None,
            log: log.then(Vec::new),
            bytes: 0,
        }
    }

    /// Everything handed over has left.
    pub fn is_quiet(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// What was sent since this was asked last.
    pub fn take_log(&mut self) -> Vec<Message> {
        self.log.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Reads and writes what is due.
    pub fn pump(&mut self, now: Instant) {
        self.now = now;
        let due = self.outgoing.iter().take_while(|(sent, _)| *sent <= now).count();
        let is_end = due > 0 && self.outgoing.get(due - 1).is_some_and(|(_, byte)| *byte == 0);
        let packet = if is_end || self.byte.is_none() { due } else { due / PACKET * PACKET };
        if packet > 0 {
            let bytes: Vec<u8> = self.outgoing.iter().take(packet).map(|(_, byte)| *byte).collect();
            let written = self.pty.write(&bytes);
            self.outgoing.drain(..written);
        }
        for byte in self.pty.read() {
            self.heard_until = self.byte.map_or(now, |time| self.heard_until.max(now) + time);
            self.incoming.push_back((self.heard_until, byte));
        }
    }
}

impl serial::ErrorType for Line {
    type Error = NoError;
}

#[derive(Debug)]
pub struct NoError(Infallible);

impl serial::Error for NoError {
    fn kind(&self) -> serial::ErrorKind {
        match self.0 {}
    }
}

impl serial::Read<u8> for Line {
    fn read(&mut self) -> nb::Result<u8, Self::Error> {
        match self.incoming.front() {
            Some((heard, byte)) if *heard <= self.now => {
                let byte = *byte;
                self.incoming.pop_front();
                Ok(byte)
            }
            _ => Err(nb::Error::WouldBlock),
        }
    }
}

impl serial::Write<u8> for Line {
    fn write(&mut self, byte: u8) -> nb::Result<(), Self::Error> {
        let (begin, end) = match self.byte {
            None => (self.now, self.now),
            Some(time) => {
                if self.sent_until > self.now + time * FIFO {
                    return Err(nb::Error::WouldBlock);
                }
                let begin = self.sent_until.max(self.now);
                (begin, begin + time)
            }
        };
        self.sent_until = end;
        self.bytes += 1;
        self.outgoing.push_back((end, byte));
        if let Some(log) = &mut self.log {
            let mut message = self.message.take().unwrap_or_else(|| Message { bytes: Vec::new(), begin, end });
            message.bytes.push(byte);
            message.end = end;
            if byte == 0 {
                log.push(message);
            } else {
                self.message = Some(message);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> nb::Result<(), Self::Error> {
        Ok(())
    }
}

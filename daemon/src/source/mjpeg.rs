//! Whole JPEGs out of a stream of bytes: JPEG after JPEG, perhaps with some text between them (as in `multipart/x-mixed-replace`).
//!
//! Markers are followed as ITU T.81, annex B has them: a segment is skipped by its length, so that a thumbnail inside is not
//! taken for a frame; in entropy-coded data only a byte 0xFF with something else than 0x00 or a restart marker behind it
//! means something. After damage the next whole JPEG only says where frames begin again: it may have been a thumbnail of
//! the damaged one. The one behind it is used.

use bytes::{Buf, Bytes, BytesMut};
use picket_core::limits;

/// Finds frames. Holds no more than one.
#[derive(Debug)]
pub struct Mjpeg {
    /// From the beginning of a frame on, unless that is looked for.
    buffer: BytesMut,
    /// So much of it is understood.
    at: usize,
    part: Part,
    /// Frames begin where this one ends, or ended.
    damaged: bool,
    /// Bytes between frames that are none.
    between: usize,
    most: usize,
    garbage: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Between,
    /// A marker is to come. `scanned`: there was image data.
    Marker {
        scanned: bool,
    },
    Scan,
}

const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;
/// Text between two frames that is still in order.
const BETWEEN: usize = 64 << 10;

impl Default for Mjpeg {
    fn default() -> Self {
        Self::with_most(limits::SOURCE_FRAME_BYTES)
    }
}

impl Mjpeg {
    /// Frames have at most `most` bytes.
    pub fn with_most(most: usize) -> Self {
        Self { buffer: BytesMut::new(), at: 0, part: Part::Between, damaged: false, between: 0, most, garbage: 0 }
    }

    /// How often something was no frame since this was asked last.
    pub fn garbage(&mut self) -> u64 {
        std::mem::take(&mut self.garbage)
    }

    /// Takes what was read; gives whole frames to `found`.
    pub fn push(&mut self, bytes: &[u8], mut found: impl FnMut(Bytes)) {
        self.buffer.extend_from_slice(bytes);
        loop {
            let more = match self.part {
                Part::Between => self.seek(),
                Part::Marker { scanned } => self.marker(scanned, &mut found),
                Part::Scan => self.scan(),
            };
            if self.part != Part::Between && self.at > self.most {
                self.spoil(self.buffer.len());
            }
            if !more {
                return;
            }
        }
    }

    /// Looks for the beginning of a frame. False: more bytes are needed.
    fn seek(&mut self) -> bool {
        let Some(mark) = memchr::memchr(0xFF, &self.buffer) else {
            self.skip(self.buffer.len());
            return false;
        };
        self.skip(mark);
        match self.buffer.get(1) {
            None => false,
            Some(&SOI) => {
                (self.at, self.part, self.between) = (2, Part::Marker { scanned: false }, 0);
                true
            }
            Some(_) => {
                self.damage();
                self.buffer.advance(1);
                true
            }
        }
    }

    fn skip(&mut self, bytes: usize) {
        self.buffer.advance(bytes);
        self.between += bytes;
        if self.between > BETWEEN {
            self.between = 0;
            self.damage();
        }
    }

    fn damage(&mut self) {
        self.garbage += u64::from(!self.damaged);
        self.damaged = true;
    }

    /// The frame that began is none; what follows `bytes` may be one.
    fn spoil(&mut self, bytes: usize) {
        self.damage();
        self.buffer.advance(bytes);
        (self.at, self.part, self.between) = (0, Part::Between, 0);
    }

    fn marker(&mut self, scanned: bool, found: &mut impl FnMut(Bytes)) -> bool {
        let rest = &self.buffer[self.at.min(self.buffer.len())..];
        match *rest {
            [] | [0xFF] => false,
            [0xFF, 0xFF, ..] => {
                self.at += 1; // a fill byte
                true
            }
            [0xFF, EOI, ..] if scanned => {
                let frame = self.buffer.split_to(self.at + 2).freeze();
                (self.at, self.part) = (0, Part::Between);
                if !std::mem::take(&mut self.damaged) {
                    found(frame);
                }
                true
            }
            [0xFF, SOI, ..] => {
                self.spoil(self.at);
                true
            }
            [0xFF, 0x01 | 0xD0..=0xD7, ..] => {
                self.at += 2;
                true
            }
            [0xFF, marker, high, low, ..] if marker >= 0xC0 && marker != EOI => {
                let length = usize::from(u16::from_be_bytes([high, low]));
                if length < 2 {
                    self.spoil(self.at);
                    return true;
                }
                self.at += 2 + length;
                self.part = if marker == SOS { Part::Scan } else { Part::Marker { scanned } };
                true
            }
            [0xFF, marker, ..] if marker >= 0xC0 && marker != EOI => false,
            _ => {
                self.spoil(self.at);
                true
            }
        }
    }

    /// Image data, up to the next marker.
    fn scan(&mut self) -> bool {
        let rest = &self.buffer[self.at.min(self.buffer.len())..];
        let Some(mark) = memchr::memchr(0xFF, rest) else {
            self.at = self.at.max(self.buffer.len());
            return false;
        };
        match rest.get(mark + 1) {
            None => {
                self.at += mark;
                false
            }
            Some(0x00 | 0xD0..=0xD7) => {
                self.at += mark + 2;
                true
            }
            Some(0xFF) => {
                self.at += mark + 1;
                true
            }
            Some(_) => {
                self.at += mark;
                self.part = Part::Marker { scanned: true };
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    const THUMBNAIL: [u8; 10] = [0xFF, SOI, 0xFF, SOS, 0, 2, 7, 7, 0xFF, EOI];

    /// A JPEG by its markers: nobody decodes it here.
    fn jpeg(dice: &mut StdRng) -> Vec<u8> {
        let mut bytes = vec![0xFF, SOI];
        let segment = |marker: u8, body: &[u8], bytes: &mut Vec<u8>| {
            bytes.extend([0xFF, marker]);
            bytes.extend(u16::try_from(body.len() + 2).unwrap().to_be_bytes());
            bytes.extend(body);
        };
        segment(0xE1, &[&b"Exif"[..], &THUMBNAIL, &[0xFF; 3]].concat(), &mut bytes);
        segment(0xDB, &vec![3; dice.random_range(0..200)], &mut bytes);
        for _ in 0..dice.random_range(1..4) {
            segment(SOS, &[1, 2, 3], &mut bytes);
            for _ in 0..dice.random_range(0..300) {
                match dice.random_range(0..20) {
                    0 => bytes.extend([0xFF, 0x00]),
                    1 => bytes.extend([0xFF, 0xD0 + dice.random_range(0..8)]),
                    _ => bytes.push(dice.random_range(0..0xFF)),
                }
            }
        }
        bytes.extend([0xFF, 0xFF, EOI]);
        bytes
    }

    /// Reads `stream` in pieces of random size.
    fn read(finder: &mut Mjpeg, stream: &[u8], dice: &mut StdRng) -> Vec<Vec<u8>> {
        let (mut found, mut rest) = (Vec::new(), stream);
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(dice.random_range(1..=rest.len().min(400)));
            finder.push(piece, |frame| found.push(frame.to_vec()));
            rest = later;
        }
        found
    }

    fn dice(seed: u64) -> StdRng {
        println!("seed {seed}");
        StdRng::seed_from_u64(seed)
    }

    #[test]
    fn every_frame_comes_out_as_it_went_in_however_it_is_read() {
        let mut dice = dice(11);
        for _ in 0..300 {
            let frames: Vec<Vec<u8>> = (0..5).map(|_| jpeg(&mut dice)).collect();
            let mut finder = Mjpeg::default();
            assert_eq!(read(&mut finder, &frames.concat(), &mut dice), frames);
            assert_eq!((finder.garbage(), finder.buffer.len()), (0, 0));
        }
    }

    #[test]
    fn the_lines_of_a_multipart_stream_are_no_damage() {
        let mut dice = dice(12);
        let frames: Vec<Vec<u8>> = (0..5).map(|_| jpeg(&mut dice)).collect();
        let line = b"\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n";
        let stream: Vec<u8> = frames.iter().flat_map(|frame| [&line[..], frame].concat()).collect();
        let mut finder = Mjpeg::default();
        assert_eq!(read(&mut finder, &stream, &mut dice), frames);
        assert_eq!(finder.garbage(), 0);
    }

    #[test]
    fn after_damage_whole_frames_come_again_and_never_a_thumbnail() {
        let mut dice = dice(13);
        let mut lost = 0;
        for round in 0..150 {
            // A length that changed may swallow 64 KiB.
            let frames: Vec<Vec<u8>> = (0..400).map(|_| jpeg(&mut dice)).collect();
            let mut stream = frames.concat();
            // Bytes go missing, come in addition, or change, in the second frame.
            let (from, to) = (frames[0].len(), frames[0].len() + frames[1].len());
            let at = dice.random_range(from..to);
            match round % 3 {
                0 => drop(stream.drain(at..dice.random_range(at..=to))),
                1 => drop(
                    stream.splice(at..at, (0..dice.random_range(1..50)).map(|_| dice.random()).collect::<Vec<_>>()),
                ),
                _ => stream[at] ^= 1 << dice.random_range(0..8),
            }
            let mut finder = Mjpeg::default();
            let found = read(&mut finder, &stream, &mut dice);
            assert_eq!(found[0], frames[0], "what came before is whole");
            assert!(found.ends_with(&frames[398..]), "round {round}: {} found", found.len());
            let strange = found.iter().filter(|frame| !frames.contains(frame)).count();
            // Damage that leaves markers where markers may be does not show: that is the decoder's.
            assert!(strange <= 1, "round {round}: {strange} frames that nobody sent");
            assert!(found.iter().all(|frame| *frame != THUMBNAIL), "round {round}: a thumbnail");
            lost += usize::from(finder.garbage() > 0);
        }
        println!("{lost} of 150 were seen");
        assert!(lost > 20);
    }

    #[test]
    fn garbage_is_counted_and_takes_no_memory() {
        let mut dice = dice(14);
        let mut finder = Mjpeg::with_most(10_000);
        let mut count = 0;
        for _ in 0..2_000 {
            let noise: Vec<u8> = (0..1_000).map(|_| dice.random()).collect();
            finder.push(&noise, |_| count += 1);
            assert!(finder.buffer.len() <= 80_000, "{}", finder.buffer.len());
        }
        assert!(finder.garbage() > 0);
        // A frame that never ends.
        let mut finder = Mjpeg::with_most(10_000);
        finder.push(&[0xFF, SOI, 0xFF, SOS, 0, 2], |_| count += 1);
        for _ in 0..200 {
            finder.push(&[1; 1_000], |_| panic!("no frame"));
            assert!(finder.buffer.len() <= 11_000);
        }
        assert!(finder.garbage() > 0);
        // Text for ever.
        let mut finder = Mjpeg::default();
        for _ in 0..200 {
            finder.push(&[b'y'; 1_000], |_| panic!("no frame"));
        }
        assert_eq!((finder.garbage(), finder.buffer.len()), (1, 0));
    }
}

//! Is a JPEG there to its end? Decoders paint what is missing grey and say nothing, and a grey half is no photo.

const MARKER: u8 = 0xff;
const START: u8 = 0xd8;
const END: u8 = 0xd9;
const SCAN: u8 = 0xda;

/// How many scans a whole one has; `None`: it is cut off. Goes from marker to marker (ITU-T T.81, annex B) until the end of the
/// image. What lies behind it does not matter.
pub fn scans(file: &[u8]) -> Option<usize> {
    let (mut at, mut scans) = (2, 0);
    loop {
        match next_marker(file, &mut at)? {
            END => return Some(scans),
            // Without a length: start, restarts, and one that means nothing.
            START | 0x01 | 0xd0..=0xd7 => {}
            segment => {
                let length = file.get(at..at + 2)?;
                let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
                at += length.max(2);
                if segment == SCAN {
                    scans += 1;
                    skip_scan(file, &mut at);
                }
            }
        }
    }
}

/// The next marker's second byte; `at` is behind it then. Bytes before it, and fill bytes, are passed over.
fn next_marker(file: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        let byte = *file.get(*at)?;
        let next = *file.get(*at + 1)?;
        *at += 1;
        if byte == MARKER && next != 0 && next != MARKER {
            *at += 1;
            return Some(next);
        }
    }
}

/// Entropy-coded data ends at a marker that is neither a stuffed byte nor a restart.
fn skip_scan(file: &[u8], at: &mut usize) {
    while let Some([byte, next]) = file.get(*at..*at + 2) {
        if *byte == MARKER && !matches!(*next, 0 | 0xd0..=0xd7 | MARKER) {
            return;
        }
        *at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"\xff\xd8\xff\xe0\x00\x04ab";

    #[test]
    fn an_end_inside_a_segment_is_none() {
        assert_eq!(scans(&[HEAD, b"\xff\xd9"].concat()), Some(0));
        assert_eq!(scans(HEAD), None);
        // A thumbnail in a comment has an end of its own.
        assert_eq!(scans(&[HEAD, b"\xff\xfe\x00\x06\xff\xd8\xff\xd9"].concat()), None);
        assert_eq!(scans(&[HEAD, b"\xff\xfe\xff"].concat()), None);
        assert_eq!(scans(b"\xff\xd8\xff"), None);
    }

    #[test]
    fn a_scan_ends_at_its_marker() {
        let scan = b"\xff\xda\x00\x03z\x12\xff\x00\xff\xd0\x34";
        let one = [HEAD, scan].concat();
        assert_eq!(scans(&[&one[..], b"\xff\xd9behind"].concat()), Some(1));
        assert_eq!(scans(&[&one[..], scan, b"\xff\xff\xd9"].concat()), Some(2));
        assert_eq!(scans(&one), None);
        assert_eq!(scans(&[&one[..], b"\xff"].concat()), None);
    }
}

//! What a UART reads at one speed of what another one sends at its own: 8 data bits, no parity, one stop bit.

/// Bits of a byte on the line: start, data, stop.
const BITS: usize = 10;

/// The line's level at a time, in bits of the sender; it rests high.
fn level(sent: &[u8], at: f64) -> bool {
    let bit = at as usize;
    match (sent.get(bit / BITS), bit % BITS) {
        (None, _) | (_, 9) => true,
        (_, 0) => false,
        (Some(byte), data) => byte >> (data - 1) & 1 == 1,
    }
}

/// The bytes that are read. One without its stop bit comes as 0x00, as Linux hands it over in raw mode; so does a break.
pub fn misread(sent: &[u8], sent_baud: f64, read_baud: f64) -> Vec<u8> {
    let bit = sent_baud / read_baud;
    let end = sent.len() * BITS;
    let (mut read, mut at) = (Vec::new(), 0.0_f64);
    loop {
        // A level changes only where a bit of the sender begins.
        let next = |from: f64, high: bool| {
            if level(sent, from) == high {
                return Some(from);
            }
            (from as usize + 1..=end).map(|edge| edge as f64).find(|edge| level(sent, *edge) == high)
        };
        let Some(start) = next(at, false) else { return read };
        let sample = |number: f64| level(sent, start + bit * (number + 0.5));
        if sample(0.0) {
            // Too short for a start bit.
            at = start + bit;
            continue;
        }
        let byte = (0..8).filter(|number| sample(f64::from(*number) + 1.0)).fold(0, |byte, number| byte | 1 << number);
        let whole = sample(9.0);
        read.push(if whole { byte } else { 0 });
        at = start + bit * 9.5;
        if !whole {
            at = next(at, true).unwrap_or(end as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_its_own_speed_and_near_it_a_uart_reads_what_was_sent() {
        let all: Vec<u8> = (0..=255).collect();
        for read_baud in [115_200.0, 113_000.0, 117_500.0] {
            assert_eq!(misread(&all, 115_200.0, read_baud), all, "{read_baud}");
        }
    }

    #[test]
    fn at_another_speed_it_reads_something_else() {
        // Nine low bits are a break for whoever reads ten times as fast …
        assert_eq!(misread(&[0], 9_600.0, 96_000.0), [0]);
        // … and 0x55 looks like start and stop bits to whoever reads half as fast: start bit, 1, start bit, 1 …
        assert_ne!(misread(&[0x55; 20], 9_600.0, 4_800.0), [0x55; 20]);
        assert!(misread(&[0xff; 4], 115_200.0, 9_600.0).is_empty(), "start bits alone are too short");
    }
}

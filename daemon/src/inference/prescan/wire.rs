//! Protobuf's wire format, read in place: nothing is copied, nothing is trusted, and the work is at most the bytes.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding/>. Groups, which ONNX never had, are refused.

/// One field of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    pub number: u32,
    pub value: Value<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64,
    /// A string, a message, or packed numbers: only the schema knows.
    Bytes(&'a [u8]),
    Fixed32,
}

/// The bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub &'static str);

/// The fields of a message, one after the other; ends at the first that is none.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub const fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn field(&mut self) -> Result<Field<'a>, Malformed> {
        let key = varint(&mut self.rest)?;
        let number = u32::try_from(key >> 3).ok().filter(|number| (1..1 << 29).contains(number));
        let number = number.ok_or(Malformed("a field has an impossible number"))?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut self.rest)?),
            1 => self.take(8).map(|_| Value::Fixed64)?,
            2 => {
                let length = varint(&mut self.rest)?;
                let length = usize::try_from(length).map_err(|_| CUT)?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed32)?,
            _ => return Err(Malformed("a field has an impossible wire type")),
        };
        Ok(Field { number, value })
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(CUT)?;
        self.rest = rest;
        Ok(taken)
    }
}

const CUT: Malformed = Malformed("the file is cut off");

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// Seven bits to a byte, the lowest first, the last byte without its highest bit: at most ten.
fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    const MOST: usize = 10;
    let mut value = 0_u64;
    for index in 0..MOST {
        let (byte, tail) = rest.split_first().ok_or(CUT)?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << (7 * index).min(63);
        if byte & 0x80 == 0 {
            // The tenth byte has room for one bit.
            return if index == MOST - 1 && *byte > 1 { Err(LONG) } else { Ok(value) };
        }
    }
    Err(LONG)
}

const LONG: Malformed = Malformed("a number is longer than 64 bits");

/// How many packed varints these bytes are.
pub(super) fn packed_count(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0x80 == 0).count()
}

/// Packed varints, as signed numbers.
pub(super) fn packed(mut bytes: &[u8]) -> Result<Vec<i64>, Malformed> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        values.push(varint(&mut bytes)?.cast_signed());
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_at_most_64_bits() {
        let read = |bytes: &[u8]| varint(&mut &*bytes);
        assert_eq!(read(&[0x96, 0x01]), Ok(150));
        let mut most = [0xff; 10];
        most[9] = 1;
        assert_eq!(read(&most), Ok(u64::MAX));
        most[9] = 2;
        assert_eq!(read(&most), Err(LONG));
        assert_eq!(read(&[0x80; 11]), Err(LONG));
        assert_eq!(read(&[0x80]), Err(CUT));
    }

    #[test]
    fn a_length_beyond_the_end_is_a_cut_file() {
        let fields = |bytes: &[u8]| Fields::of(bytes).map(|field| field.map(|f| f.number)).collect::<Vec<_>>();
        assert_eq!(fields(&[0x0a, 0x02, b'a', b'b', 0x10, 0x01]), [Ok(1), Ok(2)]);
        assert_eq!(fields(&[0x0a, 0x03, b'a', b'b']), [Err(CUT)]);
        assert_eq!(fields(&[0x0b]), [Err(Malformed("a field has an impossible wire type"))]);
        assert_eq!(fields(&[0x00, 0x00]), [Err(Malformed("a field has an impossible number"))]);
    }
}

//! Arrays in NumPy's `.npz` files: a zip archive of `.npy` entries.

use std::io::{Cursor, Read, Write};

use npyz::{DType, Endianness, NpyHeader, Order, TypeChar, TypeStr};
use picket_core::limits;
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

use crate::tensor::{Dtype, Tensor};

/// Most bytes of an array's header; NumPy writes 118 for arrays of few dimensions. Also bounds how deep the header's
/// Python literal can nest.
const HEADER_BYTES: usize = 512;
/// With no more digits than this in a header, no product of its numbers overflows 64 bits.
const HEADER_DIGITS: usize = 19;

/// The arrays of an archive with their names, in the archive's order: little-endian, C order, stored or compressed.
///
/// # Errors
/// Says which array is wrong and how. Nothing larger than [`limits::MAX_GOLDEN_BYTES`] is unpacked, whatever the archive
/// says about itself.
pub fn read(bytes: &[u8]) -> Result<Vec<(String, Tensor)>, String> {
    read_within(bytes, limits::MAX_GOLDEN_BYTES)
}

/// As [`read`], with another bound.
///
/// # Errors
/// As [`read`].
pub fn read_within(bytes: &[u8], most: u64) -> Result<Vec<(String, Tensor)>, String> {
    let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(|error| format!("no npz archive: {error}"))?;
    if zip.len() > limits::GOLDEN_ARRAYS {
        return Err(format!("{} arrays; at most {} are read", zip.len(), limits::GOLDEN_ARRAYS));
    }
    let mut arrays: Vec<(String, Tensor)> = Vec::with_capacity(zip.len());
    let mut left = most;
    for index in 0..zip.len() {
        let entry = zip.by_index(index).map_err(|error| format!("entry {index}: {error}"))?;
        let file = entry.name().map_err(|error| format!("entry {index}: {error}"))?.into_owned();
        let Some(name) = file.strip_suffix(".npy") else {
            return Err(format!("entry `{file}` is no array"));
        };
        let npy = unpack(entry.size(), entry, left).map_err(|why| format!("array `{name}`: {why}"))?;
        left -= npy.len() as u64;
        let tensor = array(name, &npy).map_err(|why| format!("array `{name}`: {why}"))?;
        arrays.push((name.to_owned(), tensor));
    }
    Ok(arrays)
}

/// An archive of these arrays, as NumPy's `savez` writes it: stored, not compressed.
///
/// # Errors
/// Two arrays have one name.
pub fn write(arrays: &[(String, &Tensor)]) -> std::io::Result<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, tensor) in arrays {
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        archive.start_file(format!("{name}.npy"), stored)?;
        archive.write_all(&npy(tensor))?;
    }
    Ok(archive.finish()?.into_inner())
}

/// The `.npy` format, version 1.0: magic, version, length of the header, header, data. What is before the data fills
/// whole blocks of 64 bytes (<https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>).
fn npy(tensor: &Tensor) -> Vec<u8> {
    const BLOCK: usize = 64;
    const BEFORE_HEADER: usize = 10;
    let dims: String = tensor.shape().iter().map(|dim| format!("{dim},")).collect();
    let descr = descr(tensor.dtype());
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dims}), }}");
    let used = (BEFORE_HEADER + header.len() + 1) % BLOCK;
    header.push_str(&" ".repeat((BLOCK - used) % BLOCK));
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    // A tensor's rank is bounded, so its header is short.
    file.extend_from_slice(&(header.len() as u16).to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(tensor.data());
    file
}

const fn descr(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::Bool => "|b1",
        Dtype::Int8 => "|i1",
        Dtype::Int16 => "<i2",
        Dtype::Int32 => "<i4",
        Dtype::Int64 => "<i8",
        Dtype::Uint8 => "|u1",
        Dtype::Uint16 => "<u2",
        Dtype::Uint32 => "<u4",
        Dtype::Uint64 => "<u8",
        Dtype::Fp16 => "<f2",
        Dtype::Fp32 => "<f4",
        Dtype::Fp64 => "<f8",
    }
}

/// Reads an entry that states to have `size` bytes and may have at most `left`. The stated size saves the work; it can be
/// a lie, so no more than `left` is unpacked in any case.
fn unpack(size: u64, entry: impl Read, left: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    if size <= left {
        entry.take(left + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    }
    if size > left || bytes.len() as u64 > left {
        return Err(format!("more than {} bytes in all", limits::MAX_GOLDEN_BYTES));
    }
    Ok(bytes)
}

fn array(name: &str, npy: &[u8]) -> Result<Tensor, String> {
    let (header, data) = header(npy)?;
    if header.order() != Order::C {
        return Err("Fortran order; write it in C order".to_owned());
    }
    let dtype = match header.dtype() {
        DType::Plain(kind) => dtype(&kind)?,
        other => return Err(format!("type {} is not supported", other.descr())),
    };
    let shape: Option<Vec<usize>> = header.shape().iter().map(|dim| usize::try_from(*dim).ok()).collect();
    let shape = shape.ok_or("more elements than any tensor may have")?;
    Tensor::new(name, dtype, shape, data.to_vec()).map_err(|error| error.to_string())
}

/// Splits header and data. The length of the header stands behind 6 bytes of magic and 2 of version.
fn header(npy: &[u8]) -> Result<(NpyHeader, &[u8]), String> {
    let start: usize = match npy.get(6) {
        Some(1) => 10,
        _ => 12,
    };
    let length = npy.get(8..start).ok_or("too short for a header")?;
    let length = length.iter().rev().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
    if length > HEADER_BYTES {
        return Err(format!("its header has {length} bytes; at most {HEADER_BYTES} are read"));
    }
    let end = start + length;
    let text = npy.get(start..end).ok_or("its header is cut off")?;
    if text.iter().filter(|byte| byte.is_ascii_digit()).count() > HEADER_DIGITS {
        return Err("its shape is larger than any tensor may be".to_owned());
    }
    let header = NpyHeader::from_reader(&npy[..end]).map_err(|error| error.to_string())?;
    Ok((header, &npy[end..]))
}

fn dtype(kind: &TypeStr) -> Result<Dtype, String> {
    let dtype = match (kind.type_char(), kind.size_field()) {
        (TypeChar::Bool, 1) => Dtype::Bool,
        (TypeChar::Int, 1) => Dtype::Int8,
        (TypeChar::Int, 2) => Dtype::Int16,
        (TypeChar::Int, 4) => Dtype::Int32,
        (TypeChar::Int, 8) => Dtype::Int64,
        (TypeChar::Uint, 1) => Dtype::Uint8,
        (TypeChar::Uint, 2) => Dtype::Uint16,
        (TypeChar::Uint, 4) => Dtype::Uint32,
        (TypeChar::Uint, 8) => Dtype::Uint64,
        (TypeChar::Float, 2) => Dtype::Fp16,
        (TypeChar::Float, 4) => Dtype::Fp32,
        (TypeChar::Float, 8) => Dtype::Fp64,
        _ => return Err(format!("type {kind} is not supported")),
    };
    if dtype.size() > 1 && kind.endianness() != Endianness::Little {
        return Err(format!("type {kind} is not little-endian"));
    }
    Ok(dtype)
}

#[cfg(test)]
mod tests {

    use super::*;

    fn npy(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn archive(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in entries {
            let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
            writer.start_file(*name, options).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn reads_every_type() {
        let types = ["|b1", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8"];
        for (descr, dtype) in types.into_iter().zip(Dtype::ALL) {
            let data = vec![0u8; 6 * dtype.size()];
            let bytes = archive(&[("x.npy", npy(descr, "False", "(2, 3)", &data))]);
            let arrays = read(&bytes).unwrap();
            assert_eq!((arrays[0].0.as_str(), arrays[0].1.kind()), ("x", format!("2x3 {dtype}")));
        }
    }

    #[test]
    fn reads_what_it_writes() {
        let tensors: Vec<(String, Tensor)> = Dtype::ALL
            .into_iter()
            .map(|dtype| {
                (format!("a {dtype}"), Tensor::new("x", dtype, vec![2, 1], vec![1; 2 * dtype.size()]).unwrap())
            })
            .collect();
        let archive = write(&tensors.iter().map(|(name, tensor)| (name.clone(), tensor)).collect::<Vec<_>>()).unwrap();
        for ((name, tensor), (read_name, read)) in tensors.iter().zip(super::read(&archive).unwrap()) {
            assert_eq!((name, tensor.kind(), tensor.data()), (&read_name, read.kind(), read.data()));
        }
    }

    #[test]
    fn keeps_order_and_values() {
        let one = npy("<f4", "False", "(1,)", &1.5f32.to_le_bytes());
        let scalar = npy("|i1", "False", "()", &[7]);
        let arrays = read(&archive(&[("z.npy", one), ("a.npy", scalar)])).unwrap();
        assert_eq!((arrays[0].0.as_str(), arrays[0].1.to_f32()), ("z", vec![1.5]));
        assert_eq!((arrays[1].0.as_str(), arrays[1].1.to_f32(), arrays[1].1.shape().len()), ("a", vec![7.0], 0));
    }

    #[test]
    fn refuses_what_it_cannot_read_right() {
        fn why(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> String {
            array("x", &npy(descr, fortran, shape, data)).unwrap_err()
        }
        assert_eq!(why("<f4", "True", "(1,)", &[0; 4]), "Fortran order; write it in C order");
        assert_eq!(why(">f4", "False", "(1,)", &[0; 4]), "type >f4 is not little-endian");
        assert_eq!(why("<c8", "False", "(1,)", &[0; 8]), "type <c8 is not supported");
        assert_eq!(why("|S3", "False", "(1,)", &[0; 3]), "type |S3 is not supported");
        assert_eq!(why("<f4", "False", "(2,)", &[0; 4]), "a 2 FP32 tensor has 8 bytes, these are 4");
        let huge = "(9999999999, 9999999999, 9999999999)";
        assert_eq!(why("<f4", "False", huge, &[]), "its shape is larger than any tensor may be");
        assert!(why("<f4", "False", "(999999999, 999999999)", &[]).contains("too many"));
        assert!(why("<f4", "False", &" ".repeat(600), &[]).contains("at most 512"));
        assert!(why("<f4", "False", &"(".repeat(400), &[]).contains("could not parse"));
        assert!(array("x", b"no array").is_err());
        assert!(array("x", &npy("<f4", "False", "(1,)", &[])[..40]).unwrap_err().contains("cut off"));
        assert!(read(b"no archive").unwrap_err().starts_with("no npz archive"));
        assert!(read(&archive(&[("x.txt", vec![])])).unwrap_err().contains("`x.txt` is no array"));
    }

    #[test]
    fn unpacks_no_more_than_the_limit_whatever_the_archive_says() {
        let mut endless = std::io::repeat(0).take(1_000);
        assert!(unpack(5, &mut endless, 10).unwrap_err().contains("more than"));
        assert_eq!(endless.limit(), 1_000 - 11, "it stops where it knows enough");
        let mut untouched = std::io::repeat(0).take(1_000);
        assert!(unpack(11, &mut untouched, 10).unwrap_err().contains("more than"));
        assert_eq!(untouched.limit(), 1_000, "a stated size that is too large is believed");
        assert_eq!(unpack(10, std::io::repeat(7).take(10), 10), Ok(vec![7; 10]));
    }

    #[test]
    fn the_limit_is_for_all_arrays_together() {
        let half = npy("|i1", "False", "(40000000,)", &vec![0; 40_000_000]);
        assert_eq!(read(&archive(&[("a.npy", half.clone())])).unwrap().len(), 1);
        let both = archive(&[("a.npy", half.clone()), ("b.npy", half)]);
        assert!(both.len() < 1 << 20);
        assert_eq!(read(&both).unwrap_err(), "array `b`: more than 67108864 bytes in all");
    }
}

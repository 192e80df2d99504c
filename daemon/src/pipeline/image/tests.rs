use std::io::Cursor;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, Rgb, Rgba};
use picket_core::limits;

use super::*;

/// 8 × 4 pixels: the left half red, the right half blue.
fn flag() -> DynamicImage {
    ImageBuffer::from_fn(8, 4, |x, _| if x < 4 { Rgb([255_u8, 0, 0]) } else { Rgb([0, 0, 255]) }).into()
}

fn file(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, format).unwrap();
    file.into_inner()
}

fn pixel(pixels: &Pixels, x: usize, y: usize) -> [u8; 3] {
    let at = 3 * (y * pixels.width + x);
    pixels.rgb[at..at + 3].try_into().unwrap()
}

fn near(got: [u8; 3], want: [u8; 3]) -> bool {
    got.iter().zip(want).all(|(got, want)| got.abs_diff(want) <= 8)
}

/// A JPEG with this TIFF structure as its EXIF data.
fn with_exif(jpeg: &[u8], tiff: &[u8]) -> Vec<u8> {
    let segment = [b"Exif\0\0", tiff].concat();
    let length = u16::try_from(segment.len() + 2).unwrap().to_be_bytes();
    [&jpeg[..2], b"\xff\xe1", &length, &segment, &jpeg[2..]].concat()
}

/// One entry: tag 0x0112, the orientation.
fn orientation(value: u8) -> Vec<u8> {
    [&b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"[..], &[value, 0, 0, 0], b"\0\0\0\0"].concat()
}

#[test]
fn each_kind_becomes_its_pixels() {
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Bmp] {
        let pixels = decode(&file(&flag(), format)).unwrap();
        assert_eq!((pixels.width, pixels.height, pixels.rgb.len()), (8, 4, 96), "{format:?}");
        assert!(near(pixel(&pixels, 0, 0), [255, 0, 0]) && near(pixel(&pixels, 7, 3), [0, 0, 255]), "{format:?}");
    }
}

#[test]
fn an_exif_orientation_is_applied_and_a_wrong_one_ignored() {
    let jpeg = file(&flag(), ImageFormat::Jpeg);
    // 6: the camera was held turned; what is left in the file is on top.
    let turned = decode(&with_exif(&jpeg, &orientation(6))).unwrap();
    assert_eq!((turned.width, turned.height), (4, 8));
    assert!(near(pixel(&turned, 0, 0), [255, 0, 0]) && near(pixel(&turned, 3, 7), [0, 0, 255]));
    let mirrored = decode(&with_exif(&jpeg, &orientation(2))).unwrap();
    assert!(near(pixel(&mirrored, 0, 0), [0, 0, 255]) && mirrored.width == 8);
    let plain = decode(&jpeg).unwrap();
    let endless = b"II*\0\x08\0\0\0\xff\xff\x12\x01\x03\0\xff\xff\xff\xff";
    for wrong in [&orientation(0)[..], &orientation(77), b"II*\0\xff\xff\xff\xff", endless, b"nonsense", b""] {
        assert_eq!(decode(&with_exif(&jpeg, wrong)).unwrap(), plain, "{wrong:?}");
    }
}

#[test]
fn other_depths_and_channels_become_rgb_of_8_bits() {
    let deep = DynamicImage::ImageRgb16(ImageBuffer::from_pixel(2, 1, Rgb([65_535, 0x1234, 127])));
    assert_eq!(pixel(&decode(&file(&deep, ImageFormat::Png)).unwrap(), 1, 0), [255, 0x12, 0]);
    let deep_grey = DynamicImage::ImageLuma16(ImageBuffer::from_pixel(2, 1, Luma([0x8080])));
    assert_eq!(pixel(&decode(&file(&deep_grey, ImageFormat::Png)).unwrap(), 1, 0), [0x80; 3]);
    let clear = DynamicImage::ImageRgba8(ImageBuffer::from_pixel(2, 1, Rgba([10, 20, 30, 0])));
    assert_eq!(pixel(&decode(&file(&clear, ImageFormat::Png)).unwrap(), 1, 0), [10, 20, 30]);
    let grey = DynamicImage::ImageLuma8(ImageBuffer::from_pixel(16, 16, Luma([99])));
    assert!(near(pixel(&decode(&file(&grey, ImageFormat::Jpeg)).unwrap(), 9, 9), [99; 3]));
}

#[test]
fn a_palette_is_its_colours() {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 2, 1);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Four);
    encoder.set_palette(vec![1, 2, 3, 250, 251, 252]);
    encoder.write_header().unwrap().write_image_data(&[0x01]).unwrap();
    let pixels = decode(&file).unwrap();
    assert_eq!((pixel(&pixels, 0, 0), pixel(&pixels, 1, 0)), ([1, 2, 3], [250, 251, 252]));
}

/// 8 × 8 pixels of CMYK 0 255 255 0, written by Pillow.
const CMYK: &str = "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwADAgIDAgIDAwMDBAMDBAUIBQUEBAUKBwcGCAwKDAwLCgsLDQ4SEA0OEQ4LCxAWEBETFBUVFQwPFxgWFBgSFBUU/8AAFAgACAAIBEMRAE0RAFkRAEsRAP/EABQAAQAAAAAAAAAAAAAAAAAAAAn/xAAUEAEAAAAAAAAAAAAAAAAAAAAA/9oADgRDAE0AWQBLAAA/AFTFUKoqb//Z";

#[test]
fn cmyk_is_red_where_it_is_red() {
    let pixels = decode(&BASE64_STANDARD.decode(CMYK).unwrap()).unwrap();
    assert!(near(pixel(&pixels, 4, 4), [255, 0, 0]), "{:?}", pixel(&pixels, 4, 4));
}

#[test]
fn what_is_cut_off_or_broken_is_undecodable() {
    let noise = DynamicImage::ImageRgb8(ImageBuffer::from_fn(64, 64, |x, y| Rgb([(x * y) as u8, x as u8, y as u8])));
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Bmp] {
        let whole = file(&noise, format);
        decode(&whole).unwrap();
        for part in [3, 10, 30, whole.len() / 2, whole.len() - 20] {
            let failure = decode(&whole[..part]).unwrap_err();
            assert_eq!(failure.code, "input/undecodable", "{format:?}, {part} of {}: {failure:?}", whole.len());
        }
    }
    for nothing in [&b""[..], b"GIF89a", b"RIFF\0\0\0\0WEBP", b"{\"id\":1}", b"\xff\xd8\xff\xd9", b"BM"] {
        assert_eq!(decode(nothing).unwrap_err().code, "input/undecodable", "{nothing:?}");
    }
}

/// The head of a PNG or BMP that says how large it is, and nothing behind it.
fn bomb(format: ImageFormat, width: u32, height: u32) -> Vec<u8> {
    let mut file = file(&flag(), format);
    match format {
        ImageFormat::Png => {
            file[16..20].copy_from_slice(&width.to_be_bytes());
            file[20..24].copy_from_slice(&height.to_be_bytes());
            let check = crc32fast::hash(&file[12..29]).to_be_bytes();
            file[29..33].copy_from_slice(&check);
        }
        ImageFormat::Bmp => {
            file[18..22].copy_from_slice(&width.to_le_bytes());
            file[22..26].copy_from_slice(&height.to_le_bytes());
        }
        _ => {
            let at = file.windows(2).position(|pair| pair == b"\xff\xc0").unwrap() + 5;
            file[at..at + 2].copy_from_slice(&u16::try_from(height).unwrap().to_be_bytes());
            file[at + 2..at + 4].copy_from_slice(&u16::try_from(width).unwrap().to_be_bytes());
        }
    }
    file
}

#[test]
fn a_bomb_is_refused_by_its_header() {
    let side = limits::JOB_IMAGE_SIDE;
    for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::Bmp] {
        for (width, height) in [(side + 1, 1), (1, side + 1), (side, side), (60_000, 60_000)] {
            let failure = decode(&bomb(format, width, height)).unwrap_err();
            assert_eq!(failure.code, "input/too-large", "{format:?} {width} x {height}: {failure:?}");
            assert_eq!(failure.got, Some(format!("{width} x {height} pixels")), "by the header, not by the decoder");
        }
    }
    assert_eq!(decode(&bomb(ImageFormat::Png, 0, 5)).unwrap_err().code, "input/undecodable");
}

#[test]
fn a_jpeg_of_endless_scans_is_refused() {
    let jpeg = file(&flag(), ImageFormat::Jpeg);
    let scan = jpeg.windows(2).position(|pair| pair == b"\xff\xda").unwrap();
    let many = [&jpeg[..scan], &jpeg[scan..jpeg.len() - 2].repeat(limits::JPEG_SCANS + 1), b"\xff\xd9"].concat();
    assert_eq!(decode(&many).unwrap_err().code, "input/too-large");
}

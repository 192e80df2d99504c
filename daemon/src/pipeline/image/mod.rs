//! Image files as pixels.
//!
//! What comes out is RGB with 8 bits, upright: an EXIF orientation is applied, one that makes no sense is ignored. Grey becomes three
//! equal channels, a palette its colours, 16 bits the nearest of 8, CMYK what the decoder makes of it; an alpha channel is dropped.
//! Colour profiles are not applied. Nothing else of the file goes on.

mod whole;

use std::{
    io::Cursor,
    panic::{AssertUnwindSafe, catch_unwind},
};

use image::{
    DynamicImage, ImageDecoder, ImageError, ImageResult, Limits,
    codecs::{bmp::BmpDecoder, jpeg::JpegDecoder, png::PngDecoder},
    metadata::Orientation,
};
use picket_core::{job::Failure, limits};

use crate::media::Media;

/// An image: `rgb` holds `height` rows of `width` pixels, each red, green, blue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    pub width: usize,
    pub height: usize,
    pub rgb: Vec<u8>,
}

/// Decodes an image file; which kind it is, its first bytes say.
///
/// # Errors
/// `input/undecodable`: it is none of ours, broken or cut off. `input/too-large`: more pixels than [`limits::JOB_IMAGE_PIXELS`] or
/// a side of more than [`limits::JOB_IMAGE_SIDE`], by its header, before room is made for any.
pub fn decode(file: &[u8]) -> Result<Pixels, Failure> {
    let Some(media) = Media::of_bytes(file) else {
        let known = Media::ALL.map(Media::name).join(", ");
        let failure = Failure::new("input/undecodable", "the bytes are no image file that is known here");
        return Err(failure.expected(known, first_bytes(file)));
    };
    // The decoders are somebody else's, and the file is anybody's.
    catch_unwind(AssertUnwindSafe(|| decode_as(media, file)))
        .unwrap_or_else(|_| Err(undecodable(media, "the decoder could not go on")))
}

fn decode_as(media: Media, file: &[u8]) -> Result<Pixels, Failure> {
    let broken = |error: ImageError| failure(media, &error);
    let reader = Cursor::new(file);
    match media {
        Media::Jpeg => {
            match whole::scans(file) {
                None => return Err(undecodable(media, "the file is cut off: it has no end")),
                Some(scans) if scans > limits::JPEG_SCANS => {
                    let failure = Failure::new("input/too-large", "each scan of a JPEG may go over all its pixels");
                    return Err(failure.expected(format!("at most {} scans", limits::JPEG_SCANS), scans.to_string()));
                }
                Some(_) => {}
            }
            pixels(media, JpegDecoder::new(reader).map_err(broken)?)
        }
        Media::Png => pixels(media, PngDecoder::with_limits(reader, bounds()).map_err(broken)?),
        Media::Bmp => pixels(media, BmpDecoder::new(reader).map_err(broken)?),
    }
}

fn pixels(media: Media, mut decoder: impl ImageDecoder) -> Result<Pixels, Failure> {
    let (width, height) = decoder.dimensions();
    small_enough(width, height)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let upright = || -> ImageResult<DynamicImage> {
        decoder.set_limits(bounds())?;
        let mut image = DynamicImage::from_decoder(decoder)?;
        image.apply_orientation(orientation);
        Ok(image)
    };
    let rgb = upright().map_err(|error| failure(media, &error))?.into_rgb8();
    let side = |side: u32| usize::try_from(side).map_err(|_| undecodable(media, "a side has no length"));
    Ok(Pixels { width: side(rgb.width())?, height: side(rgb.height())?, rgb: rgb.into_raw() })
}

fn small_enough(width: u32, height: u32) -> Result<(), Failure> {
    let (side, most) = (limits::JOB_IMAGE_SIDE, limits::JOB_IMAGE_PIXELS);
    let fits = width.max(height) <= side && u64::from(width) * u64::from(height) <= most;
    if width == 0 || height == 0 {
        return Err(Failure::new("input/undecodable", "an image without pixels"));
    }
    if fits {
        return Ok(());
    }
    let message = format!("the image has {width} x {height} pixels");
    let want = format!("at most {most} pixels, and {side} on a side");
    Err(Failure::new("input/too-large", message).expected(want, format!("{width} x {height} pixels")))
}

fn bounds() -> Limits {
    let mut bounds = Limits::no_limits();
    // Four channels of 16 bits, and as much again to work in.
    bounds.max_alloc = Some(16 * limits::JOB_IMAGE_PIXELS);
    bounds
}

fn failure(media: Media, error: &ImageError) -> Failure {
    match error {
        ImageError::Limits(_) => Failure::new("input/too-large", format!("the {} file: {error}", media.name())),
        _ => undecodable(media, &error.to_string()),
    }
}

fn undecodable(media: Media, why: &str) -> Failure {
    Failure::new("input/undecodable", format!("the {} file cannot be decoded: {why}", media.name()))
}

/// As people compare them with a list of signatures.
fn first_bytes(file: &[u8]) -> String {
    if file.is_empty() {
        return "0 bytes".to_owned();
    }
    let shown: Vec<String> = file.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{} bytes that begin with {}", file.len(), shown.join(" "))
}

#[cfg(test)]
mod tests;

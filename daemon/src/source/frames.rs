//! What a command writes, as frames.

use bytes::{BufMut, Bytes, BytesMut};

use super::mjpeg::Mjpeg;
use crate::{media::Media, ports::Content};

/// One after the other, out of a stream of bytes.
#[derive(Debug)]
pub enum Frames {
    Mjpeg(Box<Mjpeg>),
    Raw(Raw),
}

/// Frames of one size, without anything between them: row by row from above.
#[derive(Debug)]
pub struct Raw {
    layout: Layout,
    buffer: BytesMut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub width: u32,
    pub height: u32,
    pub pixel: Pixel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pixel {
    Rgb24,
    Gray8,
}

impl Layout {
    /// Bytes of one frame.
    pub fn bytes(self) -> usize {
        self.row() * self.height as usize
    }

    fn row(self) -> usize {
        self.width as usize * self.pixel.bytes()
    }
}

impl Pixel {
    const fn bytes(self) -> usize {
        match self {
            Self::Rgb24 => 3,
            Self::Gray8 => 1,
        }
    }
}

impl Frames {
    pub fn mjpeg() -> Self {
        Self::Mjpeg(Box::default())
    }

    pub fn raw(layout: Layout) -> Self {
        Self::Raw(Raw { layout, buffer: BytesMut::new() })
    }

    /// Takes what was read; gives whole frames to `found`.
    pub fn push(&mut self, bytes: &[u8], mut found: impl FnMut(Bytes)) {
        match self {
            Self::Mjpeg(mjpeg) => mjpeg.push(bytes, found),
            Self::Raw(Raw { layout, buffer }) => {
                buffer.extend_from_slice(bytes);
                while buffer.len() >= layout.bytes() {
                    found(buffer.split_to(layout.bytes()).freeze());
                }
            }
        }
    }

    /// The input of a job.
    pub fn content(&self, frame: Bytes) -> Content {
        match self {
            Self::Mjpeg(_) => Content::Image { bytes: frame, media: Media::Jpeg },
            Self::Raw(Raw { layout, .. }) => Content::Image { bytes: bmp(*layout, &frame), media: Media::Bmp },
        }
    }

    /// How often something was no frame since this was asked last.
    pub fn garbage(&mut self) -> u64 {
        match self {
            Self::Mjpeg(mjpeg) => mjpeg.garbage(),
            Self::Raw(_) => 0,
        }
    }
}

const FILE_HEADER: usize = 14;
const INFO_HEADER: usize = 40;

/// The pixels as an image file that says how they are laid out: a Windows bitmap, which changes none of them. Its rows stand
/// from below, each filled to a multiple of four bytes, red and blue change places.
fn bmp(layout: Layout, frame: &[u8]) -> Bytes {
    let Layout { width, height, pixel } = layout;
    let palette = if pixel == Pixel::Gray8 { 256 } else { 0 };
    let filled = layout.row().next_multiple_of(4);
    let start = FILE_HEADER + INFO_HEADER + palette * 4;
    let size = start + filled * height as usize;
    let mut out = BytesMut::with_capacity(size);
    out.put_slice(b"BM");
    out.put_u32_le(size as u32);
    out.put_u32_le(0);
    out.put_u32_le(start as u32);
    out.put_u32_le(INFO_HEADER as u32);
    out.put_u32_le(width);
    out.put_u32_le(height);
    out.put_u16_le(1);
    out.put_u16_le(8 * pixel.bytes() as u16);
    // Neither compressed, nor with anything known of its real size.
    out.put_bytes(0, 16);
    out.put_u32_le(palette as u32);
    out.put_u32_le(0);
    for gray in 0..palette {
        let gray = gray as u8;
        out.put_slice(&[gray, gray, gray, 0]);
    }
    for row in frame.chunks_exact(layout.row()).rev() {
        match pixel {
            Pixel::Gray8 => out.put_slice(row),
            Pixel::Rgb24 => row.chunks_exact(3).for_each(|rgb| out.put_slice(&[rgb[2], rgb[1], rgb[0]])),
        }
        out.put_bytes(0, filled - row.len());
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_frame_keeps_every_pixel() {
        for pixel in [Pixel::Rgb24, Pixel::Gray8] {
            for (width, height) in [(1, 1), (3, 2), (5, 7), (8, 3)] {
                let layout = Layout { width, height, pixel };
                let raw: Vec<u8> = (0..layout.bytes()).map(|n| (n * 37 % 251) as u8).collect();
                let image = image::load_from_memory_with_format(&bmp(layout, &raw), image::ImageFormat::Bmp).unwrap();
                let pixels = match pixel {
                    Pixel::Rgb24 => image.to_rgb8().into_raw(),
                    Pixel::Gray8 => image.to_luma8().into_raw(),
                };
                assert_eq!((image.width(), image.height(), pixels), (width, height, raw), "{layout:?}");
            }
        }
    }

    #[test]
    fn raw_frames_are_cut_by_their_size_however_they_are_read() {
        let layout = Layout { width: 2, height: 2, pixel: Pixel::Rgb24 };
        let stream: Vec<u8> = (0..30).collect();
        for piece in 1..30 {
            let (mut frames, mut found) = (Frames::raw(layout), Vec::new());
            stream.chunks(piece).for_each(|bytes| frames.push(bytes, |frame| found.push(frame)));
            assert_eq!(found, [&stream[..12], &stream[12..24]], "{piece}");
        }
    }
}

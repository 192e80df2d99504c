//! A tensor as a picture: some models only see.

use picket_core::limits;
use serde::Deserialize;

use crate::tensor::Tensor;

/// `image = { width, height, channels, range }` of a section: which tensors are pictures.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    width: usize,
    height: usize,
    /// 1 for grey, 3 for red, green, blue; absent: 1.
    channels: Option<usize>,
    /// The values of black and white; absent: 0 and 255.
    range: Option<[f64; 2]>,
}

/// A checked one.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    width: usize,
    height: usize,
    channels: usize,
    range: [f64; 2],
    /// Each pixel is shown as a square of so many.
    zoom: usize,
}

/// The shorter side is shown with so many pixels at least: vision models see next to nothing in 8 x 8.
const SHOWN_SIDE: usize = 224;

impl TryFrom<Raw> for Picture {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        let Raw { width, height, channels, range } = raw;
        let (channels, range) = (channels.unwrap_or(1), range.unwrap_or([0.0, 255.0]));
        let sides = 1..=limits::IMAGE_SIDE;
        if !sides.contains(&width) || !sides.contains(&height) {
            return Err(format!("`width` and `height` are 1 to {} pixels", limits::IMAGE_SIDE));
        }
        if !matches!(channels, 1 | 3) {
            return Err("`channels` is 1 (grey) or 3 (red, green, blue)".to_owned());
        }
        if !range.iter().all(|end| end.is_finite()) || range[0] == range[1] {
            return Err("`range` is the values of black and of white, two different numbers".to_owned());
        }
        let most = limits::IMAGE_SIDE / width.max(height);
        let zoom = SHOWN_SIDE.div_ceil(width.min(height)).min(most).max(1);
        Ok(Self { width, height, channels, range, zoom })
    }
}

impl Picture {
    /// Width and height as shown.
    pub fn shown(&self) -> (usize, usize) {
        (self.width * self.zoom, self.height * self.zoom)
    }

    /// Is this tensor such a picture? Its channels may stand first or last; a flat one has them last.
    pub fn fits(&self, tensor: &Tensor) -> bool {
        self.first_channel_apart(tensor).is_some()
    }

    /// `Some(true)`: one plane after the other; `Some(false)`: pixel after pixel; `None`: no such picture.
    fn first_channel_apart(&self, tensor: &Tensor) -> Option<bool> {
        let Self { width, height, channels, .. } = *self;
        let mut shape = tensor.shape();
        loop {
            match *shape {
                [c, h, w] if (c, h, w) == (channels, height, width) => return Some(true),
                [h, w, c] if (h, w, c) == (height, width, channels) => return Some(false),
                [h, w] if (h, w) == (height, width) && channels == 1 => return Some(false),
                [n] if n == width * height * channels => return Some(false),
                // A batch of one.
                [1, ref rest @ ..] => shape = rest,
                _ => return None,
            }
        }
    }

    /// The picture as a PNG.
    ///
    /// # Errors
    /// The tensor is no such picture, or the PNG becomes too large.
    pub fn png(&self, tensor: &Tensor) -> Result<Vec<u8>, String> {
        let planes = self.first_channel_apart(tensor).ok_or_else(|| format!("{} is no picture", tensor.kind()))?;
        let [black, white] = self.range;
        let bytes: Vec<u8> =
            tensor.to_f64().into_iter().map(|v| (255.0 * (v - black) / (white - black)).round() as u8).collect();
        let pixels = self.zoomed(&bytes, planes);
        let (width, height) = self.shown();
        let side = |side: usize| u32::try_from(side).map_err(|why| why.to_string());
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, side(width)?, side(height)?);
        encoder.set_color(if self.channels == 1 { png::ColorType::Grayscale } else { png::ColorType::Rgb });
        encoder.set_depth(png::BitDepth::Eight);
        let written = encoder.write_header().and_then(|mut writer| {
            writer.write_image_data(&pixels)?;
            writer.finish()
        });
        written.map_err(|why| format!("the picture cannot be encoded: {why}"))?;
        if file.len() > limits::IMAGE_BYTES {
            return Err(format!("the picture has {} bytes, and {} is the most", file.len(), limits::IMAGE_BYTES));
        }
        Ok(file)
    }

    /// Every pixel as a square, channels last.
    fn zoomed(&self, bytes: &[u8], planes: bool) -> Vec<u8> {
        let Self { width, height, channels, zoom, .. } = *self;
        let mut pixels = Vec::with_capacity(bytes.len() * zoom * zoom);
        for y in 0..height {
            let row = pixels.len();
            for x in 0..width {
                for _ in 0..zoom {
                    pixels.extend((0..channels).map(|c| {
                        let at = if planes { (c * height + y) * width + x } else { (y * width + x) * channels + c };
                        bytes.get(at).copied().unwrap_or_default()
                    }));
                }
            }
            let end = pixels.len();
            (1..zoom).for_each(|_| pixels.extend_from_within(row..end));
        }
        pixels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(text: &str) -> Result<Picture, String> {
        toml::from_str::<Raw>(text).unwrap().try_into()
    }

    fn decoded(file: &[u8]) -> (u32, u32, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        (info.width, info.height, pixels)
    }

    #[test]
    fn a_flat_row_of_grey_values_becomes_squares_that_can_be_seen() {
        let picture = picture("width = 8\nheight = 8\nrange = [0.0, 16.0]").unwrap();
        let values: Vec<f32> = (0..64).map(|i| if i == 9 { 16.0 } else { 0.0 }).collect();
        for shape in [vec![1, 64], vec![64], vec![1, 8, 8], vec![1, 1, 8, 8], vec![1, 8, 8, 1], vec![8, 8]] {
            let tensor = Tensor::from_f32("x", shape.clone(), &values).unwrap();
            let (width, height, pixels) = decoded(&picture.png(&tensor).unwrap());
            assert_eq!((width, height), (224, 224), "{shape:?}");
            for (at, value) in pixels.iter().enumerate() {
                let (x, y) = (at % 224 / 28, at / 224 / 28);
                assert_eq!(*value, if (x, y) == (1, 1) { 255 } else { 0 }, "{shape:?} at {x}, {y}");
            }
        }
    }

    #[test]
    fn channels_may_stand_first_or_last() {
        let picture = picture("width = 2\nheight = 1\nchannels = 3\nrange = [0.0, 1.0]").unwrap();
        let (red_then_green, planes) = ([1.0, 0.0, 0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
        let last = Tensor::from_f32("x", vec![1, 1, 2, 3], &red_then_green).unwrap();
        let first = Tensor::from_f32("x", vec![1, 3, 1, 2], &planes).unwrap();
        let (width, height, pixels) = decoded(&picture.png(&last).unwrap());
        assert_eq!((width, height), (448, 224));
        assert_eq!((&pixels[..3], &pixels[447 * 3..448 * 3]), (&[255, 0, 0][..], &[0, 255, 0][..]));
        assert_eq!(decoded(&picture.png(&first).unwrap()).2, pixels);
    }

    #[test]
    fn values_beyond_the_range_are_black_or_white() {
        let picture = picture("width = 5\nheight = 1\nrange = [-1.0, 1.0]").unwrap();
        let tensor = Tensor::from_f32("x", vec![5], &[-9.0, -1.0, 0.0, 9.0, f32::NAN]).unwrap();
        let (width, _, pixels) = decoded(&picture.png(&tensor).unwrap());
        let zoom = width as usize / 5;
        assert_eq!((0..5).map(|x| pixels[x * zoom]).collect::<Vec<_>>(), [0, 0, 128, 255, 0]);
    }

    #[test]
    fn what_is_no_picture_is_not_made_one() {
        let picture = picture("width = 8\nheight = 4").unwrap();
        for shape in [vec![31], vec![4, 4, 2], vec![8, 4], vec![2, 4, 8], vec![], vec![1]] {
            let values = vec![0.0; shape.iter().product()];
            let tensor = Tensor::from_f32("x", shape.clone(), &values).unwrap();
            assert!(!picture.fits(&tensor) && picture.png(&tensor).is_err(), "{shape:?}");
        }
        for wrong in [
            "width = 0\nheight = 1",
            "width = 2049\nheight = 1",
            "width = 8\nheight = 8\nchannels = 4",
            "width = 8\nheight = 8\nrange = [1.0, 1.0]",
            "width = 8\nheight = 8\nrange = [0.0, inf]",
        ] {
            assert!(super::tests::picture(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_picture_that_does_not_compress_is_too_large() {
        let picture = picture("width = 2048\nheight = 2048").unwrap();
        let mut noise = 1u32;
        let mut random = || {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        };
        let bytes: Vec<u8> = (0..2048 * 2048).map(|_| random()).collect();
        let tensor = Tensor::new("x", crate::tensor::Dtype::Uint8, vec![2048, 2048], bytes).unwrap();
        assert!(picture.png(&tensor).unwrap_err().contains("is the most"));
        let even = Tensor::new("x", crate::tensor::Dtype::Uint8, vec![2048, 2048], vec![7u8; 2048 * 2048]).unwrap();
        assert_eq!(decoded(&picture.png(&even).unwrap()).2[0], 7);
    }
}

//! A job's bytes as tensors that fit what the model asks for.

use picket_core::job::Failure;

use super::image;
use crate::{
    oip,
    ports::{Content, TensorSpec},
    tensor::{Dtype, Tensor, elements, shape_text},
};

/// Decodes a job and checks it against `wanted`; the tensors come in that order.
///
/// # Errors
/// `input/undecodable`, `input/shape-mismatch`, `input/dtype-mismatch`, `input/too-large` or `input/non-finite`, with what was
/// wanted and what came.
pub fn decode(content: &Content, wanted: &[TensorSpec]) -> Result<Vec<Tensor>, Failure> {
    let tensors = match content {
        Content::Raw { bytes, dtype, shape } => vec![raw(bytes, *dtype, shape.as_deref(), wanted)?],
        Content::Oip { json, binary } => request(oip::decode_inputs(json, binary)?, wanted)?,
        Content::Image { bytes, .. } => {
            let [spec] = wanted else {
                let message =
                    format!("this model has {} inputs; an image is only one, send a JSON request", wanted.len());
                return Err(Failure::new("input/undecodable", message));
            };
            vec![picture(bytes, spec)?]
        }
    };
    let tensors = in_order(tensors, wanted)?;
    for (tensor, spec) in tensors.iter().zip(wanted) {
        check(tensor, spec)?;
    }
    Ok(tensors)
}

/// The tensors of a request; its files are images.
fn request(inputs: oip::Inputs, wanted: &[TensorSpec]) -> Result<Vec<Tensor>, Failure> {
    let oip::Inputs { mut tensors, files } = inputs;
    for (name, file) in files {
        let spec = match wanted {
            [only] => only,
            several => several.iter().find(|spec| spec.name == name).ok_or_else(|| {
                let known: Vec<&str> = several.iter().map(|spec| spec.name.as_str()).collect();
                let message = format!("there is no input {name:?}");
                Failure::new("input/undecodable", message).expected(known.join(", "), name)
            })?,
        };
        tensors.push(picture(&file, spec)?);
    }
    Ok(tensors)
}

/// Rows of pixels of three bytes, however many: that is how a bundle says that an input takes images.
fn takes_images(spec: &TensorSpec) -> bool {
    spec.dtype == Dtype::Uint8 && matches!(spec.shape[..], [_, _, Some(3)])
}

/// An image file as height × width × 3.
fn picture(file: &[u8], spec: &TensorSpec) -> Result<Tensor, Failure> {
    if !takes_images(spec) {
        let message = format!("input {:?} is {}, which no image is", spec.name, spec.kind());
        return Err(Failure::new("input/dtype-mismatch", message).expected(spec.kind(), "an image"));
    }
    let image::Pixels { width, height, rgb } = image::decode(file)?;
    Tensor::new(spec.name.as_str(), Dtype::Uint8, vec![height, width, 3], rgb)
        .map_err(|error| Failure::new("input/too-large", error.to_string()))
}

fn raw(
    bytes: &bytes::Bytes,
    dtype: Option<Dtype>,
    shape: Option<&[usize]>,
    wanted: &[TensorSpec],
) -> Result<Tensor, Failure> {
    let [spec] = wanted else {
        let message = format!("this model has {} inputs; a raw tensor is only one, send a JSON request", wanted.len());
        return Err(Failure::new("input/undecodable", message));
    };
    if bytes.is_empty() {
        return Err(Failure::new("input/undecodable", "the payload is empty").expected(spec.kind(), "0 bytes"));
    }
    let dtype = dtype.unwrap_or(spec.dtype);
    let shape = match shape {
        Some(shape) => shape.to_vec(),
        None => implied_shape(bytes.len(), dtype, spec)?,
    };
    Tensor::new(spec.name.as_str(), dtype, shape, bytes.clone()).map_err(|error| {
        let got = format!("{} bytes", bytes.len());
        Failure::new("input/shape-mismatch", error.to_string()).expected(spec.kind(), got)
    })
}

/// The bundle's shape; one free dimension takes what the payload's length leaves for it.
fn implied_shape(bytes: usize, dtype: Dtype, spec: &TensorSpec) -> Result<Vec<usize>, Failure> {
    let known: Vec<usize> = spec.shape.iter().copied().flatten().collect();
    let free = spec.shape.len() - known.len();
    let count = bytes / dtype.size();
    let product = elements(&known).unwrap_or(0).max(1);
    let fits =
        bytes.is_multiple_of(dtype.size()) && if free == 0 { count == product } else { count.is_multiple_of(product) };
    if !fits || free > 1 {
        let got =
            if bytes.is_multiple_of(dtype.size()) { raw_kind(count, dtype, spec) } else { format!("{bytes} bytes") };
        let message = format!("{} raw bytes do not make a {}", bytes, spec.kind());
        return Err(Failure::new("input/shape-mismatch", message).expected(spec.kind(), got));
    }
    Ok(spec.shape.iter().map(|dim| dim.unwrap_or(count / product)).collect())
}

/// How people would write the tensor that so many elements are: as a row, where the model wants rows.
fn raw_kind(count: usize, dtype: Dtype, spec: &TensorSpec) -> String {
    match spec.shape.as_slice() {
        [Some(1), _] => format!("1x{count} {dtype}"),
        _ => format!("{count} {dtype}"),
    }
}

/// By name where names are right; a single input may have any name.
fn in_order(mut tensors: Vec<Tensor>, wanted: &[TensorSpec]) -> Result<Vec<Tensor>, Failure> {
    if let ([tensor], [spec]) = (tensors.as_mut_slice(), wanted) {
        tensor.name.clone_from(&spec.name);
        return Ok(tensors);
    }
    let mut ordered = Vec::with_capacity(wanted.len());
    for spec in wanted {
        let Some(at) = tensors.iter().position(|tensor| tensor.name == spec.name) else {
            let want: Vec<&str> = wanted.iter().map(|spec| spec.name.as_str()).collect();
            let message = format!("input {:?} is missing", spec.name);
            return Err(Failure::new("input/undecodable", message)
                .expected(want.join(", "), format!("{} inputs", tensors.len())));
        };
        ordered.push(tensors.swap_remove(at));
    }
    match tensors.first() {
        Some(extra) => Err(Failure::new("input/undecodable", format!("there is no input {:?}", extra.name))),
        None => Ok(ordered),
    }
}

fn check(tensor: &Tensor, spec: &TensorSpec) -> Result<(), Failure> {
    if tensor.dtype() != spec.dtype {
        let message = format!("input {:?} is {}, not {}", spec.name, spec.dtype, tensor.dtype());
        return Err(Failure::new("input/dtype-mismatch", message).expected(spec.kind(), tensor.kind()));
    }
    if !spec.accepts(tensor.shape()) {
        let message = format!("input {:?} has the shape {}", spec.name, shape_text(tensor.shape()));
        return Err(Failure::new("input/shape-mismatch", message).expected(spec.kind(), tensor.kind()));
    }
    match tensor.first_non_finite() {
        Some(at) => {
            Err(Failure::new("input/non-finite", format!("input {:?} is not finite at element {at}", spec.name)))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::media::Media;

    fn spec(name: &str, dtype: Dtype, shape: &[Option<usize>]) -> TensorSpec {
        TensorSpec { name: name.into(), dtype, shape: shape.to_vec() }
    }

    /// One red pixel.
    fn png() -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, 1, 1);
        encoder.set_color(png::ColorType::Rgb);
        encoder.write_header().unwrap().write_image_data(&[255, 0, 0]).unwrap();
        file
    }

    fn image() -> Content {
        Content::Image { bytes: png().into(), media: Media::Jpeg }
    }

    #[test]
    fn an_image_is_bytes_by_height_width_and_colour() {
        let wanted = [spec("photo", Dtype::Uint8, &[None, None, Some(3)])];
        let pixels = decode(&image(), &wanted).unwrap();
        assert_eq!((pixels[0].kind().as_str(), &pixels[0].data()[..]), ("1x1x3 UINT8", &[255, 0, 0][..]));
        assert_eq!(pixels[0].name, "photo");
        let json =
            br#"{"inputs":[{"name":"x","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":SIZE}}]}"#;
        let file = png();
        let json = String::from_utf8_lossy(json).replace("SIZE", &(file.len() + 4).to_string());
        let length = u32::try_from(file.len()).unwrap().to_le_bytes();
        let binary = Bytes::from([&length[..], &file].concat());
        assert_eq!(decode(&Content::Oip { json: json.into(), binary }, &wanted).unwrap(), pixels);
    }

    #[test]
    fn a_model_that_takes_no_image_says_what_it_takes() {
        let floats = decode(&image(), &[spec("x", Dtype::Fp32, &[Some(1), Some(64)])]).unwrap_err();
        assert_eq!((floats.code, floats.want.as_deref()), ("input/dtype-mismatch", Some("1x64 FP32")));
        let small = decode(&image(), &[spec("x", Dtype::Uint8, &[Some(8), Some(8), Some(3)])]).unwrap_err();
        assert_eq!((small.code, small.got.as_deref()), ("input/shape-mismatch", Some("1x1x3 UINT8")));
        let two = [spec("a", Dtype::Uint8, &[None, None, Some(3)]), spec("b", Dtype::Fp32, &[Some(1)])];
        assert_eq!(decode(&image(), &two).unwrap_err().code, "input/undecodable");
    }
}

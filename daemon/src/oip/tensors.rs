//! One tensor of a document, request or response alike.

use std::{borrow::Cow, fmt};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use picket_core::{job::Failure, limits};
use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use super::{numbers, undecodable};
use crate::tensor::{Dtype, Tensor, elements, shape_text};

/// A tensor as it stands in JSON. Its values stay text until the type is known: keys come in any order.
#[derive(Deserialize)]
pub(super) struct TensorDoc<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    shape: Shape,
    #[serde(borrow)]
    datatype: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    parameters: Option<TensorParameters>,
}

#[derive(Deserialize)]
struct TensorParameters {
    binary_data_size: Option<usize>,
}

/// What `null` among the values means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Nulls {
    /// A mistake: requests have numbers.
    Refused,
    /// NaN: this is how responses write what JSON has no number for. Tensors of types that we do not have are skipped.
    AreNan,
}

/// What a document carries.
pub(super) struct Decoded {
    pub tensors: Vec<Tensor>,
    /// Of each BYTES tensor that holds one text: its name, and the text.
    pub texts: Vec<(String, String)>,
    /// Of each BYTES tensor of a request: its name, and its only element.
    pub files: Vec<(String, Bytes)>,
}

/// All tensors of a document, without those of type BYTES where these are skipped. `binary` must be used up exactly.
pub(super) fn decode_tensors(docs: &[TensorDoc<'_>], binary: &Bytes, nulls: Nulls) -> Result<Decoded, Failure> {
    let mut used = 0usize;
    let mut decoded = Decoded { tensors: Vec::with_capacity(docs.len()), texts: Vec::new(), files: Vec::new() };
    for doc in docs {
        let slice = match doc.binary_size() {
            Some(size) => {
                let end = used.checked_add(size).filter(|end| *end <= binary.len());
                let end = end.ok_or_else(|| sizes_differ(docs, binary))?;
                let slice = binary.slice(used..end);
                used = end;
                Some(slice)
            }
            None => None,
        };
        if nulls == Nulls::AreNan && doc.datatype == "BYTES" {
            decoded.texts.extend(doc.text(slice).map(|text| (doc.name.to_string(), text)));
            continue;
        }
        if doc.datatype == "BYTES" {
            decoded.files.push((doc.name.to_string(), doc.file(slice)?));
            continue;
        }
        decoded.tensors.push(doc.decode(slice, nulls)?);
    }
    if used != binary.len() {
        return Err(sizes_differ(docs, binary));
    }
    Ok(decoded)
}

fn sizes_differ(docs: &[TensorDoc<'_>], binary: &Bytes) -> Failure {
    let stated = docs.iter().filter_map(TensorDoc::binary_size).fold(0usize, usize::saturating_add);
    undecodable("the tensors' `binary_data_size` do not add up to the bytes after the JSON part")
        .expected(format!("{stated} bytes"), format!("{} bytes", binary.len()))
}

impl TensorDoc<'_> {
    fn binary_size(&self) -> Option<usize> {
        self.parameters.as_ref().and_then(|own| own.binary_data_size)
    }

    fn decode(&self, binary: Option<Bytes>, nulls: Nulls) -> Result<Tensor, Failure> {
        let (name, shape) = (&*self.name, &self.shape.0);
        let dtype = self.dtype()?;
        let count = elements(shape).ok_or_else(|| {
            let want = format!("at most {} elements", limits::MAX_TENSOR_ELEMENTS);
            Failure::new("input/too-large", format!("tensor `{name}` is too large")).expected(want, shape_text(shape))
        })?;
        let data = match (self.data, binary) {
            (Some(text), None) => numbers::decode(name, dtype, shape, count, text.get(), nulls)?.into(),
            (None, Some(bytes)) => bytes,
            (Some(_), Some(_)) => {
                return Err(undecodable(format!("tensor `{name}` has both `data` and `binary_data_size`")));
            }
            (None, None) => return Err(undecodable(format!("tensor `{name}` has neither `data` nor binary data"))),
        };
        let got = data.len();
        Tensor::new(name, dtype, shape.clone(), data).map_err(|error| {
            Failure::new("input/shape-mismatch", format!("tensor `{name}`: {error}"))
                .expected(format!("{} bytes", error.want), format!("{got} bytes"))
        })
    }

    /// The only text of a BYTES tensor.
    fn text(&self, binary: Option<Bytes>) -> Option<String> {
        if elements(&self.shape.0) != Some(1) {
            return None;
        }
        match binary {
            Some(binary) => String::from_utf8(only_element(&binary)?.to_vec()).ok(),
            None => self.string(),
        }
    }

    /// The only element of a BYTES tensor: as it is in binary data, in base64 in JSON.
    fn file(&self, binary: Option<Bytes>) -> Result<Bytes, Failure> {
        let Self { name, .. } = self;
        if elements(&self.shape.0) != Some(1) {
            let message = format!("tensor `{name}`: BYTES of more than one element; a job has one file");
            return Err(Failure::new("input/shape-mismatch", message).expected("1", shape_text(&self.shape.0)));
        }
        let Some(binary) = binary else {
            let text = self.string().ok_or_else(|| undecodable(format!("tensor `{name}`: BYTES without a text")))?;
            let bytes = BASE64_STANDARD.decode(&text);
            return bytes.map(Bytes::from).map_err(|why| undecodable(format!("tensor `{name}` is no base64: {why}")));
        };
        let message = format!("tensor `{name}`: its length, four bytes, does not say how many follow");
        only_element(&binary).ok_or_else(|| undecodable(message))
    }

    /// The JSON string that is all the data.
    fn string(&self) -> Option<String> {
        let mut value: Value = serde_json::from_str(self.data?.get()).ok()?;
        // Nested as the shape is, or flat.
        while let Value::Array(mut items) = value {
            value = items.pop().filter(|_| items.is_empty())?;
        }
        match value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    fn dtype(&self) -> Result<Dtype, Failure> {
        Dtype::parse(&self.datatype)
            .ok_or_else(|| undecodable(format!("tensor `{}`: no data type is called `{}`", self.name, self.datatype)))
    }
}

/// What is behind its length: four bytes, the lowest first.
fn only_element(binary: &Bytes) -> Option<Bytes> {
    let (length, rest) = binary.split_first_chunk::<4>()?;
    (usize::try_from(u32::from_le_bytes(*length)) == Ok(rest.len())).then(|| binary.slice(4..))
}

/// Dimensions, of which a hostile document could list millions.
struct Shape(Vec<usize>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {} dimensions, whole numbers from 0", limits::MAX_TENSOR_RANK)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Shape, A::Error> {
        let mut shape = Vec::new();
        while let Some(dimension) = items.next_element()? {
            if shape.len() == limits::MAX_TENSOR_RANK {
                return Err(A::Error::invalid_length(shape.len() + 1, &self));
            }
            shape.push(dimension);
        }
        Ok(Shape(shape))
    }
}

//! Responses: ours to a caller, a provider's to us, and errors.

use bytes::Bytes;
use picket_core::job::Failure;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    numbers,
    tensors::{Nulls, TensorDoc, decode_tensors},
    undecodable,
};
use crate::{ports::OutputForm, tensor::Tensor};

/// An inference response.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    pub model_name: String,
    pub model_version: String,
    pub id: String,
    pub parameters: Map<String, Value>,
    pub outputs: Vec<Tensor>,
    /// Of each BYTES output that holds one text: its name, and the text.
    pub texts: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct ResponseDoc<'a> {
    model_name: Option<String>,
    model_version: Option<String>,
    id: Option<String>,
    parameters: Option<Map<String, Value>>,
    #[serde(borrow)]
    outputs: Vec<TensorDoc<'a>>,
}

/// Somebody's response; `null` among its values becomes NaN, and BYTES tensors of several texts are skipped.
///
/// # Errors
/// The same as [`super::decode_inputs`].
pub fn decode_response(json: &[u8], binary: &Bytes) -> Result<Response, Failure> {
    let doc: ResponseDoc<'_> = serde_json::from_slice(json).map_err(undecodable)?;
    let decoded = decode_tensors(&doc.outputs, binary, Nulls::AreNan)?;
    Ok(Response {
        model_name: doc.model_name.unwrap_or_default(),
        model_version: doc.model_version.unwrap_or_default(),
        id: doc.id.unwrap_or_default(),
        parameters: doc.parameters.unwrap_or_default(),
        outputs: decoded.tensors,
        texts: decoded.texts,
    })
}

#[derive(Serialize)]
struct OutputHead<'a> {
    name: &'a str,
    shape: &'a [usize],
    datatype: &'static str,
}

/// The wanted outputs: appends the JSON array to `json`, and returns the tensors that go behind the document, in order.
///
/// NaN and the infinities have no JSON number: in a JSON output they are written as `null`; a binary output has them as
/// they are. Outputs that were asked for and do not exist are left out.
pub fn encode_outputs<'a>(outputs: &'a [Tensor], form: &OutputForm, json: &mut Vec<u8>) -> Vec<&'a Tensor> {
    let wanted: Vec<(&Tensor, bool)> = if form.requested.is_empty() {
        outputs.iter().map(|tensor| (tensor, form.binary_by_default)).collect()
    } else {
        let find = |name: &str| outputs.iter().find(|tensor| tensor.name == name);
        let wishes = form.requested.iter();
        wishes.filter_map(|(name, own)| Some((find(name)?, own.unwrap_or(form.binary_by_default)))).collect()
    };
    let mut behind = Vec::new();
    json.push(b'[');
    for (index, (tensor, binary)) in wanted.into_iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        let head = OutputHead { name: &tensor.name, shape: tensor.shape(), datatype: tensor.dtype().name() };
        let written = serde_json::to_writer(&mut *json, &head);
        debug_assert!(written.is_ok(), "writing a plain struct to memory cannot fail");
        json.pop();
        if binary {
            let size = json!({ "binary_data_size": tensor.data().len() });
            json.extend_from_slice(format!(",\"parameters\":{size}}}").as_bytes());
            behind.push(tensor);
        } else {
            json.extend_from_slice(b",\"data\":");
            numbers::encode(tensor, json);
            json.push(b'}');
        }
    }
    json.push(b']');
    behind
}

/// An inference response with the decision in its parameters: the payload, and the length of its JSON part when binary
/// tensors follow it. See [`encode_outputs`] for what becomes of NaN.
pub fn infer_response(
    model_name: &str,
    model_version: &str,
    id: &str,
    parameters: Map<String, Value>,
    outputs: &[Tensor],
    form: &OutputForm,
) -> (Vec<u8>, Option<usize>) {
    let head = json!({
        "model_name": model_name,
        "model_version": model_version,
        "id": id,
        "parameters": parameters,
    });
    let mut payload = head.to_string().into_bytes();
    payload.pop();
    payload.extend_from_slice(b",\"outputs\":");
    let behind = encode_outputs(outputs, form, &mut payload);
    payload.push(b'}');
    if behind.is_empty() {
        return (payload, None);
    }
    let json_len = payload.len();
    payload.reserve_exact(behind.iter().map(|tensor| tensor.data().len()).sum());
    behind.iter().for_each(|tensor| payload.extend_from_slice(tensor.data()));
    (payload, Some(json_len))
}

/// An error as clients of the protocol expect it, `error` being one text, with the parts beside it for programs:
/// `{"error":"code: message","code":…,"id":…,"want":…,"got":…}`. An empty `id` and absent parts are left out.
pub fn error_document(id: &str, failure: &Failure) -> Vec<u8> {
    let mut doc = Map::new();
    doc.insert("error".to_owned(), failure.to_string().into());
    doc.insert("code".to_owned(), failure.code.into());
    let parts = [("id", Some(id).filter(|id| !id.is_empty())), ("want", failure.want.as_deref())];
    for (key, value) in parts.into_iter().chain([("got", failure.got.as_deref())]) {
        if let Some(value) = value {
            doc.insert(key.to_owned(), value.into());
        }
    }
    Value::Object(doc).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Dtype;

    fn outputs() -> Vec<Tensor> {
        vec![
            Tensor::from_f32("probs", vec![1, 3], &[0.1, 1e-7, 0.9]).unwrap(),
            Tensor::new("index", Dtype::Int64, vec![1], 2i64.to_le_bytes().to_vec()).unwrap(),
        ]
    }

    fn round_trip(outputs: &[Tensor], form: &OutputForm) -> (Response, Option<usize>) {
        let decision = json!({ "label": "7", "confidence": 0.5 }).as_object().cloned().unwrap();
        let (payload, json_len) = infer_response("digits", "3", "a/1", decision, outputs, form);
        let payload = Bytes::from(payload);
        let split = json_len.unwrap_or(payload.len());
        let response = decode_response(&payload[..split], &payload.slice(split..)).unwrap();
        assert_eq!((&*response.model_name, &*response.model_version, &*response.id), ("digits", "3", "a/1"));
        assert_eq!(response.parameters["label"], "7");
        (response, json_len)
    }

    #[test]
    fn json_outputs_read_back_to_the_same_bits() {
        let (response, json_len) = round_trip(&outputs(), &OutputForm::default());
        assert_eq!((response.outputs, json_len), (outputs(), None));
    }

    #[test]
    fn binary_outputs_stand_behind_the_document() {
        let form = OutputForm { binary_by_default: true, requested: Vec::new() };
        let (response, json_len) = round_trip(&outputs(), &form);
        assert_eq!(response.outputs, outputs());
        assert!(json_len.is_some());
    }

    #[test]
    fn every_output_may_have_its_own_form() {
        let requested = vec![("index".to_owned(), Some(true)), ("probs".to_owned(), None), ("none".to_owned(), None)];
        let form = OutputForm { binary_by_default: false, requested };
        let (payload, json_len) = infer_response("m", "1", "", Map::new(), &outputs(), &form);
        assert_eq!(payload.len(), json_len.unwrap() + 8);
        let (response, _) = round_trip(&outputs(), &form);
        assert_eq!(response.outputs.iter().map(|t| &*t.name).collect::<Vec<_>>(), ["index", "probs"]);
    }

    #[test]
    fn all_types_survive_as_text() {
        for dtype in Dtype::ALL {
            let bytes = match dtype {
                Dtype::Bool => vec![1u8],
                Dtype::Fp16 => half::f16::from_f32(-0.1).to_le_bytes().to_vec(),
                Dtype::Fp32 => 3.402_823e-39f32.to_le_bytes().to_vec(),
                Dtype::Fp64 => f64::MIN_POSITIVE.to_le_bytes().to_vec(),
                _ => vec![0xff; dtype.size()],
            };
            let tensor = Tensor::new("x", dtype, vec![], bytes).unwrap();
            let (response, _) = round_trip(std::slice::from_ref(&tensor), &OutputForm::default());
            assert_eq!(response.outputs, [tensor], "{dtype}");
        }
    }

    #[test]
    fn what_json_has_no_number_for_is_null() {
        let odd = [Tensor::from_f32("x", vec![3], &[f32::NAN, f32::INFINITY, 1.0]).unwrap()];
        let (payload, _) = infer_response("m", "1", "", Map::new(), &odd, &OutputForm::default());
        assert!(String::from_utf8(payload).unwrap().contains("[null,null,1.0]"));
        let (response, _) = round_trip(&odd, &OutputForm::default());
        assert!(response.outputs[0].to_f32()[1].is_nan());
    }

    #[test]
    fn a_foreign_response_may_be_sparse_and_have_texts() {
        let json = br#"{"outputs":[{"name":"names","shape":[1],"datatype":"BYTES","data":["cat"]},
            {"name":"p","shape":[2],"datatype":"FP32","data":[[0.5],[0.5]]}]}"#;
        assert!(decode_response(json, &Bytes::new()).is_err(), "nesting must be the shape's");
        let json = br#"{"outputs":[{"name":"names","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":3}},
            {"name":"p","shape":[2],"datatype":"FP32","data":[0.5,0.5]}]}"#;
        let response = decode_response(json, &Bytes::from_static(b"cat")).unwrap();
        assert_eq!((response.outputs.len(), response.texts), (1, Vec::new()), "a text has its length in front");
        assert_eq!(decode_response(b"<html>", &Bytes::new()).unwrap_err().code, "input/undecodable");
        assert_eq!(decode_response(br#"{"error":"no"}"#, &Bytes::new()).unwrap_err().code, "input/undecodable");
    }

    #[test]
    fn one_text_is_kept_and_several_are_not() {
        let texts = |shape: &str, more: &str, binary: &'static [u8]| {
            let json = format!(r#"{{"outputs":[{{"name":"l","shape":{shape},"datatype":"BYTES",{more}}}]}}"#);
            decode_response(json.as_bytes(), &Bytes::from_static(binary)).unwrap().texts
        };
        let cat = vec![("l".to_owned(), "cat".to_owned())];
        for (shape, data) in [("[1]", r#"["cat"]"#), ("[1,1]", r#"[["cat"]]"#), ("[]", r#""cat""#)] {
            assert_eq!(texts(shape, &format!(r#""data":{data}"#), b""), cat, "{data}");
        }
        assert_eq!(texts("[1]", r#""parameters":{"binary_data_size":7}"#, b"\x03\0\0\0cat"), cat);
        for (shape, data) in [("[2]", r#"["cat","dog"]"#), ("[1]", r#"["cat","dog"]"#), ("[1]", "[7]"), ("[1]", "[]")] {
            assert_eq!(texts(shape, &format!(r#""data":{data}"#), b""), [], "{data}");
        }
        assert_eq!(texts("[1]", r#""parameters":{"binary_data_size":7}"#, b"\x09\0\0\0cat"), []);
        assert_eq!(texts("[1]", r#""parameters":{"binary_data_size":5}"#, b"\x01\0\0\0\xff"), []);
    }

    #[test]
    fn an_error_is_one_text_with_its_parts_beside() {
        let failure = Failure::new("input/shape-mismatch", "no").expected("1x64 FP32", "1x63 FP32");
        let doc: Value = serde_json::from_slice(&error_document("a", &failure)).unwrap();
        assert_eq!(
            doc,
            json!({ "error": "input/shape-mismatch: no", "code": "input/shape-mismatch", "id": "a",
                    "want": "1x64 FP32", "got": "1x63 FP32" })
        );
        let bare = error_document("", &Failure::new("job/shed", "busy"));
        assert_eq!(String::from_utf8(bare).unwrap(), r#"{"error":"job/shed: busy","code":"job/shed"}"#);
    }
}

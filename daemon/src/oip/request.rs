//! Requests: a cheap look for transports, the tensors for the model's threads, and our own to a provider.

use bytes::Bytes;
use picket_core::{job::Failure, limits};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use super::{
    response::encode_outputs,
    tensors::{Nulls, TensorDoc, decode_tensors},
    undecodable,
};
use crate::{
    options::{JobOptions, invalid},
    ports::OutputForm,
    tensor::Tensor,
};

/// What a request says around its tensors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Envelope {
    /// The `id` at the top; an empty one counts as none.
    pub id: Option<String>,
    pub parameters: Map<String, Value>,
    /// Where the answer goes, for clients whose transport cannot say it (MQTT 3.1.1); at the top or in the parameters.
    pub reply_to: Option<String>,
    /// Echoed with the answer, for the same clients.
    pub correlation: Option<String>,
    /// Which outputs are wanted, and in which form.
    pub outputs: OutputForm,
}

impl Envelope {
    /// The job's options out of the parameters; the `id` at the top wins over the one there.
    ///
    /// # Errors
    /// `job/invalid-option`, naming key and value.
    pub fn options(&self) -> Result<JobOptions, Failure> {
        let mut options = JobOptions::default();
        for (key, value) in self.parameters.iter().filter(|(key, _)| JobOptions::knows(key)) {
            match value {
                Value::String(text) => options.set(key, text)?,
                Value::Number(_) | Value::Bool(_) => options.set(key, &value.to_string())?,
                _ => return Err(invalid(key, &value.to_string(), "text, a number or true/false")),
            }
        }
        if let Some(id) = &self.id {
            options.set("id", id)?;
        }
        Ok(options)
    }

    fn text_parameter(&self, key: &str) -> Option<String> {
        self.parameters.get(key).and_then(Value::as_str).map(str::to_owned)
    }
}

#[derive(Deserialize)]
struct EnvelopeDoc<'a> {
    id: Option<String>,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
    #[serde(borrow)]
    outputs: Option<&'a RawValue>,
    reply_to: Option<String>,
    correlation: Option<String>,
}

#[derive(Deserialize)]
struct WantedOutput {
    name: String,
    parameters: Option<Map<String, Value>>,
}

/// Looks at a request without decoding its tensors; the whole document is checked to be JSON.
///
/// # Errors
/// `input/undecodable` for anything but a JSON object of the right form, `input/too-large` for parameters beyond
/// [`limits::OIP_PARAMETERS_BYTES`].
pub fn envelope(json: &[u8]) -> Result<Envelope, Failure> {
    let doc: EnvelopeDoc<'_> = serde_json::from_slice(json).map_err(undecodable)?;
    let parameters: Map<String, Value> = small("parameters", doc.parameters)?;
    let wanted: Vec<WantedOutput> = small("outputs", doc.outputs)?;
    let flag = |parameters: &Map<String, Value>, key| parameters.get(key).and_then(Value::as_bool);
    let outputs = OutputForm {
        binary_by_default: flag(&parameters, "binary_data_output").unwrap_or(false),
        requested: wanted
            .into_iter()
            .map(|output| (output.name, output.parameters.and_then(|own| flag(&own, "binary_data"))))
            .collect(),
    };
    let mut envelope = Envelope {
        id: doc.id.filter(|id| !id.is_empty()),
        parameters,
        reply_to: doc.reply_to,
        correlation: doc.correlation,
        outputs,
    };
    envelope.reply_to = envelope.reply_to.take().or_else(|| envelope.text_parameter("reply_to"));
    envelope.correlation = envelope.correlation.take().or_else(|| envelope.text_parameter("correlation"));
    Ok(envelope)
}

/// Decodes a part of the document that has no reason to be large; absent and `null` are empty.
fn small<T: serde::de::DeserializeOwned + Default>(name: &str, raw: Option<&RawValue>) -> Result<T, Failure> {
    let Some(raw) = raw else { return Ok(T::default()) };
    let (max, got) = (limits::OIP_PARAMETERS_BYTES, raw.get().len());
    if got > max {
        return Err(Failure::new("input/too-large", format!("`{name}` of a request has at most {max} bytes"))
            .expected(format!("{max} bytes"), format!("{got} bytes")));
    }
    serde_json::from_str(raw.get()).map_err(|why| undecodable(format!("`{name}`: {why}")))
}

#[derive(Deserialize)]
struct InputsDoc<'a> {
    #[serde(borrow)]
    inputs: Vec<TensorDoc<'a>>,
}

/// What a request brings, not yet compared with a model.
#[derive(Debug)]
pub struct Inputs {
    /// In the request's order.
    pub tensors: Vec<Tensor>,
    /// BYTES inputs by name: files such as images.
    pub files: Vec<(String, Bytes)>,
}

/// The inputs of a request. `binary` holds the tensors of
/// the binary extension, back to back; they are not copied, and their floats are not looked at.
///
/// # Errors
/// `input/undecodable` (not the protocol), `input/dtype-mismatch` (a value is not of the tensor's type),
/// `input/shape-mismatch` (not as many values as the shape says), `input/non-finite` (a number beyond the type's range),
/// `input/too-large` (more elements or dimensions than a tensor may have).
pub fn decode_inputs(json: &[u8], binary: &Bytes) -> Result<Inputs, Failure> {
    let doc: InputsDoc<'_> = serde_json::from_slice(json).map_err(undecodable)?;
    let decoded = decode_tensors(&doc.inputs, binary, Nulls::Refused)?;
    Ok(Inputs { tensors: decoded.tensors, files: decoded.files })
}

/// A request for all outputs, as [`binary_request`] makes it.
pub fn encode_request(id: &str, parameters: Map<String, Value>, inputs: &[Tensor]) -> (Vec<u8>, usize) {
    binary_request(id, parameters, inputs, None)
}

/// A request with binary tensors, asking for binary outputs: the JSON followed by the tensors, and the length of the
/// JSON part (the header `Inference-Header-Content-Length`). `output`: the only one that is wanted.
pub fn binary_request(
    id: &str,
    mut parameters: Map<String, Value>,
    inputs: &[Tensor],
    output: Option<&str>,
) -> (Vec<u8>, usize) {
    parameters.insert("binary_data_output".to_owned(), Value::Bool(true));
    let mut payload = up_to_inputs(id, parameters, output);
    let form = OutputForm { binary_by_default: true, requested: Vec::new() };
    let behind = encode_outputs(inputs, &form, &mut payload);
    payload.push(b'}');
    let json_len = payload.len();
    payload.reserve_exact(behind.iter().map(|tensor| tensor.data().len()).sum());
    behind.iter().for_each(|tensor| payload.extend_from_slice(tensor.data()));
    (payload, json_len)
}

/// A request with its tensors inside the document, for servers that do not know the binary tensor extension.
///
/// # Errors
/// `input/non-finite`: JSON has no number for one of the values.
pub fn json_request(
    id: &str,
    parameters: Map<String, Value>,
    inputs: &[Tensor],
    output: Option<&str>,
) -> Result<Vec<u8>, Failure> {
    if let Some(tensor) = inputs.iter().find(|tensor| tensor.first_non_finite().is_some()) {
        let message = format!("tensor `{}` has a value that JSON has no number for", tensor.name);
        return Err(Failure::new("input/non-finite", message));
    }
    let mut payload = up_to_inputs(id, parameters, output);
    encode_outputs(inputs, &OutputForm::default(), &mut payload);
    payload.push(b'}');
    Ok(payload)
}

/// The document as far as the array of its inputs, which is to follow.
fn up_to_inputs(id: &str, parameters: Map<String, Value>, output: Option<&str>) -> Vec<u8> {
    let mut doc = serde_json::json!({ "id": id, "parameters": parameters });
    if let Some(name) = output {
        doc["outputs"] = serde_json::json!([{ "name": name }]);
    }
    let mut payload = doc.to_string().into_bytes();
    payload.pop();
    payload.extend_from_slice(b",\"inputs\":");
    payload
}

#[cfg(test)]
mod tests {
    use picket_core::{job::Privacy, time::Span};

    use super::*;
    use crate::tensor::Dtype;

    fn decode(json: &str) -> Result<Vec<Tensor>, Failure> {
        decode_inputs(json.as_bytes(), &Bytes::new()).map(|inputs| inputs.tensors)
    }

    fn one(datatype: &str, shape: &str, data: &str) -> Result<Tensor, Failure> {
        let json = format!(r#"{{"inputs":[{{"name":"x","shape":{shape},"datatype":"{datatype}","data":{data}}}]}}"#);
        decode(&json).map(|mut tensors| tensors.remove(0))
    }

    fn code(result: Result<Tensor, Failure>) -> &'static str {
        result.expect_err("this must not decode").code
    }

    #[test]
    fn the_envelope_tells_all_but_the_tensors() {
        let json = br#"{"id":"a/1","parameters":{"deadline-ms":250,"privacy":"never","amend":true,"priority":"3",
            "colour":{"x":1},"binary_data_output":true,"reply_to":"r/1"},"correlation":"c",
            "inputs":[{"name":"x","shape":[2],"datatype":"FP32","data":[1,2]}],
            "outputs":[{"name":"probs","parameters":{"binary_data":false}},{"name":"boxes"}]}"#;
        let envelope = envelope(json).unwrap();
        assert_eq!(envelope.reply_to.as_deref(), Some("r/1"));
        assert_eq!(envelope.correlation.as_deref(), Some("c"));
        assert!(envelope.outputs.binary_by_default);
        assert_eq!(envelope.outputs.requested, [("probs".to_owned(), Some(false)), ("boxes".to_owned(), None)]);
        let options = envelope.options().unwrap();
        assert_eq!(options.id.unwrap().as_str(), "a/1");
        assert_eq!(options.deadline, Some(Span::from_millis(250)));
        assert_eq!((options.privacy, options.priority, options.amend), (Some(Privacy::Never), 3, true));
    }

    #[test]
    fn an_envelope_may_be_bare() {
        let envelope = envelope(br#"{"id":"","parameters":null}"#).unwrap();
        assert_eq!(envelope, Envelope::default());
        assert_eq!(envelope.options().unwrap(), JobOptions::default());
    }

    #[test]
    fn a_broken_envelope_is_refused() {
        for json in ["", "{", "[]", "7", r#"{"id":7}"#, r#"{"outputs":[{}]}"#, r#"{"inputs":[NaN]}"#, "{}x", "\u{1}"] {
            assert_eq!(envelope(json.as_bytes()).unwrap_err().code, "input/undecodable", "{json}");
        }
        assert_eq!(envelope(b"{\"id\":\"\xff\"}").unwrap_err().code, "input/undecodable");
        let large = format!(r#"{{"parameters":{{"a":"{}"}}}}"#, "x".repeat(limits::OIP_PARAMETERS_BYTES));
        assert_eq!(envelope(large.as_bytes()).unwrap_err().code, "input/too-large");
        let odd = envelope(br#"{"parameters":{"privacy":["ok"]}}"#).unwrap().options().unwrap_err();
        assert_eq!(odd.code, "job/invalid-option");
        assert!(odd.message.contains("privacy"));
    }

    #[test]
    fn data_may_be_flat_or_nested() {
        let flat = one("FP32", "[2,2]", "[1, 2.5,-3e2 ,\n4]").unwrap();
        assert_eq!(flat.to_f32(), [1.0, 2.5, -300.0, 4.0]);
        assert_eq!(one("FP32", "[2,2]", "[[1,2.5],[-300,4]]").unwrap(), flat);
        assert_eq!(one("INT8", "[1,2,1]", "[[[1],[-128]]]").unwrap().to_f32(), [1.0, -128.0]);
        assert_eq!(one("INT8", "[]", "[7]").unwrap().shape(), [0usize; 0]);
        assert_eq!(one("FP32", "[0,3]", "[]").unwrap().elements(), 0);
    }

    #[test]
    fn the_order_of_keys_does_not_matter() {
        let json = r#"{"inputs":[{"data":[300],"datatype":"INT16","extra":{"a":[1]},"shape":[1],"name":"x"}]}"#;
        assert_eq!(decode(json).unwrap()[0].to_f32(), [300.0]);
    }

    #[test]
    fn values_keep_every_bit() {
        let text = "[0.1,1.7976931348623157e308,5e-324,2.2250738585072011e-308]";
        let tensor = one("FP64", "[4]", text).unwrap();
        assert_eq!(tensor.to_f64(), [0.1, f64::MAX, 5e-324, 2.225_073_858_507_201e-308]);
        let wide = one("UINT64", "[1]", "[18446744073709551615]").unwrap();
        assert_eq!(wide.data()[..], u64::MAX.to_le_bytes());
        let deep = one("INT64", "[1]", "[-9223372036854775808]").unwrap();
        assert_eq!(deep.data()[..], i64::MIN.to_le_bytes());
        assert_eq!(one("FP16", "[1]", "[65504]").unwrap().to_f32(), [65504.0]);
        assert_eq!(one("BOOL", "[2]", "[true,false]").unwrap().data()[..], [1, 0]);
        assert_eq!(one("INT32", "[2]", "[3.0,1e3]").unwrap().to_f32(), [3.0, 1000.0]);
    }

    #[test]
    fn a_value_must_fit_its_type() {
        for (datatype, data) in [
            ("UINT8", "[256]"),
            ("UINT8", "[-1]"),
            ("INT8", "[128]"),
            ("INT32", "[1.5]"),
            ("INT64", "[9223372036854775808]"),
            ("UINT64", "[18446744073709551616]"),
            ("INT8", "[1e400]"),
            ("BOOL", "[1]"),
            ("FP32", "[true]"),
            ("FP32", "[\"1\"]"),
            ("FP32", "[{}]"),
        ] {
            let failure = one(datatype, "[1]", data).unwrap_err();
            assert_eq!(failure.code, "input/dtype-mismatch", "{datatype} {data}");
            assert_eq!(failure.want.as_deref(), Some(datatype));
        }
        assert!(one("UINT8", "[2]", "[1,256]").unwrap_err().message.contains("256"));
    }

    #[test]
    fn overflow_and_null_are_not_finite() {
        for (datatype, data) in [("FP32", "[1e39]"), ("FP64", "[-1e309]"), ("FP16", "[65520]"), ("FP32", "[null]")] {
            assert_eq!(code(one(datatype, "[1]", data)), "input/non-finite", "{datatype} {data}");
        }
    }

    #[test]
    fn the_number_of_values_must_fit_the_shape() {
        for (shape, data) in [
            ("[3]", "[1,2]"),
            ("[1]", "[1,2]"),
            ("[2,2]", "[[1,2,3],[4]]"),
            ("[2]", "[[1],[2]]"),
            ("[2,1]", "[[1,2]]"),
            ("[1]", "[[[[1]]]]"),
        ] {
            assert_eq!(code(one("FP32", shape, data)), "input/shape-mismatch", "{shape} {data}");
        }
        let failure = one("FP32", "[1,64]", "[1,2]").unwrap_err();
        assert_eq!((failure.want.as_deref(), failure.got.as_deref()), (Some("64 values"), Some("2 values")));
    }

    #[test]
    fn what_is_not_the_protocol_is_undecodable() {
        for (datatype, shape, data) in [
            ("FP99", "[1]", "[1]"),
            ("FP32", "[-1]", "[1]"),
            ("FP32", "[1.5]", "[1]"),
            ("FP32", "7", "[1]"),
            ("FP32", "[1]", "7"),
            ("FP32", "[1]", "{}"),
            ("FP32", "[1]", "null"),
        ] {
            assert_eq!(code(one(datatype, shape, data)), "input/undecodable", "{datatype} {shape} {data}");
        }
        assert_eq!(decode("{}").unwrap_err().code, "input/undecodable");
    }

    #[test]
    fn a_file_is_one_element_of_bytes_in_base64_or_behind_its_length() {
        let file = |shape: &str, more: &str, binary: &'static [u8]| {
            let json = format!(r#"{{"inputs":[{{"name":"photo","shape":{shape},"datatype":"BYTES",{more}}}]}}"#);
            decode_inputs(json.as_bytes(), &Bytes::from_static(binary)).map(|mut inputs| inputs.files.remove(0))
        };
        let photo = ("photo".to_owned(), Bytes::from_static(b"hallo"));
        for (shape, data) in [("[1]", r#"["aGFsbG8="]"#), ("[1,1]", r#"[["aGFsbG8="]]"#), ("[]", r#""aGFsbG8=""#)] {
            assert_eq!(file(shape, &format!("\"data\":{data}"), b"").unwrap(), photo, "{data}");
        }
        let binary = r#""parameters":{"binary_data_size":9}"#;
        assert_eq!(file("[1]", binary, b"\x05\0\0\0hallo").unwrap(), photo);
        for (shape, more, bytes, code) in [
            ("[1]", r#""data":["a b"]"#, &b""[..], "input/undecodable"),
            ("[1]", r#""data":[7]"#, b"", "input/undecodable"),
            ("[2]", r#""data":["aGFsbG8=","aGFsbG8="]"#, b"", "input/shape-mismatch"),
            ("[1]", binary, b"\x06\0\0\0hallo", "input/undecodable"),
        ] {
            assert_eq!(file(shape, more, bytes).unwrap_err().code, code, "{more}");
        }
    }

    #[test]
    fn a_tensor_cannot_be_endless() {
        assert_eq!(code(one("FP32", "[1000000,1000000]", "[1]")), "input/too-large");
        assert_eq!(code(one("FP32", "[18446744073709551615,18446744073709551615]", "[1]")), "input/too-large");
        let rank = format!("[{}1]", "1,".repeat(limits::MAX_TENSOR_RANK));
        assert_eq!(code(one("FP32", &rank, "[1]")), "input/undecodable");
        assert_eq!(code(one("FP32", "[1]", &"[".repeat(10_000))), "input/undecodable");
    }

    #[test]
    fn binary_tensors_come_back_as_they_left() {
        let inputs = [
            Tensor::from_f32("x", vec![1, 2], &[0.5, f32::MIN_POSITIVE]).unwrap(),
            Tensor::new("n", Dtype::Uint8, vec![3], vec![1u8, 2, 3]).unwrap(),
        ];
        let (payload, json_len) = encode_request("a", Map::new(), &inputs);
        let payload = Bytes::from(payload);
        let (json, binary) = (payload.slice(..json_len), payload.slice(json_len..));
        assert_eq!(decode_inputs(&json, &binary).unwrap().tensors, inputs);
        let seen = envelope(&json).unwrap();
        assert_eq!((seen.id.as_deref(), seen.outputs.binary_by_default), (Some("a"), true));

        let short = decode_inputs(&json, &binary.slice(1..)).unwrap_err();
        assert_eq!(short.code, "input/undecodable");
        let mut long = binary.to_vec();
        long.push(0);
        assert_eq!(decode_inputs(&json, &long.into()).unwrap_err().code, "input/undecodable");
    }

    #[test]
    fn json_tensors_come_back_as_they_left() {
        let fine = [
            Tensor::from_f32("x", vec![1, 2], &[0.1, f32::MIN_POSITIVE]).unwrap(),
            Tensor::new("d", Dtype::Fp64, vec![1], 1e300f64.to_le_bytes().to_vec()).unwrap(),
            Tensor::new("null", Dtype::Int64, vec![1], i64::MAX.to_le_bytes().to_vec()).unwrap(),
        ];
        let json = json_request("a", Map::new(), &fine, Some("probs")).unwrap();
        assert_eq!(decode_inputs(&json, &Bytes::new()).unwrap().tensors, fine);
        let seen = envelope(&json).unwrap();
        assert_eq!(seen.outputs, OutputForm { binary_by_default: false, requested: vec![("probs".to_owned(), None)] });
        let odd = [Tensor::from_f32("x", vec![1], &[f32::NAN]).unwrap()];
        assert_eq!(json_request("a", Map::new(), &odd, None).unwrap_err().code, "input/non-finite");
    }

    #[test]
    fn binary_sizes_must_fit() {
        let json = |parameters: &str| {
            format!(r#"{{"inputs":[{{"name":"x","shape":[2],"datatype":"FP32",{parameters}}}]}}"#).into_bytes()
        };
        let four = Bytes::from_static(&[0; 4]);
        let failure = decode_inputs(&json(r#""parameters":{"binary_data_size":4}"#), &four).unwrap_err();
        assert_eq!((failure.code, failure.want.as_deref()), ("input/shape-mismatch", Some("8 bytes")));
        let both = json(r#""data":[1,2],"parameters":{"binary_data_size":8}"#);
        assert_eq!(decode_inputs(&both, &Bytes::from_static(&[0; 8])).unwrap_err().code, "input/undecodable");
        assert_eq!(decode_inputs(&json(r#""parameters":{}"#), &Bytes::new()).unwrap_err().code, "input/undecodable");
    }

    #[test]
    fn an_image_in_text_decodes_whole() {
        let values: Vec<f32> = (0..150_528u32).map(|i| (i as f32).sin()).collect();
        let text = serde_json::to_string(&values).unwrap();
        assert_eq!(one("FP32", "[1,3,224,224]", &text).unwrap().to_f32(), values);
    }
}

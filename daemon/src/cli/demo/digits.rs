//! The digits of the test split, as jobs, and what a single Picket makes of them.

use std::{collections::HashMap, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use serde_json::{Map, json};

use crate::{oip, tensor::Tensor};

/// Handwritten digits (Alpaydin & Kaynak, UCI, CC BY 4.0); no model here has seen them in training.
const CSV: &str = include_str!("../../../../models/digits/test.csv");

pub struct Digit {
    /// What a person says it is.
    pub label: u8,
    /// 1x64 FP32, little-endian, pixels 0 to 16.
    pub tensor: Bytes,
}

/// The test split, in its order.
///
/// # Errors
/// The file that was compiled in is broken.
pub fn all() -> anyhow::Result<Vec<Digit>> {
    let rows = CSV.lines().filter(|line| !line.starts_with('#')).skip(1);
    rows.enumerate().map(|(row, line)| parse(line).with_context(|| format!("test.csv, digit {row}"))).collect()
}

fn parse(line: &str) -> anyhow::Result<Digit> {
    let mut numbers = line.split(',').map(|field| field.trim().parse::<u8>());
    let label = numbers.next().context("no label")??;
    let pixels = numbers.collect::<Result<Vec<u8>, _>>()?;
    anyhow::ensure!(pixels.len() == 64, "{} pixels", pixels.len());
    let tensor: Vec<u8> = pixels.iter().flat_map(|pixel| f32::from(*pixel).to_le_bytes()).collect();
    Ok(Digit { label, tensor: tensor.into() })
}

/// Share of the digits that this model alone gets right, asked over HTTP. `keep` forbids it to ask anybody else.
///
/// # Errors
/// A request fails.
pub async fn accuracy(digits: &[Digit], url: &str, model: &str, keep: bool) -> anyhow::Result<f64> {
    let client = crate::cli::http::client(url, Duration::from_secs(10))?;
    let url = format!("{url}/v2/models/{model}/infer");
    let mut answers: HashMap<Bytes, String> = HashMap::new();
    let mut right = 0;
    for (index, digit) in digits.iter().enumerate() {
        // Two digits of the split may look the same; one question does for both.
        let label = match answers.get(&digit.tensor) {
            Some(label) => label.clone(),
            None => {
                let mut parameters = Map::new();
                if keep {
                    parameters.insert("privacy".to_owned(), json!("never"));
                }
                let input = Tensor::new("pixels", crate::tensor::Dtype::Fp32, vec![1, 64], digit.tensor.clone())?;
                let (body, json_len) = oip::encode_request(&format!("alone-{index}"), parameters, &[input]);
                let request = client.post(&url).header("Inference-Header-Content-Length", json_len.to_string());
                let answer = request.body(body).send().await?.error_for_status()?;
                let json_len = answer
                    .headers()
                    .get("Inference-Header-Content-Length")
                    .map(|n| anyhow::Ok(n.to_str()?.parse::<usize>()?));
                let (json_len, answer) = (json_len.transpose()?, answer.bytes().await?);
                let json = &answer[..json_len.unwrap_or(answer.len()).min(answer.len())];
                let document: serde_json::Value = serde_json::from_slice(json)?;
                let label = document["parameters"]["label"].as_str().context("an answer without a label")?.to_owned();
                answers.insert(digit.tensor.clone(), label.clone());
                label
            }
        };
        right += usize::from(label == digit.label.to_string());
    }
    Ok(right as f64 / digits.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_digits_are_whole() {
        let digits = all().unwrap();
        assert_eq!(digits.len(), 300);
        assert!(digits.iter().all(|digit| digit.label < 10 && digit.tensor.len() == 256));
    }
}

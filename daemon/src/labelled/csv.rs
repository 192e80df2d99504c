//! A table: one case a row.

use std::path::Path;

use bytes::Bytes;
use picket_core::limits;

use super::{BadData, Case, Input, right};
use crate::ports::{Content, TensorSpec};

pub(super) fn read(path: &Path, bytes: &[u8], labels: &[String], inputs: &[TensorSpec]) -> Result<Vec<Case>, BadData> {
    let file = path.display();
    let [input] = inputs else {
        return Err(BadData(format!("{file}: the model has {} inputs, and a row is one; use .npz", inputs.len())));
    };
    let mut table = csv::ReaderBuilder::new().comment(Some(b'#')).trim(csv::Trim::All).from_reader(bytes);
    let header = table.headers().map_err(|error| BadData(format!("{file}: {error}")))?.clone();
    let column = |name: &str| header.iter().position(|column| column == name);
    let Some(label) = column("label") else {
        return Err(BadData(format!("{file}: no column is named `label`")));
    };
    let group = column("group");
    let mut cases = Vec::new();
    for row in table.records() {
        let row = row.map_err(|error| BadData(format!("{file}: {error}")))?;
        let place = format!("{file}:{}", row.position().map_or(0, csv::Position::line));
        if cases.len() == limits::LABELLED_CASES {
            return Err(BadData(format!("{place}: more than {} cases", limits::LABELLED_CASES)));
        }
        let cells: Vec<&str> =
            row.iter().enumerate().filter(|(at, _)| *at != label && Some(*at) != group).map(|(_, c)| c).collect();
        let content = request(input, &cells).map_err(|why| BadData(format!("{place}: {why}")))?;
        let named = group.and_then(|at| row.get(at)).filter(|name| !name.is_empty());
        cases.push(Case {
            label: right(row.get(label).unwrap_or_default(), labels, &place)?,
            group: named.map(str::to_owned),
            place,
            input: Input::Ready(content),
        });
    }
    Ok(cases)
}

/// A row as a request, so that its numbers are read as those of any job.
fn request(input: &TensorSpec, cells: &[&str]) -> Result<Content, String> {
    let known: usize = input.shape.iter().flatten().product();
    let free = input.shape.iter().filter(|dim| dim.is_none()).count();
    let fits = if free == 0 { cells.len() == known } else { free == 1 && cells.len().is_multiple_of(known.max(1)) };
    if !fits {
        return Err(format!("{} numbers, and input `{}` is {}", cells.len(), input.name, input.kind()));
    }
    if let Some(odd) = cells.iter().find(|cell| serde_json::from_str::<serde_json::Value>(cell).is_err()) {
        return Err(format!("{odd:?} is no number"));
    }
    let shape: Vec<usize> = input.shape.iter().map(|dim| dim.unwrap_or(cells.len() / known.max(1))).collect();
    let name = serde_json::Value::from(input.name.as_str());
    let json = format!(
        "{{\"inputs\":[{{\"name\":{name},\"datatype\":\"{}\",\"shape\":{shape:?},\"data\":[{}]}}]}}",
        input.dtype,
        cells.join(",")
    );
    Ok(Content::Oip { json: json.into(), binary: Bytes::new() })
}

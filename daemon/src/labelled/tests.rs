use std::fs;

use super::*;
use crate::{pipeline, tensor::Dtype, tensor::Tensor};

fn labels() -> Vec<String> {
    ["ok", "scratch", "dent"].map(str::to_owned).to_vec()
}

fn inputs() -> Vec<TensorSpec> {
    vec![TensorSpec { name: "x".to_owned(), dtype: Dtype::Fp32, shape: vec![Some(1), Some(3)] }]
}

/// Label, group and the values of the only input.
type Found = (usize, Option<String>, Vec<f32>);

/// The cases of a file of this name and content.
fn cases_of(name: &str, content: &[u8]) -> Result<Vec<Found>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    let read = read(&path, &labels(), &inputs()).map_err(|error| error.to_string())?;
    assert_eq!(read.sha256, files::sha256(content));
    Ok(read.cases.into_iter().map(|case| (case.label.class(), case.group, values(&case.input))).collect())
}

fn values(input: &Input) -> Vec<f32> {
    let Input::Ready(content) = input else { panic!("{input:?}") };
    pipeline::decode(content, &inputs()).unwrap()[0].to_f32()
}

#[test]
fn a_table_has_a_case_in_every_row() {
    let table = "# made by hand\nlabel,a,b,group,c\ndent,1,2,part-7,3.5\nok, 4 ,-5,,6e-1\n";
    let cases = cases_of("cases.csv", table.as_bytes()).unwrap();
    assert_eq!(cases[0], (2, Some("part-7".to_owned()), vec![1.0, 2.0, 3.5]));
    assert_eq!(cases[1], (0, None, vec![4.0, -5.0, 0.6]));
}

#[test]
fn a_bad_table_is_refused_with_its_line() {
    for (table, says) in [
        ("a,b,c\n1,2,3\n", "no column is named `label`"),
        ("label,a,b,c\nok,1,2,3\nskratch,1,2,3\n", "cases.csv:3: unknown label `skratch`; did you mean `scratch`?"),
        ("label,a,b\nok,1,2\n", "cases.csv:2: 2 numbers, and input `x` is 1x3 FP32"),
        ("label,a,b,c\nok,1,2,NaN\n", "cases.csv:2: \"NaN\" is no number"),
        ("label,a,b,c\nok,1,2\n", "found record with 3 fields"),
        ("label,a,b,c\n", "there are no cases"),
    ] {
        let error = cases_of("cases.csv", table.as_bytes()).unwrap_err();
        assert!(error.starts_with("error[calibration/bad-data]: ") && error.contains(says), "{error}");
    }
}

fn npz(arrays: &[(&str, Tensor)]) -> Vec<u8> {
    let arrays: Vec<(String, &Tensor)> = arrays.iter().map(|(name, tensor)| ((*name).to_owned(), tensor)).collect();
    crate::bundle::npz::write(&arrays).unwrap()
}

fn whole(name: &str, numbers: &[i32]) -> Tensor {
    let data: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    Tensor::new(name, Dtype::Int32, vec![numbers.len()], data).unwrap()
}

#[test]
fn arrays_have_their_cases_along_the_first_axis() {
    let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    for shape in [vec![2, 3], vec![2, 1, 3]] {
        let x = Tensor::from_f32("x", shape, &x).unwrap();
        let arrays = [("label", whole("label", &[1, 0])), ("group", whole("group", &[7, 7])), ("x", x)];
        let cases = cases_of("cases.npz", &npz(&arrays)).unwrap();
        assert_eq!(cases[0], (1, Some("7".to_owned()), vec![1.0, 2.0, 3.0]));
        assert_eq!(cases[1], (0, Some("7".to_owned()), vec![4.0, 5.0, 6.0]));
    }
}

#[test]
fn bad_arrays_are_refused() {
    let x = |n: usize| ("x", Tensor::from_f32("x", vec![n, 3], &vec![0.5; 3 * n]).unwrap());
    let label = |numbers: &[i32]| ("label", whole("label", numbers));
    let float = ("label", Tensor::from_f32("label", vec![1], &[0.0]).unwrap());
    let short = Tensor::from_f32("x", vec![1, 2], &[0.5; 2]).unwrap();
    for (arrays, says) in [
        (vec![x(1)], "there is no array `label`"),
        (vec![label(&[0])], "there is no array `x`"),
        (vec![label(&[0, 1]), x(1)], "array `x` is 1x3 FP32; 2 times 1x3 FP32 are wanted"),
        (vec![label(&[0]), ("x", short)], "array `x` is 1x2 FP32"),
        (vec![label(&[3]), x(1)], "cases.npz[0]: label 3 of 3"),
        (vec![label(&[-1]), x(1)], "cases.npz[0]: label -1 of 3"),
        (vec![float, x(1)], "whole numbers"),
        (vec![label(&[0]), ("group", whole("group", &[1, 2])), x(1)], "2 groups for 1 labels"),
    ] {
        let error = cases_of("cases.npz", &npz(&arrays)).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
    assert!(cases_of("cases.npz", b"nothing").unwrap_err().contains("no npz archive"));
}

#[test]
fn a_folder_says_the_label_and_a_folder_in_it_the_group() {
    let root = tempfile::tempdir().unwrap();
    for (path, bytes) in
        [("dent/part-1/a.bin", "aaaa"), ("dent/part-1/b.bin", "b"), ("ok/c.bin", "c"), ("ok/.hidden", "")]
    {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let before = read(root.path(), &labels(), &inputs()).unwrap();
    let found: Vec<_> = before.cases.iter().map(|case| (case.label.class(), case.group.as_deref())).collect();
    assert_eq!(found, [(2, Some("dent/part-1")), (2, Some("dent/part-1")), (0, None)]);
    fs::write(root.path().join("ok/c.bin"), "d").unwrap();
    assert_ne!(read(root.path(), &labels(), &inputs()).unwrap().sha256, before.sha256, "other data, other digest");
    fs::create_dir(root.path().join("scrap")).unwrap();
    let error = read(root.path(), &labels(), &inputs()).unwrap_err().to_string();
    assert!(error.contains("unknown label `scrap`"), "{error}");
}

#[test]
fn something_else_is_no_data() {
    assert!(cases_of("cases.txt", b"").unwrap_err().contains("neither a .csv nor a .npz file, nor a folder"));
    let error = read(std::path::Path::new("/nowhere.csv"), &labels(), &inputs()).unwrap_err().to_string();
    assert!(error.contains("/nowhere.csv: cannot be read"), "{error}");
}

#[test]
fn a_model_of_numbers_has_numbers_for_labels() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let read = super::read(&path, &[], &inputs()).map_err(|error| error.to_string())?;
        Ok::<_, String>(read.cases.into_iter().map(|case| case.label).collect::<Vec<_>>())
    };
    let label = |numbers: &[f32]| Tensor::from_f32("label", vec![numbers.len()], numbers).unwrap();
    let x = Tensor::from_f32("x", vec![2, 3], &[0.5; 6]).unwrap();
    let wanted = vec![Said::Value(1.5), Said::Value(-2.0)];
    assert_eq!(read("a.csv", b"label,a,b,c\n1.5,1,2,3\n-2,1,2,3\n").unwrap(), wanted);
    assert_eq!(read("a.npz", &npz(&[("label", label(&[1.5, -2.0])), ("x", x.clone())])).unwrap(), wanted);
    for odd in ["ok", "NaN", "inf", ""] {
        let error = read("b.csv", format!("label,a,b,c\n{odd},1,2,3\n").as_bytes()).unwrap_err();
        assert!(error.contains("b.csv:2: the label") && error.contains("is no number"), "{error}");
    }
    let error = read("b.npz", &npz(&[("label", label(&[1.0, f32::NAN])), ("x", x)])).unwrap_err();
    assert!(error.contains("b.npz[1]: the label NaN is no number"), "{error}");
    assert!(super::read(folder.path(), &[], &inputs()).unwrap_err().to_string().contains("gives numbers"));
}

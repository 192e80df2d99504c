//! The expected pixels are Pillow's (13.0.0) and, without antialias, OpenCV's formula done by hand.

use crate::{
    pipeline::prepare::{Prepared, prepare, tests_support::step},
    tensor::{Dtype, Tensor},
};

/// Grey columns of these values, three rows high.
fn columns(values: &[u8]) -> Tensor {
    let row: Vec<u8> = values.iter().flat_map(|value| [*value; 3]).collect();
    Tensor::new("x", Dtype::Uint8, vec![3, values.len(), 3], row.repeat(3)).unwrap()
}

fn resized(image: Tensor, keys: &str) -> Prepared {
    prepare(vec![image], &[step(&format!("step = \"resize\"\n{keys}"))]).unwrap()
}

/// The red values of the middle row.
fn reds(prepared: &Prepared) -> Vec<u8> {
    let tensor = &prepared.inputs[0];
    let [height, width, channels] = tensor.shape()[..] else { panic!("{tensor:?}") };
    let start = height / 2 * width * channels;
    tensor.data()[start..start + width * channels].iter().step_by(channels).copied().collect()
}

#[test]
fn shrinking_skips_nothing_unless_told_to() {
    let image = || columns(&[0, 0, 90, 200, 0, 0, 40, 250]);
    assert_eq!(reds(&resized(image(), "w = 2\nh = 3")), [58, 79]);
    assert_eq!(reds(&resized(image(), "w = 2\nh = 3\nfilter = \"area\"")), [73, 73]);
    // Centres at 1.5 and 5.5: half of each neighbour.
    assert_eq!(reds(&resized(image(), "w = 2\nh = 3\nantialias = false")), [45, 20]);
    assert_eq!(reds(&resized(image(), "w = 2\nh = 3\nfilter = \"nearest\"")), [90, 40]);
}

#[test]
fn a_letterbox_keeps_the_proportions_and_fills_up() {
    // 6 × 3 into 4 × 4: 4 × 2, one row above and one below.
    let keys = "w = 4\nh = 4\nfit = \"fit\"\nfilter = \"nearest\"\npad = [114, 0, 0]";
    let centred = resized(columns(&[1, 2, 3, 4, 5, 6]), keys);
    let rows: Vec<u8> = centred.inputs[0].data().iter().step_by(4 * 3).copied().collect();
    assert_eq!(rows, [114, 1, 1, 114]);
    assert_eq!((centred.view.point(0.0, 1.0), centred.view.point(4.0, 3.0)), ((0.0, 0.0), (6.0, 3.0)));
    assert_eq!(centred.view.size, Some((6, 3)));
    let corner = resized(columns(&[1, 2, 3, 4, 5, 6]), &format!("{keys}\nalign = \"corner\""));
    let rows: Vec<u8> = corner.inputs[0].data().iter().step_by(4 * 3).copied().collect();
    assert_eq!(rows, [1, 1, 114, 114]);
    assert_eq!(corner.view.point(4.0, 2.0), (6.0, 3.0));
}

#[test]
fn filling_cuts_off_both_sides() {
    let filled = resized(columns(&[9, 1, 2, 3, 9]), "w = 3\nh = 3\nfit = \"fill\"");
    assert_eq!(reds(&filled), [1, 2, 3]);
    assert_eq!((filled.view.point(0.0, 0.0), filled.view.point(3.0, 3.0)), ((1.0, 0.0), (4.0, 3.0)));
    // However long and thin: no intermediate image is as long.
    let thin = Tensor::new("x", Dtype::Uint8, vec![1, 16_384, 3], vec![7; 3 * 16_384]).unwrap();
    assert_eq!(resized(thin, "w = 224\nh = 224\nfit = \"fill\"").inputs[0].data()[..], [7; 3 * 224 * 224]);
}

#[test]
fn the_same_size_is_the_same_image() {
    let image = columns(&[5, 0, 255]);
    assert_eq!(resized(image.clone(), "w = 3\nh = 3").inputs[0], image);
}

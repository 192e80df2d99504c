//! Plans that fit and plans that do not, and what the steps leave and take, over random images.

use picket_core::limits;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;
use crate::{config::redact::Layout, tensor::Dtype};

fn signature(inputs: &[(&str, Dtype, &[usize])]) -> Signature {
    let spec = |(name, dtype, shape): &(&str, Dtype, &[usize])| TensorSpec {
        name: (*name).to_owned(),
        dtype: *dtype,
        shape: shape.iter().copied().map(Some).collect(),
    };
    let features = TensorSpec { name: "embedding".to_owned(), dtype: Dtype::Fp32, shape: vec![Some(1), Some(2)] };
    Signature { inputs: inputs.iter().map(spec).collect(), outputs: vec![features] }
}

fn image(width: usize, height: usize, channels: usize, layout: Layout) -> Option<Image> {
    Some(Image { width, height, channels, layout })
}

fn plan(what: &[Redact], signature: &Signature) -> Result<Redaction, ConfigError> {
    let place = |what: &Redact| RedactStep { place: "picket.toml:7:1: ".to_owned(), what: what.clone() };
    let steps: Vec<RedactStep> = what.iter().map(place).collect();
    Redaction::plan(&steps, signature).map(|plan| plan.expect("there are steps"))
}

fn crop(region: Region, image: Option<Image>) -> Redact {
    let Region { x, y, w, h } = region;
    Redact::Crop { x, y, w, h, input: None, image }
}

fn region(x: usize, y: usize, w: usize, h: usize) -> Region {
    Region { x, y, w, h }
}

/// A random image, its frame, its tensor, and the value of each pixel.
struct Case {
    rng: StdRng,
    image: Image,
    shape: Vec<usize>,
    tensor: Tensor,
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let (width, height) = (rng.random_range(2..9), rng.random_range(2..9));
        let channels = rng.random_range(1..4);
        let layout = if rng.random_bool(0.5) { Layout::Hwc } else { Layout::Chw };
        let batch = rng.random_range(1..3);
        let image = Image { width, height, channels, layout };
        let dims = match (rng.random_range(0..3), layout) {
            (0, Layout::Hwc) => vec![height, width, channels],
            (0, Layout::Chw) => vec![channels, height, width],
            (1, _) if channels == 1 => vec![height, width],
            _ => vec![height * width * channels],
        };
        let shape: Vec<usize> = [vec![batch], dims].concat();
        let count: usize = shape.iter().product();
        let tensor = if rng.random_bool(0.5) {
            let values: Vec<f32> = (0..count).map(|_| rng.random_range(-8.0..8.0)).collect();
            Tensor::from_f32("x", shape.clone(), &values).unwrap()
        } else {
            let bytes: Vec<u8> = (0..count).map(|_| rng.random()).collect();
            Tensor::new("x", Dtype::Uint8, shape.clone(), bytes).unwrap()
        };
        Self { rng, image, shape, tensor }
    }

    fn region(&mut self) -> Region {
        let (x, y) = (self.rng.random_range(0..self.image.width), self.rng.random_range(0..self.image.height));
        let (w, h) = (self.image.width - x, self.image.height - y);
        Region { x, y, w: self.rng.random_range(1..=w), h: self.rng.random_range(1..=h) }
    }

    fn apply(&self, what: Redact) -> Tensor {
        let signature = signature(&[("x", self.tensor.dtype(), &self.shape)]);
        let mut left = plan(&[what], &signature).unwrap().apply(vec![self.tensor.clone()], &[]).unwrap();
        assert_eq!((left.len(), left[0].dtype()), (1, self.tensor.dtype()));
        left.remove(0)
    }

    /// Value of a pixel of a tensor that has this size.
    fn at(&self, tensor: &Tensor, (width, height): (usize, usize), place: (usize, usize, usize, usize)) -> f64 {
        let (batch, x, y, channel) = place;
        let channels = self.image.channels;
        let within = match self.image.layout {
            Layout::Hwc => (y * width + x) * channels + channel,
            Layout::Chw => (channel * height + y) * width + x,
        };
        tensor.to_f64()[batch * width * height * channels + within]
    }

    /// Every pixel of an image of this size.
    fn places(&self, width: usize, height: usize) -> Vec<(usize, usize, usize, usize)> {
        let mut places = Vec::new();
        for batch in 0..self.shape[0] {
            for y in 0..height {
                for x in 0..width {
                    places.extend((0..self.image.channels).map(|channel| (batch, x, y, channel)));
                }
            }
        }
        places
    }

    fn size(&self) -> (usize, usize) {
        (self.image.width, self.image.height)
    }

    /// Whole numbers are rounded.
    fn close(&self, got: f64, want: f64) -> bool {
        (got - want).abs() <= if self.tensor.dtype() == Dtype::Uint8 { 0.5 + 1e-9 } else { 1e-5 }
    }
}

fn cases() -> impl Iterator<Item = (u64, Case)> {
    let first: u64 = 20_261_124;
    println!("300 cases from seed {first}");
    (first..first + 300).map(|seed| (seed, Case::new(seed)))
}

#[test]
fn a_crop_is_the_region_and_nothing_else() {
    for (seed, mut case) in cases() {
        let region = case.region();
        let left = case.apply(crop(region, Some(case.image)));
        assert_eq!(left.elements(), case.shape[0] * region.w * region.h * case.image.channels, "seed {seed}");
        assert_eq!(left.shape().len(), case.shape.len(), "seed {seed}: as many dimensions as before");
        for place in case.places(region.w, region.h) {
            let (batch, x, y, channel) = place;
            let before = case.at(&case.tensor, case.size(), (batch, region.x + x, region.y + y, channel));
            assert_eq!(case.at(&left, (region.w, region.h), place), before, "seed {seed}: {place:?}");
        }
    }
}

#[test]
fn a_downscaled_pixel_is_the_mean_of_its_square() {
    for (seed, mut case) in cases() {
        let (width, height) = case.size();
        let factor = case.rng.random_range(2..=width.max(height));
        let left = case.apply(Redact::Downscale { factor, input: None, image: Some(case.image) });
        let small = (width.div_ceil(factor), height.div_ceil(factor));
        for place in case.places(small.0, small.1) {
            let (batch, x, y, channel) = place;
            let mut square = Vec::new();
            for y in (y * factor..(y + 1) * factor).filter(|y| *y < height) {
                for x in (x * factor..(x + 1) * factor).filter(|x| *x < width) {
                    square.push(case.at(&case.tensor, (width, height), (batch, x, y, channel)));
                }
            }
            let mean = square.iter().sum::<f64>() / square.len() as f64;
            assert!(case.close(case.at(&left, small, place), mean), "seed {seed}: {place:?}");
        }
    }
}

/// Outside of its regions nothing changes; inside nothing is left but the mean.
#[test]
fn a_blurred_region_is_its_mean_and_the_rest_is_as_it_was() {
    for (seed, mut case) in cases() {
        let region = case.region();
        let blur = |radius| Redact::Blur { regions: vec![region], radius, input: None, image: Some(case.image) };
        let filled = case.apply(blur(None));
        // A radius as large as the image is the same thing, another way.
        let (blurred, size) = (case.apply(blur(Some(16))), case.size());
        assert_eq!(filled.shape(), case.tensor.shape(), "seed {seed}");
        let within = |(_, x, y, _): (usize, usize, usize, usize)| {
            (region.x..region.x + region.w).contains(&x) && (region.y..region.y + region.h).contains(&y)
        };
        for place in case.places(size.0, size.1) {
            let was = case.at(&case.tensor, size, place);
            let (got, other) = (case.at(&filled, size, place), case.at(&blurred, size, place));
            if !within(place) {
                assert_eq!((got, other), (was, was), "seed {seed}: {place:?} is outside");
                continue;
            }
            let same =
                case.places(size.0, size.1).into_iter().filter(|p| within(*p) && (p.0, p.3) == (place.0, place.3));
            let values: Vec<f64> = same.map(|place| case.at(&case.tensor, size, place)).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            assert!(case.close(got, mean) && case.close(other, mean), "seed {seed}: {place:?} {got} {other} {mean}");
        }
    }
}

#[test]
fn a_small_radius_takes_the_mean_of_the_neighbours_in_the_region() {
    let signature = signature(&[("x", Dtype::Fp32, &[1, 3, 4])]);
    let values: Vec<f32> = (0..12).map(|n| (n * n) as f32).collect();
    let tensor = Tensor::from_f32("x", vec![1, 3, 4], &values).unwrap();
    let blur = Redact::Blur {
        regions: vec![region(0, 0, 3, 3)],
        radius: Some(1),
        input: None,
        image: image(4, 3, 1, Layout::Hwc),
    };
    let left = plan(&[blur], &signature).unwrap().apply(vec![tensor], &[]).unwrap().remove(0).to_f32();
    assert_eq!(left[0], (0.0 + 1.0 + 16.0 + 25.0) / 4.0);
    let around: f32 = [0, 1, 2, 4, 5, 6, 8, 9, 10].into_iter().map(|n| (n * n) as f32).sum();
    assert!((left[5] - around / 9.0).abs() < 1e-5);
    assert_eq!((left[3], left[11]), (9.0, 121.0), "outside");
}

#[test]
fn steps_follow_one_another() {
    let signature = signature(&[("camera", Dtype::Uint8, &[4, 4, 1]), ("operator", Dtype::Int32, &[1])]);
    let steps = [
        Redact::DropInput { name: "operator".to_owned() },
        crop(region(2, 0, 2, 4), image(4, 4, 1, Layout::Hwc)),
        Redact::Downscale { factor: 2, input: Some("camera".to_owned()), image: None },
    ];
    let plan = plan(&steps, &signature).unwrap();
    assert_eq!(plan.describe(), ["drop-input operator", "crop camera 2x4+2+0", "downscale camera 2"]);
    let camera = Tensor::new("camera", Dtype::Uint8, vec![4, 4, 1], (0..16).collect::<Vec<u8>>()).unwrap();
    let operator = Tensor::new("operator", Dtype::Int32, vec![1], vec![7, 0, 0, 0]).unwrap();
    let left = plan.apply(vec![camera, operator], &[]).unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].kind().as_str(), left[0].to_f32()), ("2x1x1 UINT8", vec![5.0, 13.0]));
}

#[test]
fn features_leave_instead_of_inputs() {
    let signature = signature(&[("x", Dtype::Fp32, &[1, 4])]);
    let plan = plan(&[Redact::FeaturesOnly { outputs: vec!["embedding".to_owned()] }], &signature).unwrap();
    let input = Tensor::from_f32("x", vec![1, 4], &[1.0; 4]).unwrap();
    let features = Tensor::from_f32("embedding", vec![1, 2], &[3.0, 4.0]).unwrap();
    let scores = Tensor::from_f32("scores", vec![1, 2], &[5.0, 6.0]).unwrap();
    assert_eq!(plan.apply(vec![input.clone()], &[scores.clone(), features.clone()]).unwrap(), [features]);
    assert_eq!(plan.apply(vec![input], &[scores]).unwrap_err().code, "privacy/unredactable", "nothing leaves then");
}

#[test]
fn a_step_that_cannot_fit_its_model_says_why() {
    let one = signature(&[("x", Dtype::Fp32, &[1, 64])]);
    let two = signature(&[("camera", Dtype::Fp32, &[1, 64]), ("mask", Dtype::Fp32, &[1, 64])]);
    let square = image(8, 8, 1, Layout::Hwc);
    let drop = |name: &str| Redact::DropInput { name: name.to_owned() };
    let blur = |regions| Redact::Blur { regions, radius: None, input: None, image: square };
    let cases: [(&Signature, Vec<Redact>, &str); 10] = [
        (&one, vec![drop("y")], "there is no input `y` here; there is: x"),
        (&one, vec![drop("x")], "without `x` nothing is left"),
        (&two, vec![crop(region(0, 0, 1, 1), square)], "`input` must say which one: camera, mask"),
        (&one, vec![crop(region(0, 0, 1, 1), None)], "must say how `x` (1x64 FP32) is to be seen"),
        (
            &one,
            vec![crop(region(0, 0, 1, 1), image(9, 8, 1, Layout::Hwc))],
            "input `x` is 1x64 FP32, and that is no image of 9x8",
        ),
        (&one, vec![crop(region(4, 0, 5, 8), square)], "the region x 4, y 0, w 5, h 8 is not within the image of 8x8"),
        (&one, vec![blur(vec![region(usize::MAX, 0, 2, 1)])], "is not within"),
        (&one, vec![blur(vec![region(0, 0, 0, 1)])], "is not within"),
        (
            &one,
            vec![crop(region(0, 0, 4, 4), square), crop(region(4, 0, 1, 1), None)],
            "is not within the image of 4x4",
        ),
        (&one, vec![crop(region(0, 0, 4, 4), square), crop(region(0, 0, 1, 1), square)], "leave `image` out here"),
    ];
    for (signature, steps, part) in cases {
        let error = plan(&steps, signature).unwrap_err();
        assert_eq!((error.code, error.place.as_str()), ("config/redaction", "picket.toml:7:1: "));
        assert!(error.message.contains(part), "{}", error.message);
    }
    let unknown = Redact::FeaturesOnly { outputs: vec!["scores".to_owned()] };
    assert!(
        plan(&[unknown], &one).unwrap_err().message.contains("the model has no output `scores`; it has: embedding")
    );
}

#[test]
fn a_plan_takes_images_of_any_number_and_no_free_size() {
    let mut signature = signature(&[("x", Dtype::Uint8, &[1, 2, 2])]);
    signature.inputs[0].shape = vec![None, Some(2), Some(2)];
    let step = crop(region(0, 0, 1, 2), image(2, 2, 1, Layout::Chw));
    let many = plan(std::slice::from_ref(&step), &signature).unwrap();
    let tensor = Tensor::new("x", Dtype::Uint8, vec![3, 2, 2], (0..12).collect::<Vec<u8>>()).unwrap();
    assert_eq!(many.apply(vec![tensor], &[]).unwrap()[0].to_f32(), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
    signature.inputs[0].shape = vec![Some(1), None, Some(2)];
    assert!(plan(&[step], &signature).is_err());
}

/// The longest list of steps still makes a line of the ledger.
#[test]
fn descriptions_fit_into_a_line() {
    let name = "n".repeat(limits::JOB_ID_BYTES);
    let big = 1 << 20;
    let signature = signature(&[(&name, Dtype::Uint8, &[big, big])]);
    let blur = |image| Redact::Blur {
        regions: vec![region(big - 2, big - 2, 1, 1); limits::REDACTION_REGIONS],
        radius: None,
        input: None,
        image,
    };
    let steps: Vec<Redact> = (0..limits::REDACTION_STEPS)
        .map(|n| blur(if n == 0 { image(big, big, 1, Layout::Hwc) } else { None }))
        .collect();
    let length: usize = plan(&steps, &signature).unwrap().describe().iter().map(String::len).sum();
    assert!(length + 4_096 < limits::LEDGER_LINE_BYTES, "{length} bytes");
}

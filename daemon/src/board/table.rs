//! The boards that come along: one file each, and one row here.

use super::profile::Profile;

macro_rules! board {
    ($name:literal) => {
        ($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../firmware-profiles/boards/", $name, ".toml")))
    };
}

/// Name and text. What a device tree tells comes before what only the processor does.
pub static BOARDS: &[(&str, &str)] = &[
    board!("raspberry-pi-3"),
    board!("raspberry-pi-4"),
    board!("raspberry-pi-5"),
    board!("zero-2-w"),
    board!("jetson-nano"),
    board!("jetson-orin-nano"),
    board!("generic-aarch64"),
    board!("generic-armv7"),
    board!("generic-x86-64"),
];

pub fn names() -> Vec<&'static str> {
    BOARDS.iter().map(|(name, _)| *name).collect()
}

/// The profile of that name.
///
/// # Errors
/// It is no profile, which a test rules out for those that come along. `None`: there is none of that name.
pub fn named(name: &str) -> Option<Result<Profile, String>> {
    let (_, text) = BOARDS.iter().find(|(known, _)| *known == name)?;
    Some(Profile::parse(text))
}

/// The first profile that says so.
pub fn find(wanted: impl Fn(&Profile) -> bool) -> Option<Profile> {
    BOARDS.iter().filter_map(|(_, text)| Profile::parse(text).ok()).find(wanted)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_board_that_comes_along_is_a_profile_and_has_its_row() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../firmware-profiles/boards");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let files: BTreeSet<String> = files.filter_map(|name| name.strip_suffix(".toml").map(str::to_owned)).collect();
        assert_eq!(names().into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), files);
        let mut detected = BTreeSet::new();
        for (name, text) in BOARDS {
            let profile = Profile::parse(text).unwrap_or_else(|why| panic!("{name}: {why}"));
            assert_eq!(profile.name, *name);
            let detect = &profile.detect;
            assert_ne!(detect.compatible.is_empty(), detect.arch.is_none(), "{name}: one way to tell it");
            for word in detect.compatible.iter().chain(&detect.arch) {
                assert!(detected.insert(word.clone()), "{name}: {word} tells another board, too");
            }
            if detect.arch.is_some() {
                assert_eq!((profile.workers, profile.queue), (1, picket_core::limits::MODEL_QUEUE), "{name}");
            }
        }
    }

    #[test]
    fn a_pin_is_known_by_name_and_by_number() {
        let pi = named("raspberry-pi-4").unwrap().unwrap();
        assert_eq!(pi.line("GPIO17"), Some(("pinctrl-bcm2711", 17)));
        assert_eq!(pi.line("pin11"), pi.line("GPIO17"));
        for unknown in ["GPIO99", "pin1", "pin", "17", ""] {
            assert_eq!(pi.line(unknown), None, "{unknown}");
        }
        let orin = named("jetson-orin-nano").unwrap().unwrap();
        assert_eq!(orin.line("pin29"), Some(("tegra234-gpio", 105)));
        assert_eq!(named("generic-x86-64").unwrap().unwrap().line("GPIO17"), None);
    }

    #[test]
    fn a_profile_that_is_none_says_why() {
        let good = BOARDS[1].1;
        let cases = [
            ("soft = 75", "soft = 85", "zone cpu-thermal: `soft` is to be below `hard`, both in °C"),
            ("workers = 2", "workers = 0", "`workers` is 0; possible: 1 to 64"),
            ("pin = 11,", "pin = 13,", "pin 13 of the header stands there twice"),
            ("line = 17 ", "line = 27 ", "line 27 of the chip stands there twice"),
            ("cores = 4", "kernels = 4", "line 5: unknown field `kernels`"),
        ];
        for (old, new, why) in cases {
            let said = Profile::parse(&good.replacen(old, new, 1)).unwrap_err();
            assert!(said.starts_with(why), "{new}: {said}");
        }
    }
}

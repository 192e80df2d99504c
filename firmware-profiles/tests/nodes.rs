//! Every row of the table of node profiles and of the table of sensors.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it is broken")]

use std::collections::BTreeSet;

use firmware_profiles::{
    nodes::{HYDRAULIC_RIG, PROFILES, Profile},
    sensors::{SENSORS, VALUES_MAX},
    wire,
};

fn is_name(name: &str, also: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || also.contains(c) || c.is_ascii_uppercase();
    !name.is_empty() && name.len() <= wire::TEXT_MAX && name.chars().all(allowed)
}

#[test]
fn every_profile_is_sound() {
    let mut fingerprints = BTreeSet::new();
    for profile in PROFILES {
        let name = profile.name;
        assert!(is_name(name, "-") && name.to_lowercase() == name, "{name}");
        assert!(std::ptr::eq(Profile::by_name(name).unwrap(), *profile), "{name} stands there twice");
        assert!(fingerprints.insert(profile.fingerprint()), "{name} has the fingerprint of another profile");
        assert!(!profile.channels.is_empty() && profile.channels.len() <= 64, "{name}");
        assert!(profile.window > 0 && profile.hop > 0 && profile.hop <= profile.window, "{name}: window and hop");
        let names: BTreeSet<_> = profile.channels.iter().map(|channel| channel.name).collect();
        assert_eq!(names.len(), profile.channels.len(), "{name}: two channels have one name");
        for channel in profile.channels {
            assert!(is_name(channel.name, "-"), "{name}: {}", channel.name);
            assert!(channel.full_scale.is_finite() && channel.full_scale > 0.0, "{name}: {}", channel.name);
            assert_eq!(channel.rate, profile.channels[0].rate, "{name}: a window has one rate");
        }
        // A channel's window as counts is one reading, and as floats too.
        assert!(4 * usize::from(profile.window) + 64 <= wire::DECODED_MAX, "{name}: a window is no frame");
    }
    assert!(Profile::by_name("no-such-profile").is_none());
}

/// The highest number of each channel in the data set, rounded up (UCI 447, all 2,205 cycles).
#[test]
fn the_rig_can_say_what_it_measures() {
    let most = [58.3, 62.2, 59.6, 53.2, 2.6, 48.8, 3.0, 100.6];
    for (channel, most) in HYDRAULIC_RIG.channels.iter().zip(most) {
        channel.unit.check(most).unwrap();
        assert!(channel.full_scale >= 1.25 * most, "{}", channel.name);
    }
}

#[test]
fn a_fingerprint_changes_with_the_meaning_of_a_sample() {
    let like = |channels| Profile { name: "hydraulic-rig", channels, window: 60, hop: 60 };
    assert_eq!(like(HYDRAULIC_RIG.channels).fingerprint(), HYDRAULIC_RIG.fingerprint());
    assert_ne!(like(&HYDRAULIC_RIG.channels[1..]).fingerprint(), HYDRAULIC_RIG.fingerprint());
    assert_ne!(Profile { window: 59, ..like(HYDRAULIC_RIG.channels) }.fingerprint(), HYDRAULIC_RIG.fingerprint());
}

#[test]
fn every_sensor_is_sound() {
    let mut names = BTreeSet::new();
    for kind in SENSORS {
        assert!(is_name(kind.name, "") && names.insert(kind.name), "{}", kind.name);
        assert!(!kind.addresses.is_empty() && kind.addresses.iter().all(|a| (0x08..0x78).contains(a)), "{}", kind.name);
        assert!((1..=VALUES_MAX).contains(&kind.values.len()), "{}", kind.name);
        assert!(kind.values.iter().all(|(name, _)| is_name(name, "-")), "{}", kind.name);
        assert!(!kind.datasheet.is_empty(), "{}", kind.name);
    }
}

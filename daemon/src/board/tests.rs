//! Machines as they show themselves in `/proc` and `/sys`, each a folder tree.

use std::path::Path;

use tempfile::TempDir;

use super::{Board, Choice, Missing, Root};

/// What a Raspberry Pi 4 with 64-bit Raspberry Pi OS shows.
const PI_4: &[(&str, &str)] = &[
    ("proc/device-tree/compatible", "raspberrypi,4-model-b\0brcm,bcm2711\0"),
    ("proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0"),
    (
        "proc/cpuinfo",
        "processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\n\
         CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\nprocessor\t: 1\n",
    ),
    ("proc/meminfo", "MemTotal:        3885396 kB\nMemFree:         3205300 kB\n"),
    (
        "proc/cgroups",
        "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t0\t80\t1\nmemory\t0\t80\t0\npids\t0\t80\t1\n",
    ),
    ("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io pids\n"),
    ("sys/devices/system/cpu/online", "0-3\n"),
    ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "ondemand\n"),
    ("sys/devices/system/cpu/cpu0/cpufreq/scaling_driver", "cpufreq-dt\n"),
    ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
    ("sys/class/thermal/thermal_zone0/temp", "48199\n"),
    ("sys/class/thermal/thermal_zone0/trip_point_0_type", "critical\n"),
    ("sys/class/thermal/thermal_zone0/trip_point_0_temp", "110000\n"),
    ("sys/devices/platform/soc/soc:firmware/get_throttled", "0\n"),
    ("sys/class/hwmon/hwmon0/name", "cpu_thermal\n"),
    ("sys/class/hwmon/hwmon1/name", "rpi_volt\n"),
    ("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0\n"),
];

/// A PC with an Intel processor.
const PC: &[(&str, &str)] = &[
    ("proc/cpuinfo", "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu lm avx2 fma\n\nprocessor\t: 1\n"),
    ("proc/meminfo", "MemTotal:       16303428 kB\n"),
    ("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory hugetlb pids rdma misc\n"),
    ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n"),
    ("sys/devices/system/cpu/cpu0/cpufreq/scaling_driver", "intel_pstate\n"),
    ("sys/class/rtc/rtc0/name", "rtc_cmos rtc_cmos\n"),
    ("sys/class/thermal/thermal_zone0/type", "acpitz\n"),
    ("sys/class/thermal/thermal_zone0/temp", "27800\n"),
    ("sys/class/thermal/thermal_zone0/trip_point_0_type", "critical\n"),
    ("sys/class/thermal/thermal_zone0/trip_point_0_temp", "119000\n"),
    ("sys/class/thermal/thermal_zone0/trip_point_1_type", "passive\n"),
    ("sys/class/thermal/thermal_zone0/trip_point_1_temp", "95000\n"),
    ("sys/class/thermal/thermal_zone1/type", "x86_pkg_temp\n"),
    ("sys/class/thermal/thermal_zone1/temp", "43000\n"),
    ("sys/class/thermal/thermal_zone1/trip_point_0_type", "passive\n"),
    ("sys/class/thermal/thermal_zone1/trip_point_0_temp", "0\n"),
];

struct Machine(TempDir);

impl Machine {
    /// `changed` overrides files; an empty text takes one away.
    fn new(files: &[(&str, &str)], changed: &[(&str, &str)]) -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        files.iter().chain(changed).for_each(|(path, text)| machine.set(path, text));
        machine
    }

    fn set(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        if text.is_empty() { std::fs::remove_file(path).unwrap() } else { std::fs::write(path, text).unwrap() }
    }

    fn look(&self, choice: Choice<'_>) -> Board {
        Board::look(Root::new(self.0.path()), choice).unwrap()
    }

    fn codes(&self) -> Vec<&'static str> {
        self.look(Choice::Auto).warnings().iter().map(|warning| warning.code).collect()
    }
}

#[test]
fn a_raspberry_pi_4_is_known_by_its_device_tree() {
    let board = Machine::new(PI_4, &[]).look(Choice::Auto);
    assert_eq!(board.profile.name, "raspberry-pi-4");
    assert_eq!(board.why, "the device tree says raspberrypi,4-model-b");
    assert_eq!(board.model.as_deref(), Some("Raspberry Pi 4 Model B Rev 1.4"));
    assert_eq!((board.cpu.cores, board.memory_mib, board.memory_cgroup), (4, Some(3_794), Some(false)));
    assert_eq!(board.features(), ["asimd"]);
    let zone = &board.zones[0];
    assert_eq!((zone.name.as_str(), zone.celsius), ("cpu-thermal", Some(48.199)));
    assert_eq!(zone.limits.map(|limits| (limits.soft(), limits.hard())), Some((75.0, 80.0)), "not the kernel's 110");
    assert_eq!((board.profile.workers, board.profile.queue), (2, 64));
}

#[test]
fn what_is_missing_has_a_code_and_what_to_do() {
    let pi = Machine::new(PI_4, &[]);
    assert_eq!(pi.codes(), ["limits/memory-cgroup-off", "board/no-rtc"]);
    let cgroup = &pi.look(Choice::Auto).warnings()[0];
    assert!(cgroup.hint.contains("`cgroup_enable=memory`") && cgroup.hint.contains("cmdline.txt"), "{cgroup:?}");
    pi.set("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n");
    pi.set("sys/class/rtc/rtc0/name", "rtc-ds1307 1-0068\n");
    assert_eq!(pi.codes(), Vec::<&str>::new());
    for (file, text, code) in [
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n", "board/governor-powersave"),
        ("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n", "board/under-voltage"),
        ("sys/devices/platform/soc/soc:firmware/get_throttled", "10000\n", "board/under-voltage"),
        ("sys/devices/platform/soc/soc:firmware/get_throttled", "0x4\n", "board/throttled"),
        ("sys/devices/platform/soc/soc:firmware/get_throttled", "80000\n", "board/throttled"),
        ("sys/class/thermal/thermal_zone0/type", "", "board/no-thermal-zone"),
        ("proc/cpuinfo", "Features\t: half thumb fastmult vfp edsp\n", "board/no-neon"),
    ] {
        let machine = Machine::new(
            PI_4,
            &[("sys/fs/cgroup/cgroup.controllers", "memory\n"), ("sys/class/rtc/rtc0/name", "rtc\n"), (file, text)],
        );
        assert_eq!(machine.codes(), [code], "{file}: {text}");
    }
    for warning in pi.look(Choice::Auto).warnings() {
        assert!(!warning.hint.is_empty() && !warning.message.is_empty(), "{warning:?}");
    }
}

#[test]
fn a_32_bit_system_on_a_64_bit_board_has_neon() {
    let features = "processor\t: 0\nmodel name\t: ARMv7 Processor rev 3 (v7l)\n\
                    Features\t: half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm crc32\n";
    let machine = Machine::new(PI_4, &[("proc/cpuinfo", features)]);
    let board = machine.look(Choice::Auto);
    assert_eq!((board.cpu.arch, board.features()), (Some("armv7"), vec!["asimd"]));
    assert_eq!(machine.codes(), ["limits/memory-cgroup-off", "board/no-rtc"]);
}

#[test]
fn a_jetson_is_watched_where_its_profile_says_so() {
    let trips = |zone: &str, kind: &'static str, temp: &'static str| {
        let folder = format!("sys/class/thermal/{zone}");
        vec![(format!("{folder}/trip_point_0_type"), kind), (format!("{folder}/trip_point_0_temp"), temp)]
    };
    let mut files: Vec<(String, &str)> = vec![
        ("proc/device-tree/compatible".to_owned(), "nvidia,jetson-nano\0nvidia,tegra210\0"),
        ("proc/cpuinfo".to_owned(), "Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32\n"),
    ];
    for (index, (kind, temp)) in
        [("AO-therm", "41500"), ("CPU-therm", "34000"), ("PMIC-Die", "100000")].iter().enumerate()
    {
        let zone = format!("thermal_zone{index}");
        files.push((format!("sys/class/thermal/{zone}/type"), kind));
        files.push((format!("sys/class/thermal/{zone}/temp"), temp));
        files.extend(trips(&zone, "critical", "102500"));
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    let board = Machine::new(&files, &[]).look(Choice::Auto);
    assert_eq!(board.profile.name, "jetson-nano");
    let zones: Vec<_> = board.zones.iter().map(|zone| (zone.name.as_str(), zone.limits.map(|l| l.hard()))).collect();
    assert_eq!(zones, [("AO-therm", None), ("CPU-therm", Some(102.5)), ("PMIC-Die", None)]);
}

#[test]
fn a_pc_has_the_limits_of_its_trip_points() {
    let machine = Machine::new(PC, &[]);
    let board = machine.look(Choice::Auto);
    assert_eq!(board.profile.name, "generic-x86-64");
    assert_eq!(board.why, "there is no device tree; the processor is x86-64");
    let limits: Vec<_> = board.zones.iter().map(|zone| zone.limits.map(|l| (l.soft(), l.hard()))).collect();
    assert_eq!(limits, [Some((85.0, 95.0)), None], "a trip point of 0 °C is none");
    assert_eq!(machine.codes(), Vec::<&str>::new(), "intel_pstate's powersave is no slow one");
}

#[test]
fn a_machine_that_says_nothing_is_what_the_program_was_built_for() {
    let board = Machine::new(&[], &[]).look(Choice::Auto);
    assert_eq!((board.cpu.cores, board.memory_mib, board.memory_cgroup), (0, None, None));
    assert!(board.why.starts_with("there is no device tree"), "{}", board.why);
    assert!(board.zones.is_empty() && board.throttle.is_none());
    let strange = Machine::new(&[("proc/device-tree/compatible", "acme,anvil\0"), PI_4[2]], &[]).look(Choice::Auto);
    assert_eq!(strange.profile.name, "generic-aarch64");
    assert_eq!(strange.why, "no profile knows the device tree's acme,anvil; the processor is aarch64");
}

#[test]
fn files_that_are_broken_are_as_good_as_none() {
    let broken: Vec<(&str, &str)> = PI_4.iter().map(|(path, _)| (*path, "\u{fffd}\0\n:::-3,x")).collect();
    let board = Machine::new(&broken, &[]).look(Choice::Name("raspberry-pi-4"));
    assert_eq!((board.memory_mib, board.throttle), (None, None));
    assert!(board.zones.iter().all(|zone| zone.celsius.is_none() && zone.limits.is_none()));
}

#[test]
fn the_configuration_may_know_better() {
    let machine = Machine::new(PC, &[]);
    let board = machine.look(Choice::Name("zero-2-w"));
    assert_eq!((board.profile.queue, board.why.as_str()), (32, "the configuration says so"));
    let own = machine.0.path().join("own.toml");
    std::fs::write(&own, "name = \"mine\"\ntitle = \"Mine\"\nworkers = 3\nqueue = 9\ndetect = {}\n").unwrap();
    assert_eq!(machine.look(Choice::File(&own)).profile.workers, 3);
    let look = |choice| Board::look(Root::new(machine.0.path()), choice).unwrap_err();
    assert_eq!(look(Choice::Name("pi")), Missing::Name);
    for path in ["/nowhere.toml", "/dev/zero", "/proc"] {
        assert!(matches!(look(Choice::File(Path::new(path))), Missing::Unreadable(_)), "{path}");
    }
    std::fs::write(&own, "name = \"mine\"\n").unwrap();
    assert!(matches!(look(Choice::File(&own)), Missing::Invalid(why) if why.contains("title")));
}

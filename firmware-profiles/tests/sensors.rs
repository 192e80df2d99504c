//! Sensors against what their datasheets say: numbers of the examples, and every byte on the bus.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it is broken")]

use embedded_hal_mock::eh1::i2c::{Mock, Transaction};
use firmware_profiles::{
    sensors::{AnySensor, SENSORS, Sensor, SensorError, VALUES_MAX, ads1115, ina219, lis3dh, tmp117},
    units::{Ohm, Volt},
};

fn write(address: u8, bytes: &[u8]) -> Transaction {
    Transaction::write(address, bytes.to_vec())
}

fn read(address: u8, register: u8, bytes: &[u8]) -> Transaction {
    Transaction::write_read(address, vec![register], bytes.to_vec())
}

/// Opens a sensor by its name and reads it once.
fn once(name: &str, address: u8, bus: &[Transaction]) -> Result<[f32; VALUES_MAX], SensorError> {
    let mut mock = Mock::new(bus);
    let mut values = [0.0; VALUES_MAX];
    let result = AnySensor::open(name, mock.clone(), address).and_then(|mut sensor| {
        assert_eq!(sensor.kind().name, name);
        sensor.read(&mut values)
    });
    mock.done();
    result.map(|()| values)
}

#[test]
fn tmp117_converts_as_table_7_1_says() {
    // SNOSD82D, table 7-1.
    let table = [(0x8001, -255.992_19), (0xf380, -25.0), (0xffff, -0.007_812_5), (0, 0.0), (1, 0.007_812_5)];
    for (register, celsius) in
        table.into_iter().chain([(0x0080, 1.0), (0x0c80, 25.0), (0x3200, 100.0), (0x7fff, 255.992_19)])
    {
        assert_eq!(
            tmp117::convert(i16::from_be_bytes(u16::to_be_bytes(register))).unwrap().get(),
            celsius,
            "{register:04x}"
        );
    }
    assert_eq!(tmp117::convert(i16::MIN), Err(SensorError::NotReady));
}

#[test]
fn tmp117_on_the_bus() {
    let bus = [read(0x48, 0x0f, &[0x01, 0x17]), read(0x48, 0x00, &[0x0c, 0x80])];
    assert_eq!(once("tmp117", 0x48, &bus).unwrap()[0], 25.0);
    // The next revision of the chip is one too; a TMP102 has no such register.
    let bus = [read(0x49, 0x0f, &[0x11, 0x17]), read(0x49, 0x00, &[0x80, 0x00])];
    assert_eq!(once("tmp117", 0x49, &bus), Err(SensorError::NotReady));
    assert_eq!(once("tmp117", 0x48, &[read(0x48, 0x0f, &[0xff, 0xff])]), Err(SensorError::WrongChip));
    assert_eq!(once("tmp117", 0x50, &[]), Err(SensorError::Address));
}

#[test]
fn ina219_converts_as_the_design_example_says() {
    // SBOS448G, 8.6.3.1: full scale ±320 mV is ±32,000; 8.5.2.2: 20 mV over 2 mΩ are 10 A.
    assert!((ina219::convert(32_000, Ohm::of(0.1)).unwrap().get() - 3.2).abs() < 1e-6);
    assert!((ina219::convert(-32_000, Ohm::of(0.1)).unwrap().get() + 3.2).abs() < 1e-6);
    assert!((ina219::convert(2_000, Ohm::of(0.002)).unwrap().get() - 10.0).abs() < 1e-5);
}

#[test]
fn ina219_on_the_bus() {
    // Reset; the configuration is 0x399f after it. Then the example's registers: 20 mV, and 11.98 V.
    let start = [write(0x40, &[0x00, 0xb9, 0x9f]), read(0x40, 0x00, &[0x39, 0x9f])];
    let measure = [read(0x40, 0x01, &[0x07, 0xd0]), read(0x40, 0x02, &[0x5d, 0x98])];
    let values = once("ina219", 0x40, &[start.to_vec(), measure.to_vec()].concat()).unwrap();
    assert!((values[0] - 0.2).abs() < 1e-6 && (values[1] - 11.98).abs() < 1e-5, "{values:?}");

    let mut mock = Mock::new(&[start.to_vec(), measure[..1].to_vec()].concat());
    let mut sensor = ina219::Ina219::open(mock.clone(), 0x40).unwrap().with_shunt(Ohm::of(0.002));
    assert!((sensor.current().unwrap().get() - 10.0).abs() < 1e-5);
    mock.done();
    assert_eq!(once("ina219", 0x50, &[]), Err(SensorError::Address));
}

#[test]
fn ads1115_converts_as_table_3_says() {
    // SBAS444D, tables 3 and 5: a digit is 125 µV at ±4.096 V; the ends are 7fff and 8000.
    let volt = |register, full_scale| ads1115::convert(register, Volt::of(full_scale)).unwrap().get();
    assert_eq!(volt(1, 4.096), 125e-6);
    assert_eq!(volt(1, 2.048), 62.5e-6);
    assert_eq!(volt(i16::MIN, 4.096), -4.096);
    assert!((volt(i16::MAX, 4.096) - (4.096 - 125e-6)).abs() < 1e-6);
}

#[test]
fn ads1115_on_the_bus() {
    // Configuration: start, channel against ground, ±4.096 V, one at a time, 860 per second, no comparator.
    let mut bus = vec![write(0x48, &[0x01, 0x83, 0x83]), write(0x48, &[0x01, 0x83, 0xe3])];
    for (input, register) in [(0x40, [0x1f, 0x40]), (0x50, [0x00, 0x00]), (0x60, [0x7f, 0xff]), (0x70, [0xff, 0xff])] {
        bus.extend([
            read(0x48, 0x01, &[0x83, 0xe3]),
            write(0x48, &[0x01, 0x83 | input, 0xe3]),
            // Not done; then done.
            read(0x48, 0x01, &[0x03 | input, 0xe3]),
            read(0x48, 0x01, &[0x83 | input, 0xe3]),
            read(0x48, 0x00, &register),
        ]);
    }
    let values = once("ads1115", 0x48, &bus).unwrap();
    assert_eq!(values, [1.0, 0.0, 4.096 - 125e-6, -125e-6]);
    assert_eq!(once("ads1115", 0x20, &[]), Err(SensorError::Address));
}

#[test]
fn lis3dh_converts_as_table_4_says() {
    // DocID17530, table 4: 12 mg a digit at ±16 g in high resolution; twelve bits at the upper end.
    assert_eq!(lis3dh::convert(0).unwrap().get(), 0.0);
    assert_eq!(lis3dh::convert(0x0010).unwrap().get(), 0.012);
    assert_eq!(lis3dh::convert(-0x0010).unwrap().get(), -0.012);
    assert!((lis3dh::convert(83 << 4).unwrap().get() - 0.996).abs() < 1e-6);
}

#[test]
fn lis3dh_on_the_bus() {
    let bus = [
        read(0x18, 0x0f, &[0x33]),
        // Whole measurements only; high resolution; 400 Hz; three axes; the converter; ±16 g.
        write(0x18, &[0x23, 0x80]),
        read(0x18, 0x20, &[0x07]),
        write(0x18, &[0x20, 0x07]),
        read(0x18, 0x23, &[0x80]),
        write(0x18, &[0x23, 0x88]),
        read(0x18, 0x20, &[0x07]),
        write(0x18, &[0x20, 0x77]),
        read(0x18, 0x20, &[0x77]),
        write(0x18, &[0x20, 0x77]),
        read(0x18, 0x1f, &[0x00]),
        write(0x18, &[0x1f, 0x80]),
        read(0x18, 0x23, &[0x88]),
        write(0x18, &[0x23, 0xb8]),
        read(0x18, 0xa8, &[0x10, 0x00, 0xf0, 0xff, 0x30, 0x05]),
    ];
    let values = once("lis3dh", 0x18, &bus).unwrap();
    assert_eq!(values[..2], [0.012, -0.012]);
    assert!((values[2] - 0.996).abs() < 1e-6);
    // The chip goes away before the measurement.
    let mut bus = bus.to_vec();
    let gone = embedded_hal::i2c::ErrorKind::ArbitrationLoss;
    *bus.last_mut().unwrap() = read(0x18, 0xa8, &[0; 6]).with_error(gone);
    assert_eq!(once("lis3dh", 0x18, &bus), Err(SensorError::Bus(gone)));
    assert_eq!(once("lis3dh", 0x19, &[read(0x19, 0x0f, &[0x32])]), Err(SensorError::WrongChip));
    assert_eq!(once("lis3dh", 0x1a, &[]), Err(SensorError::Address));
}

#[test]
fn a_bus_without_the_chip_says_so() {
    use embedded_hal::i2c::{ErrorKind, NoAcknowledgeSource};
    let nobody = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address);
    for kind in SENSORS {
        let address = kind.addresses[0];
        let first = match kind.name {
            "lis3dh" | "tmp117" => read(address, 0x0f, &[0; 2][..if kind.name == "lis3dh" { 1 } else { 2 }]),
            "ina219" => write(address, &[0x00, 0xb9, 0x9f]),
            _ => write(address, &[0x01, 0x83, 0x83]),
        };
        assert_eq!(
            once(kind.name, address, &[first.with_error(nobody)]),
            Err(SensorError::Bus(nobody)),
            "{}",
            kind.name
        );
    }
    assert_eq!(once("no-such-chip", 0x48, &[]), Err(SensorError::UnknownKind));
}

//! An MQTT broker on this machine without set-up, for the demo and for sites with a single box: inside this process
//! (feature `broker`), else a mosquitto of our own.

#[cfg(any(test, not(feature = "broker")))]
mod mosquitto;
#[cfg(feature = "broker")]
mod rumqttd;

#[cfg(not(feature = "broker"))]
pub use mosquitto::start;
#[cfg(feature = "broker")]
pub use rumqttd::start;

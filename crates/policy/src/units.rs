//! Sizes and times as people write them: `2GiB`, `10m`. Pure.

use std::time::Duration;

const SIZES: &[(&str, u64)] = &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40), ("B", 1)];
const TIMES: &[(&str, u64)] = &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];

/// The longest time a call may be given: beyond a year the deadline arithmetic of timers overflows.
const LONGEST_MS: u64 = 365 * 24 * 3_600_000;

/// Reads `2GiB`; the error says what is wrong.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    scaled(text, SIZES, "B, KiB, MiB, GiB, TiB")
}

/// Reads `10m`; the error says what is wrong.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let ms = scaled(text, TIMES, "ms, s, m, h")?;
    match ms > LONGEST_MS {
        true => Err("more than a year".into()),
        false => Ok(Duration::from_millis(ms)),
    }
}

fn scaled(text: &str, units: &[(&str, u64)], names: &str) -> Result<u64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(|| format!("no unit; one of {names}"))?;
    let (digits, unit) = text.split_at(split);
    if digits.is_empty() {
        return Err("no whole number in front of the unit".into());
    }
    let number: u64 = digits.parse().map_err(|_| "too large".to_owned())?;
    let (_, scale) =
        units.iter().find(|(name, _)| *name == unit).ok_or_else(|| format!("the unit must be one of {names}"))?;
    match number.checked_mul(*scale) {
        None => Err("too large".into()),
        Some(0) => Err("zero would refuse every call; no limit can be switched off".into()),
        Some(value) => Ok(value),
    }
}

/// Writes a size as [`size`] reads it.
pub(crate) fn show_size(bytes: u64) -> String {
    show(bytes, &[("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)], "B")
}

/// Writes a time as [`time`] reads it.
pub(crate) fn show_time(time: Duration) -> String {
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    show(ms, &[("h", 3_600_000), ("m", 60_000), ("s", 1000)], "ms")
}

fn show(value: u64, units: &[(&str, u64)], smallest: &str) -> String {
    match units.iter().find(|(_, scale)| value >= *scale && value.is_multiple_of(*scale)) {
        Some((unit, scale)) => format!("{}{unit}", value / scale),
        None => format!("{value}{smallest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_the_same() {
        for text in ["2GiB", "1KiB", "1023B", "3TiB"] {
            assert_eq!(size(text).map(show_size).as_deref(), Ok(text));
        }
        for text in ["10m", "90s", "2h", "250ms"] {
            assert_eq!(time(text).map(show_time).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_is_not_a_size_or_time_is_refused() {
        for text in ["", "2", "GiB", "2GB", "-2GiB", "2 GiB", "0B", "99999999999999999999B", "99999999TiB", "1.5GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
        for text in ["10", "m", "0s", "1d", "1h30m", "9999999h"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}

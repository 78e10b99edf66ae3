//! The limits of one agent: sizes, times and counts into numbers.

use crate::agent::Place;
use crate::error::{Fault, Faults, escape};
use crate::file::LimitsFile;
use crate::types::Limits;
use crate::units;

impl Place<'_> {
    pub(crate) fn limits(&mut self, section: &LimitsFile, faults: &mut Faults<'_>) -> Limits {
        let mut limits = Limits::default();
        for (key, text) in &section.sizes {
            self.note(format!("limits.{key}"), Some(text.at), faults);
            match units::size(&text.value) {
                Ok(bytes) => *size_of(&mut limits, key) = bytes,
                Err(why) => faults.add(
                    text.at,
                    Fault::BadValue { what: "size", value: escape(&text.value), why },
                    "write for example `\"2GiB\"`",
                ),
            }
        }
        for (key, text) in &section.times {
            self.note(format!("limits.{key}"), Some(text.at), faults);
            match units::time(&text.value) {
                Ok(time) if *key == "time" => limits.time = time,
                Ok(time) => limits.cpu = time,
                Err(why) => faults.add(
                    text.at,
                    Fault::BadValue { what: "time", value: escape(&text.value), why },
                    "write for example `\"10m\"`",
                ),
            }
        }
        for (key, number) in &section.counts {
            self.note(format!("limits.{key}"), Some(number.at), faults);
            let processes = u32::try_from(number.value).ok().filter(|count| (1..=4_194_304).contains(count));
            match (*key, number.value, processes) {
                ("processes", _, Some(count)) => limits.processes = count,
                ("open_files", 1..=1_048_576, _) => limits.open_files = number.value,
                ("disk_files", 1.., _) => limits.disk_files = number.value,
                _ => {
                    let why = "out of range; zero would refuse every call, and no limit can be switched off".to_owned();
                    faults.add(
                        number.at,
                        Fault::BadValue { what: "limit", value: number.value.to_string(), why },
                        "write a count such as 256",
                    );
                }
            }
        }
        limits
    }
}

fn size_of<'l>(limits: &'l mut Limits, key: &str) -> &'l mut u64 {
    match key {
        "memory" => &mut limits.memory,
        "file_size" => &mut limits.file_size,
        "disk" => &mut limits.disk,
        "tmpfs" => &mut limits.tmpfs,
        _ => &mut limits.output,
    }
}

//! The name of a systemd service: part of paths and of unit files, so that it holds nothing with a meaning there.

/// The longest name; systemd's limit is 255 with what is put around it.
const LONGEST: usize = 128;

/// A name that cannot be a service's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no name of a service; hint: letters, digits and `@ _ . : -`, as `systemctl` shows it, at most 128")]
pub struct ServiceError(String);

/// The name of a service, without `.service`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service(String);

impl Service {
    /// Reads one, with or without `.service`.
    ///
    /// # Errors
    /// It could be a path, an option or a specifier.
    pub fn parse(text: &str) -> Result<Service, ServiceError> {
        let name = text.strip_suffix(".service").unwrap_or(text);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "@_.:-".contains(c);
        let is_begun = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        // `x@` is a template: nothing runs by that name.
        match is_begun && name.chars().all(is_plain) && name.len() <= LONGEST && !name.ends_with('@') {
            true => Ok(Service(name.to_owned())),
            false => Err(ServiceError(mantlet_ledger::escape(text.as_bytes()))),
        }
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_in_a_path_or_a_unit_is_no_name() {
        for (text, name) in
            [("app", "app"), ("app.service", "app"), ("a@1", "a@1"), ("open-claw_2.x:y", "open-claw_2.x:y")]
        {
            assert_eq!(Service::parse(text).unwrap().as_str(), name);
        }
        let long = "a".repeat(129);
        for text in
            ["", ".", "..", "a/b", "../a", "-a", ".service", "a b", "a%i", "a\n", "a$b", "é", "a@", "a\\x2d", &long]
        {
            assert!(Service::parse(text).is_err(), "{text:?}");
        }
        assert!(!Service::parse("\u{1b}[2J").unwrap_err().to_string().contains('\u{1b}'));
    }
}

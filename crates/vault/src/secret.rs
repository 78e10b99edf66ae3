//! Bytes that must not outlive their use: wiped on drop, and without any way to print them.

use zeroize::Zeroizing;

/// A secret, or a text that may be one. It can be compared and read, and never printed or copied by accident.
#[derive(PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes bytes over; the caller keeps no copy.
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret(Zeroizing::new(bytes))
    }

    /// Lends the bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Lends the text; nothing when it is not UTF-8.
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Makes a second one, which is wiped by itself.
    #[must_use]
    pub fn duplicate(&self) -> Secret {
        Secret::new(self.0.to_vec())
    }
}

impl std::hash::Hash for Secret {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.as_slice().hash(state);
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }
}

/// Where bytes of an output are collected: grows without leaving copies of what it held behind.
#[derive(Default)]
pub(crate) struct Sink(Zeroizing<Vec<u8>>);

impl Sink {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            // A Vec that grows by itself frees its old buffer unwiped.
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.next_power_of_two()));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn into_secret(self) -> Secret {
        Secret(self.0)
    }
}

//! The checksum that GitHub and npm put at the end of a token: CRC-32 of the random part, in base 62.
//!
//! It tells a real token from a look-alike without asking anybody.

/// What a format's own checksum says about a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// The provider documents none, or not for this length.
    Absent,
    /// It fits: this was issued by the provider, or made to look so.
    Valid,
    /// It does not fit: an example, a typo or a truncated token.
    Invalid,
}

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const RANDOM: usize = 30;
const SUM: usize = 6;

/// Judges the part of a token after its prefix: 30 random characters and 6 of checksum.
///
/// See <https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/>.
pub(crate) fn github(body: &[u8]) -> Checksum {
    if body.len() != RANDOM + SUM {
        return Checksum::Absent;
    }
    let (random, sum) = body.split_at(RANDOM);
    if sum == base62(crc32(random)) { Checksum::Valid } else { Checksum::Invalid }
}

fn base62(mut value: u32) -> [u8; SUM] {
    let mut out = [b'0'; SUM];
    for place in out.iter_mut().rev() {
        *place = DIGITS[(value % 62) as usize];
        value /= 62;
    }
    out
}

/// CRC-32 as in zlib, bit by bit: 30 bytes once per token do not deserve a table.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            let mask = (crc & 1).wrapping_neg();
            crc = (crc >> 1) ^ (0xEDB8_8320 & mask);
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32_has_the_published_check_value() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_revoked_token_published_as_an_example_is_valid() {
        assert_eq!(github(b"zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17"), Checksum::Valid);
        assert_eq!(github(b"zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq18"), Checksum::Invalid);
        assert_eq!(github(b"zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq1"), Checksum::Absent);
    }
}

//! Who may use an explicit proxy that is not inside a jail: there every program of the host can reach its port, so that
//! the listener alone says nothing. Pure.

use std::fmt;

/// A name and a password, made anew for each run by whoever starts the proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    user: String,
    password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Login {
    /// Takes a name and a password; nothing when they cannot be carried: a `:` in the name, or more than 255 bytes.
    pub fn new(user: String, password: String) -> Option<Self> {
        let fits = |text: &str| !text.is_empty() && text.len() <= 255;
        (fits(&user) && fits(&password) && !user.contains(':')).then_some(Login { user, password })
    }

    /// Whether a `Proxy-Authorization` is this login.
    pub(crate) fn is_header(&self, value: &[u8]) -> bool {
        let expected = format!("Basic {}", base64(format!("{}:{}", self.user, self.password).as_bytes()));
        is_same(expected.as_bytes(), value)
    }

    /// Whether a name and a password of SOCKS are this login.
    pub(crate) fn is_pair(&self, user: &[u8], password: &[u8]) -> bool {
        is_same(self.user.as_bytes(), user) & is_same(self.password.as_bytes(), password)
    }
}

/// Compares in a time that depends on the lengths only.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differs = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && differs == 0
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let [a, b, c] = [0, 1, 2].map(|index| u32::from(group.get(index).copied().unwrap_or(0)));
        let bits = a << 16 | b << 8 | c;
        for index in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * index) & 63) as usize];
            out.push(if index > group.len() { '=' } else { char::from(letter) });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn only_the_whole_login_is_taken() {
        let login = Login::new("main".into(), "secret".into()).unwrap();
        assert!(login.is_header(b"Basic bWFpbjpzZWNyZXQ=") && login.is_pair(b"main", b"secret"));
        for value in [
            &b""[..],
            b"Basic",
            b"Basic bWFpbjpzZWNyZXQ",
            b"basic bWFpbjpzZWNyZXQ=",
            b"Basic bWFpbjpzZWNyZXQ= ",
            b"Bearer bWFpbjpzZWNyZXQ=",
        ] {
            assert!(!login.is_header(value), "{value:?}");
        }
        assert!(!login.is_pair(b"main", b"") && !login.is_pair(b"", b"secret") && !login.is_pair(b"main", b"secrets"));
        assert!(Login::new("a:b".into(), "c".into()).is_none() && Login::new("a".into(), String::new()).is_none());
        assert!(!format!("{login:?}").contains("secret"));
    }
}

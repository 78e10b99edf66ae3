//! The credential formats, as data: what each looks like and where its provider says so.
//!
//! Written from the providers' documentation; no other scanner's rule set was used.

/// A credential format that can be told by its looks.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// The name in `[masked:ID]`.
    pub id: &'static str,
    /// What it looks like.
    pub shape: Shape,
    /// Where the provider documents it.
    pub reference: &'static str,
}

/// What a credential looks like.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// One of the prefixes, then a run of the alphabet.
    Prefixed {
        /// Literal beginnings, case-sensitive.
        prefixes: &'static [&'static str],
        /// What may follow.
        alphabet: Alphabet,
        /// How long the run is.
        length: Length,
        /// Whether the last six characters are GitHub's checksum.
        has_checksum: bool,
    },
    /// Digits, a colon, 35 characters: only the part after the colon is secret.
    Telegram,
    /// Three base64url parts, the first two of which encode `{"...`.
    Jwt,
    /// A PEM block whose label ends in `PRIVATE KEY`.
    PrivateKey,
}

/// The length of a token's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// So many characters; a longer run is something else.
    Exactly(usize),
    /// So many or more. Without an upper bound a failed match costs at most this many steps, so that a
    /// megabyte of prefixes cannot make the scan quadratic.
    AtLeast(usize),
}

/// The characters of a token's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alphabet {
    /// `A-Z a-z 0-9`
    Base62,
    /// `A-Z 0-9`
    Upper,
    /// `A-Z a-z 0-9 _`
    Word,
    /// `A-Z a-z 0-9 _ -`
    Base64Url,
    /// `A-Z a-z 0-9 _ - .`
    Dotted,
    /// `A-Z a-z 0-9 /`
    Path,
}

impl Alphabet {
    pub(crate) fn has(self, byte: u8) -> bool {
        match self {
            Alphabet::Base62 => byte.is_ascii_alphanumeric(),
            Alphabet::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Alphabet::Word => byte.is_ascii_alphanumeric() || byte == b'_',
            Alphabet::Base64Url => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Alphabet::Dotted => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'),
            Alphabet::Path => byte.is_ascii_alphanumeric() || byte == b'/',
        }
    }
}

const fn prefixed(prefixes: &'static [&'static str], alphabet: Alphabet, length: Length) -> Shape {
    Shape::Prefixed { prefixes, alphabet, length, has_checksum: false }
}

/// The table. The first row that matches wins, so a longer prefix stands before a shorter one.
pub const FORMATS: &[Format] = &[
    Format {
        id: "github-token",
        shape: Shape::Prefixed {
            prefixes: &["ghp_", "gho_", "ghu_", "ghr_"],
            alphabet: Alphabet::Base62,
            length: Length::AtLeast(36),
            has_checksum: true,
        },
        reference: "https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/",
    },
    Format {
        // Since 2026 either 36 characters or `ghs_APPID_JWT`, about 520 with dots: no checksum, a wider alphabet.
        id: "github-app-token",
        shape: prefixed(&["ghs_"], Alphabet::Dotted, Length::AtLeast(36)),
        reference: "https://github.blog/changelog/2026-05-15-github-app-installation-tokens-per-request-override-header/",
    },
    Format {
        id: "github-pat",
        shape: prefixed(&["github_pat_"], Alphabet::Word, Length::AtLeast(36)),
        reference: "https://docs.github.com/en/authentication/keeping-your-account-and-data-secure/about-authentication-to-github",
    },
    Format {
        id: "npm-token",
        shape: Shape::Prefixed {
            prefixes: &["npm_"],
            alphabet: Alphabet::Base62,
            length: Length::Exactly(36),
            has_checksum: true,
        },
        reference: "https://github.blog/security/announcing-npms-new-access-token-format/",
    },
    Format {
        id: "stripe-key",
        shape: prefixed(
            &["sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_"],
            Alphabet::Base62,
            Length::AtLeast(16),
        ),
        reference: "https://docs.stripe.com/keys",
    },
    Format {
        id: "slack-token",
        shape: prefixed(
            &["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxe-", "xoxe.xoxp-", "xoxe.xoxb-", "xapp-"],
            Alphabet::Base64Url,
            Length::AtLeast(16),
        ),
        reference: "https://docs.slack.dev/authentication/tokens",
    },
    Format {
        id: "slack-webhook",
        shape: prefixed(&["hooks.slack.com/services/"], Alphabet::Path, Length::AtLeast(20)),
        reference: "https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks",
    },
    Format {
        // The secret half has no prefix; it is found by its name (`aws_secret_access_key`).
        id: "aws-access-key",
        shape: prefixed(&["AKIA", "ASIA"], Alphabet::Upper, Length::Exactly(16)),
        reference: "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids",
    },
    Format {
        id: "anthropic-key",
        shape: prefixed(&["sk-ant-"], Alphabet::Base64Url, Length::AtLeast(20)),
        reference: "https://docs.claude.com/en/api/overview",
    },
    Format {
        id: "openai-key",
        shape: prefixed(&["sk-proj-", "sk-svcacct-", "sk-admin-"], Alphabet::Base64Url, Length::AtLeast(20)),
        reference: "https://platform.openai.com/docs/api-reference/authentication",
    },
    Format {
        // OpenAI's older keys, and the many services that copied them.
        id: "sk-key",
        shape: prefixed(&["sk-or-v1-", "sk-"], Alphabet::Base62, Length::AtLeast(32)),
        reference: "https://platform.openai.com/docs/api-reference/authentication",
    },
    Format {
        id: "google-api-key",
        shape: prefixed(&["AIza"], Alphabet::Base64Url, Length::Exactly(35)),
        reference: "https://docs.cloud.google.com/docs/authentication/api-keys",
    },
    Format {
        // Bech32 in upper case: 58 characters after the `1`.
        id: "age-secret-key",
        shape: prefixed(&["AGE-SECRET-KEY-1"], Alphabet::Upper, Length::Exactly(58)),
        reference: "https://github.com/C2SP/C2SP/blob/main/age.md",
    },
    Format {
        id: "telegram-bot-token",
        shape: Shape::Telegram,
        reference: "https://core.telegram.org/bots/features#botfather",
    },
    Format { id: "jwt", shape: Shape::Jwt, reference: "https://www.rfc-editor.org/rfc/rfc7519" },
    Format { id: "private-key", shape: Shape::PrivateKey, reference: "https://www.rfc-editor.org/rfc/rfc7468" },
];

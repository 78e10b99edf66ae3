//! The roles as data: what each preset gives before a policy adds to it.

use crate::sections::{Dlp, DlpMode, Web};
use crate::types::{Exec, Review, Role, Tier};

/// What a role gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// The role.
    pub role: Role,
    /// The word of the file.
    pub word: &'static str,
    /// What the role is for, in three words.
    pub purpose: &'static str,
    /// Whether commands may run.
    pub exec: Exec,
    /// Whether the whole workspace may be written.
    pub is_workspace_writable: bool,
    /// What may be written when the whole workspace may not, relative to it.
    pub writes: &'static [&'static str],
    /// What may be fetched beyond the allow list.
    pub web: Web,
    /// What is done with secrets on their way.
    pub dlp: Dlp,
}

const REDACT: Dlp = Dlp { outward: DlpMode::Redact, inward: DlpMode::Warn };
const BLOCK: Dlp = Dlp { outward: DlpMode::Block, inward: DlpMode::Warn };

/// An agent's own memory: it may rewrite itself, and nothing that outranks it.
pub const MEMORY: &[&str] = &["SOUL.md", "IDENTITY.md", "USER.md", "MEMORY.md", "HEARTBEAT.md", "memory"];

/// The four roles.
pub const PRESETS: &[Preset] = &[
    Preset {
        role: Role::Scout,
        word: "scout",
        purpose: "reads the world",
        exec: Exec::Refused,
        is_workspace_writable: false,
        writes: &["outbox"],
        web: Web::Read,
        dlp: REDACT,
    },
    Preset {
        role: Role::Builder,
        word: "builder",
        purpose: "makes things",
        exec: Exec::Jailed,
        is_workspace_writable: true,
        writes: &[],
        web: Web::None,
        dlp: REDACT,
    },
    Preset {
        role: Role::Operator,
        word: "operator",
        purpose: "runs the system",
        exec: Exec::Jailed,
        is_workspace_writable: true,
        writes: &[],
        web: Web::None,
        dlp: REDACT,
    },
    Preset {
        role: Role::Public,
        word: "public",
        purpose: "talks to strangers",
        exec: Exec::Refused,
        is_workspace_writable: false,
        writes: MEMORY,
        web: Web::None,
        dlp: BLOCK,
    },
];

impl Role {
    /// Returns what the role gives.
    pub fn preset(self) -> &'static Preset {
        match self {
            Role::Scout => &PRESETS[0],
            Role::Builder => &PRESETS[1],
            Role::Operator => &PRESETS[2],
            Role::Public => &PRESETS[3],
        }
    }
    /// Returns the word of the file.
    pub fn word(self) -> &'static str {
        self.preset().word
    }
}

impl Tier {
    /// Returns the word of the file.
    pub fn word(self) -> &'static str {
        match self {
            Tier::Landlock => "landlock",
            Tier::Full => "full",
        }
    }
}

impl Review {
    /// Returns the word of the file.
    pub fn word(self) -> &'static str {
        match self {
            Review::Report => "report",
            Review::Quarantine => "quarantine",
            Review::Fail => "fail",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_finds_its_own_preset() {
        for role in [Role::Scout, Role::Builder, Role::Operator, Role::Public] {
            assert_eq!(role.preset().role, role);
        }
    }
}

//! Files that a program outside the jail executes or obeys by itself, and that an agent therefore may not write.
//!
//! Each row says what runs the file and the CVE or reason, so that a report can say why.

/// Where below the workspace a row applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Only directly at the workspace's top.
    Top,
    /// At any depth: tools look in the directory they stand in.
    AnyDepth,
    /// In every git directory: the `.git` of any repository, and a bare repository's own directory.
    GitDir,
}

/// What is done about a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Existing ones are mounted read-only; new ones are undone.
    Protect,
    /// Named in the report with what runs them, never blocked: a person runs these knowingly.
    List,
}

/// One file, or one directory with all below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protected {
    /// A relative path; a trailing `/` means the directory and everything below it; `*` stands for one name.
    pub path: &'static str,
    /// Where it counts.
    pub scope: Scope,
    /// What is done.
    pub action: Action,
    /// What executes or obeys it.
    pub runs: &'static str,
    /// The CVE or the reason.
    pub reason: &'static str,
}

/// The table. Order is irrelevant; a path matches at most one row.
pub const PROTECTED: &[Protected] = &[
    Protected {
        path: "hooks/",
        scope: Scope::GitDir,
        action: Action::Protect,
        runs: "git, on commit, checkout, merge, push",
        reason: "a hook is a program that git runs as whoever uses the repository next (githooks(5))",
    },
    Protected {
        path: ".envrc",
        scope: Scope::AnyDepth,
        action: Action::Protect,
        runs: "direnv, on entering the directory",
        reason: "a shell script; once allowed, its next change asks again, but many shells and editors allow by default",
    },
    Protected {
        path: "Makefile",
        scope: Scope::AnyDepth,
        action: Action::List,
        runs: "make, when a person runs it",
        reason: "ordinary project file",
    },
];

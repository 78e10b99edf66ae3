//! The attack cases: data embedded in the program, parsed strictly, checked to be what they claim.
//!
//! Pure: it reads nothing but the text built in, and knows no jail.

use std::collections::BTreeSet;

use serde::Deserialize;

mod steps;

pub(crate) use steps::*;

/// The corpus as it was built in: one file per class.
const FILES: &[(&str, &str)] = &[
    ("home.toml", include_str!("../corpus/home.toml")),
    ("environment.toml", include_str!("../corpus/environment.toml")),
    ("proc.toml", include_str!("../corpus/proc.toml")),
    ("sockets.toml", include_str!("../corpus/sockets.toml")),
    ("network.toml", include_str!("../corpus/network.toml")),
    ("descriptors.toml", include_str!("../corpus/descriptors.toml")),
    ("keyrings.toml", include_str!("../corpus/keyrings.toml")),
    ("ipc.toml", include_str!("../corpus/ipc.toml")),
    ("git.toml", include_str!("../corpus/git.toml")),
    ("self.toml", include_str!("../corpus/self.toml")),
    ("links.toml", include_str!("../corpus/links.toml")),
    ("outside.toml", include_str!("../corpus/outside.toml")),
    ("kernel.toml", include_str!("../corpus/kernel.toml")),
    ("setuid.toml", include_str!("../corpus/setuid.toml")),
    ("devices.toml", include_str!("../corpus/devices.toml")),
    ("limits.toml", include_str!("../corpus/limits.toml")),
    ("lifetime.toml", include_str!("../corpus/lifetime.toml")),
    ("signals.toml", include_str!("../corpus/signals.toml")),
    ("terminal.toml", include_str!("../corpus/terminal.toml")),
    ("logs.toml", include_str!("../corpus/logs.toml")),
    ("size.toml", include_str!("../corpus/size.toml")),
    ("reading.toml", include_str!("../corpus/reading.toml")),
];

/// Everything that can be wrong with the corpus.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CorpusError {
    /// A file is not the TOML the schema asks for.
    #[error("corpus/{file}: {source}")]
    Parse {
        /// The file's name.
        file: String,
        /// What the parser says.
        source: Box<toml::de::Error>,
    },
    /// A case contradicts the rules every case follows.
    #[error("corpus/{file}: case `{id}`: {what}")]
    Case {
        /// The file's name.
        file: String,
        /// The case.
        id: String,
        /// The rule it breaks.
        what: &'static str,
    },
}

/// One file: all cases of a class.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClassFile {
    class: String,
    /// What the class is about, for the documentation.
    about: String,
    /// Whether a jailed attack must end with a message, and not only end.
    #[serde(default)]
    must_say_why: bool,
    case: Vec<CaseText>,
}

/// One case as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseText {
    id: String,
    title: String,
    shows: String,
    mechanism: String,
    object: String,
    #[serde(default)]
    setup: Vec<Step>,
    #[serde(default)]
    policy: String,
    #[serde(default)]
    needs: Vec<Need>,
    #[serde(default = "ten_seconds")]
    within: u64,
    attack: Action,
    #[serde(default)]
    after: String,
    success: Success,
    twin: TwinText,
    #[serde(default)]
    demo: bool,
}

fn ten_seconds() -> u64 {
    10
}

/// What is run: a shell line, or an operation of this program.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Action {
    /// A line for `/bin/sh`.
    #[serde(default)]
    sh: Option<String>,
    /// An operation of `mantlet-probe op` and its arguments.
    #[serde(default)]
    op: Option<Vec<String>>,
    /// What the command reads on its standard input.
    #[serde(default)]
    pub stdin: String,
    /// The length that the command line or, if there is one, the standard input is brought to with a comment.
    #[serde(default)]
    pub pad: usize,
}

impl Action {
    /// Returns the one shell line this action is, with its placeholders still in it.
    pub(crate) fn line(&self) -> String {
        match (&self.sh, &self.op) {
            (Some(sh), _) => sh.clone(),
            (None, Some(op)) => {
                let words: Vec<String> = op.iter().map(|w| quote(w)).collect();
                format!("{{probe}} op --mark {{mark}} {}", words.join(" "))
            }
            (None, None) => String::new(),
        }
    }

    fn is_one(&self) -> bool {
        self.sh.is_some() != self.op.is_some()
    }
}

/// Quotes one word for the shell; placeholders stay as they are, because their values have no quotes.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// How it is seen that the attack worked.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Success {
    /// The command's output holds this text.
    Output(String),
    /// An operation of this program said it worked.
    Op,
    /// What the owner runs afterwards prints this text.
    After(String),
    /// Outside, a file holds this text.
    File(FileCheck),
    /// Outside, this path is gone.
    Gone(String),
    /// Outside, these bits are set in a mode.
    Mode(ModeCheck),
    /// Outside, a path is of this kind.
    Kind(KindCheck),
    /// The process that calls itself `{mark}` lives on.
    Alive,
    /// The owner's process of this name is dead.
    Dead(String),
    /// The owner's next keystrokes hold the mark.
    Keystrokes,
    /// A planted listener was told the mark.
    Heard,
    /// The command printed at least this many bytes.
    Bytes(u64),
}

/// A file as it is looked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileCheck {
    /// Its path.
    pub path: String,
    /// What it holds.
    pub text: String,
}

/// A mode as it is looked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModeCheck {
    /// The path.
    pub path: String,
    /// Bits that must all be set.
    pub bits: u32,
}

/// A kind of file as it is looked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KindCheck {
    /// The path.
    pub path: String,
    /// What it must be.
    pub is: Kind,
}

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A FIFO.
    Fifo,
    /// A socket.
    Socket,
    /// A device node.
    Device,
    /// A symlink.
    Link,
}

/// The same commands on an allowed object, as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct TwinText {
    #[serde(default)]
    setup: Vec<Step>,
    #[serde(default)]
    sh: Option<String>,
    #[serde(default)]
    op: Option<Vec<String>>,
    #[serde(default)]
    stdin: String,
    #[serde(default)]
    pad: usize,
    #[serde(default)]
    after: String,
    #[serde(default)]
    success: Option<Success>,
}

/// One arm's worth of a case: what is planted, run, and looked for.
#[derive(Debug, Clone)]
pub(crate) struct Trial {
    /// What is planted.
    pub setup: Vec<Step>,
    /// What is run.
    pub action: Action,
    /// What the owner runs afterwards, outside; empty for nothing.
    pub after: String,
    /// What counts as success.
    pub success: Success,
}

/// One attack, checked.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// Its name, unique.
    pub id: String,
    /// The class it belongs to.
    pub class: String,
    /// A few words.
    pub title: String,
    /// What the attack shows, one sentence.
    pub shows: String,
    /// The means.
    pub mechanism: String,
    /// What it is aimed at.
    pub object: String,
    /// Lines for the agent's policy, if the case needs some.
    pub policy: String,
    /// What the host must have.
    pub needs: Vec<Need>,
    /// Seconds after which a run counts as hung.
    pub within: u64,
    /// Whether `mantlet demo` shows it.
    pub demo: bool,
    /// Whether the jailed attack must end with a message, and not only end.
    pub must_say_why: bool,
    /// The attack.
    pub attack: Trial,
    /// The same on an allowed object.
    pub twin: Trial,
}

/// Parses and checks the whole corpus.
///
/// # Errors
/// The first file or case that breaks a rule.
pub(crate) fn load() -> Result<Vec<Case>, CorpusError> {
    let mut cases = Vec::new();
    for (name, text) in FILES {
        cases.extend(parse(name, text)?);
    }
    check_unique(&cases)?;
    Ok(cases)
}

fn parse(name: &str, text: &str) -> Result<Vec<Case>, CorpusError> {
    let file: ClassFile = toml::from_str(text)
        .map_err(|source| CorpusError::Parse { file: name.to_owned(), source: Box::new(source) })?;
    if file.about.is_empty() {
        return Err(CorpusError::Case {
            file: name.to_owned(),
            id: file.class,
            what: "the class says nothing about itself",
        });
    }
    let must_say_why = file.must_say_why;
    file.case.into_iter().map(|c| Ok(Case { must_say_why, ..check(name, &file.class, c)? })).collect()
}

fn check(file: &str, class: &str, c: CaseText) -> Result<Case, CorpusError> {
    let fail = |what| CorpusError::Case { file: file.to_owned(), id: c.id.clone(), what };
    let twin_action =
        Action { sh: c.twin.sh.clone(), op: c.twin.op.clone(), stdin: c.twin.stdin.clone(), pad: c.twin.pad };
    if !c.attack.is_one() || !twin_action.is_one() {
        return Err(fail("needs exactly one of `sh` and `op` in the attack and in the twin"));
    }
    let secret = ["{canary}", "{mark}"];
    let told = match &c.success {
        Success::Output(t) | Success::After(t) => t == "{canary}" && c.attack.line().contains(secret[0]),
        _ => false,
    };
    if told {
        return Err(fail("the attack contains the canary it should find"));
    }
    if c.title.is_empty() || c.shows.is_empty() || c.mechanism.is_empty() || c.object.is_empty() {
        return Err(fail("title, shows, mechanism and object may not be empty"));
    }
    let mut twin_setup = c.setup.clone();
    twin_setup.extend(c.twin.setup);
    Ok(Case {
        class: class.to_owned(),
        twin: Trial {
            setup: twin_setup,
            action: twin_action,
            after: c.twin.after,
            success: c.twin.success.unwrap_or_else(|| c.success.clone()),
        },
        attack: Trial { setup: c.setup, action: c.attack, after: c.after, success: c.success },
        id: c.id,
        title: c.title,
        shows: c.shows,
        mechanism: c.mechanism,
        object: c.object,
        policy: c.policy,
        needs: c.needs,
        within: c.within,
        demo: c.demo,
        must_say_why: false,
    })
}

/// No two cases share an id, nor mechanism and object: otherwise the count would say more than the cases do.
fn check_unique(cases: &[Case]) -> Result<(), CorpusError> {
    let mut ids = BTreeSet::new();
    let mut pairs = BTreeSet::new();
    for c in cases {
        let fail = |what| CorpusError::Case { file: c.class.clone(), id: c.id.clone(), what };
        if !ids.insert(&c.id) {
            return Err(fail("another case has this id"));
        }
        if !pairs.insert((&c.mechanism, &c.object)) {
            return Err(fail("another case has this mechanism and object"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_corpus_parses_and_no_two_cases_share_mechanism_and_object() {
        load().unwrap();
    }

    #[test]
    fn there_are_at_least_a_hundred_and_ten_cases() {
        assert!(load().unwrap().len() >= 110);
    }

    #[test]
    fn every_class_has_at_least_four_cases() {
        let mut count: BTreeMap<String, usize> = BTreeMap::new();
        for c in load().unwrap() {
            *count.entry(c.class).or_default() += 1;
        }
        let thin: Vec<_> = count.iter().filter(|(_, n)| **n < 4).collect();
        assert!(thin.is_empty(), "{thin:?}");
    }

    #[test]
    fn the_demo_shows_at_least_24_attacks_of_8_classes() {
        let shown: Vec<Case> = load().unwrap().into_iter().filter(|c| c.demo).collect();
        let classes: BTreeSet<&str> = shown.iter().map(|c| c.class.as_str()).collect();
        assert!(shown.len() >= 24, "{}", shown.len());
        assert!(classes.len() >= 8, "{classes:?}");
    }

    #[test]
    fn operations_that_the_corpus_names_exist() {
        for c in load().unwrap() {
            for action in [&c.attack.action, &c.twin.action] {
                if let Some(name) = action.op.as_ref().and_then(|o| o.first()) {
                    assert!(crate::ops::find(name).is_some(), "{}: {name}", c.id);
                }
            }
        }
    }

    #[test]
    fn an_unknown_key_in_a_case_is_an_error() {
        let text = "class='x'\nabout='y'\n[[case]]\nid='a'\nsurprise=1\n";
        assert!(parse("x.toml", text).is_err());
    }
}

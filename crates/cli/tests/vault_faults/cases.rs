//! The commands that write, as a table: what is there before, what is there afterwards, and what must never be lost.

use crate::slot::{CANARY, Slot};

/// One command. A new one is one more entry.
pub struct Case {
    pub name: &'static str,
    pub args: &'static [&'static str],
    pub stdin: &'static str,
    pub prepare: fn(&Slot),
    /// The plaintext that it takes in, and whether that stays.
    pub plain: Option<(&'static str, Stays)>,
    /// What it writes, and what that opens to before and after.
    pub sealed: &'static str,
    pub before: Option<fn() -> Vec<u8>>,
    pub after: fn() -> Vec<u8>,
    /// What a second call may say that fails because the first one was enough.
    pub done: Option<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stays {
    Yes,
    No,
}

pub fn dotenv() -> Vec<u8> {
    format!("A={CANARY}\nB=two words\n").into_bytes()
}

fn document() -> Vec<u8> {
    format!("{{\n\t\"a\": {{\n\t\t\"b\": [\n\t\t\t\"{CANARY}\",\n\t\t\t1\n\t\t]\n\t}}\n}}\n").into_bytes()
}

/// Larger than most buffers on its way, smaller than a pipe.
fn binary() -> Vec<u8> {
    (0..1700).flat_map(|n: u32| [CANARY.as_bytes(), &n.to_le_bytes()].concat()).collect()
}

fn with(more: &str) -> Vec<u8> {
    [dotenv(), more.as_bytes().to_vec()].concat()
}

fn edited() -> Vec<u8> {
    format!("EDITED={CANARY}\nB=two words\n").into_bytes()
}

fn init(slot: &Slot) {
    slot.fresh();
    slot.must(&["vault", "init"], "");
}

fn plain_dotenv(slot: &Slot) {
    init(slot);
    slot.write("a.env", &dotenv());
}

fn sealed_dotenv(slot: &Slot) {
    plain_dotenv(slot);
    slot.must(&["vault", "seal", "a.env"], "");
}

const SEALED: &str = "work/a.sops.env";
const IDENTITY: &str = "home/.config/mantlet/vault/identity";

pub const CASES: &[Case] = &[
    Case {
        name: "seal",
        args: &["vault", "seal", "a.env"],
        stdin: "",
        prepare: plain_dotenv,
        plain: Some(("work/a.env", Stays::No)),
        sealed: SEALED,
        before: None,
        after: dotenv,
        done: None,
    },
    Case {
        name: "seal --binary",
        args: &["vault", "seal", "--binary", "key"],
        stdin: "",
        prepare: |slot| {
            init(slot);
            slot.write("key", &binary());
        },
        plain: Some(("work/key", Stays::No)),
        sealed: "work/key.sops",
        before: None,
        after: binary,
        done: None,
    },
    Case {
        name: "seal into another directory",
        args: &["vault", "seal", "a.json", "-o", "other/a.json"],
        stdin: "",
        prepare: |slot| {
            init(slot);
            slot.write("a.json", &document());
        },
        plain: Some(("work/a.json", Stays::No)),
        sealed: "work/other/a.json",
        before: None,
        after: document,
        done: None,
    },
    Case {
        name: "seal what was encrypted before",
        args: &["vault", "seal", "a.env"],
        stdin: "",
        prepare: |slot| {
            plain_dotenv(slot);
            slot.must(&["vault", "encrypt", "a.env", "-o", "a.sops.env"], "");
        },
        plain: Some(("work/a.env", Stays::No)),
        sealed: SEALED,
        before: Some(dotenv),
        after: dotenv,
        done: None,
    },
    Case {
        name: "encrypt",
        args: &["vault", "encrypt", "a.env", "-o", "a.sops.env"],
        stdin: "",
        prepare: plain_dotenv,
        plain: Some(("work/a.env", Stays::Yes)),
        sealed: SEALED,
        before: None,
        after: dotenv,
        done: Some("exists"),
    },
    Case {
        name: "set",
        args: &["vault", "set", "a.sops.env", "C"],
        stdin: "canary-7f3a-hunter2-new\n",
        prepare: sealed_dotenv,
        plain: None,
        sealed: SEALED,
        before: Some(dotenv),
        after: || with("C=canary-7f3a-hunter2-new\n"),
        done: None,
    },
    Case {
        name: "unset",
        args: &["vault", "unset", "a.sops.env", "C"],
        stdin: "",
        prepare: |slot| {
            sealed_dotenv(slot);
            slot.must(&["vault", "set", "a.sops.env", "C"], "canary-7f3a-hunter2-old");
        },
        plain: None,
        sealed: SEALED,
        before: Some(|| with("C=canary-7f3a-hunter2-old\n")),
        after: dotenv,
        done: Some("there is no value"),
    },
    Case {
        name: "rotate",
        args: &["vault", "rotate", "a.sops.env"],
        stdin: "",
        prepare: sealed_dotenv,
        plain: None,
        sealed: SEALED,
        before: Some(dotenv),
        after: dotenv,
        done: None,
    },
    Case {
        name: "edit",
        args: &["vault", "edit", "a.sops.env"],
        stdin: "",
        prepare: sealed_dotenv,
        plain: None,
        sealed: SEALED,
        before: Some(dotenv),
        after: edited,
        done: Some("nothing was changed"),
    },
    Case {
        name: "init",
        args: &["vault", "init"],
        stdin: "",
        prepare: |slot| slot.fresh(),
        plain: None,
        sealed: IDENTITY,
        before: None,
        after: || b"an identity".to_vec(),
        done: Some("exists"),
    },
];

impl Case {
    /// What the file at `sealed` opens to.
    fn opened(&self, slot: &Slot) -> Result<Vec<u8>, String> {
        if self.sealed == IDENTITY {
            let list = slot.alone(&["vault", "encrypt", "-", "--type", "binary"], "x");
            return if list.code == 0 { Ok((self.after)()) } else { Err(list.said) };
        }
        let path = slot.top.join(self.sealed);
        let shown = slot.alone(&["vault", "decrypt", path.to_str().unwrap()], "");
        if shown.code == 0 { Ok(shown.stdout) } else { Err(shown.said) }
    }

    /// What has to hold at any moment: everything is in one of its places, whole.
    pub fn is_kept(&self, slot: &Slot) -> Result<(), String> {
        let mut places = 0;
        if let Some((plain, stays)) = self.plain {
            match std::fs::read(slot.top.join(plain)) {
                Ok(text) if text == (self.after)() => places += 1,
                Ok(_) => return Err("the plaintext is damaged".into()),
                Err(_) if stays == Stays::Yes => return Err("the plaintext is gone".into()),
                Err(_) => {}
            }
        }
        if slot.top.join(self.sealed).exists() {
            let opened = self.opened(slot)?;
            let is_old = self.before.is_some_and(|before| before() == opened);
            if !is_old && (self.after)() != opened {
                return Err("the file opens to something else".into());
            }
            places += 1;
        } else if self.before.is_some() {
            return Err("the file is gone".into());
        }
        // An identity that is not there yet is no loss.
        if places > 0 || self.sealed == IDENTITY { Ok(()) } else { Err("plaintext and ciphertext are lost".into()) }
    }

    /// What has to hold in the end: the new contents, no plaintext, and nothing left beside them.
    pub fn is_finished(&self, slot: &Slot) -> Result<(), String> {
        if self.opened(slot)? != (self.after)() {
            return Err("the file does not hold what it should".into());
        }
        let stays = self.plain.filter(|(_, stays)| *stays == Stays::Yes).map_or("nothing", |(path, _)| path);
        if let Some((path, Stays::No)) = self.plain
            && slot.top.join(path).exists()
        {
            return Err("the plaintext is there".into());
        }
        // A call that had nothing left to do remembers nothing: the next one that writes cleans up there.
        leftovers(slot, stays, if self.done.is_some() { "/seen/" } else { "nothing" })
    }

    /// Where plaintext may be while nothing is done.
    pub fn plaintexts(&self) -> &'static str {
        self.plain.map_or("nothing", |(path, _)| path)
    }
}

/// Plaintext or temporary files, by any name.
pub fn leftovers(slot: &Slot, but: &str, but_in: &str) -> Result<(), String> {
    for (path, (_, contents)) in slot.files() {
        let name = path.to_str().unwrap();
        if (name.contains(".mantlet-") && !name.contains(but_in)) || name.starts_with("run/") {
            return Err(format!("{name} is left"));
        }
        let holds = |text: &[u8], word: &str| text.windows(word.len()).any(|part| part == word.as_bytes());
        let contents = contents.unwrap_or_default();
        if !name.starts_with(but) && holds(&contents, CANARY) {
            return Err(format!("{name} holds plaintext"));
        }
        if name != IDENTITY && holds(&contents, "AGE-SECRET-KEY-") {
            return Err(format!("{name} holds an identity"));
        }
    }
    Ok(())
}

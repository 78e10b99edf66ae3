//! Whether a git configuration that an agent wrote can make git run something: an allowlist of keys that cannot.
//!
//! Pure, over bytes. What git would read differently from this parser must be a finding, never a pass.

use std::borrow::Cow;

/// One entry of a git configuration that is not known to be harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The key as git names it, `section.subsection.key`, escaped for a terminal; or `line N`.
    pub key: String,
    /// Why it is a finding.
    pub why: Cow<'static, str>,
}

/// What an allowed key may have as its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    /// Anything: git only shows or compares it.
    Any,
    /// A boolean or a number: some keys take a program where these stand.
    Plain,
    /// A URL that starts no helper.
    Url,
    /// One of a few words.
    Word(&'static [&'static str]),
}

/// Keys that cannot make git run anything, as `section.key` or `section.*.key` for any subsection.
const SAFE: &[(&str, Value)] = &[
    ("core.repositoryformatversion", Value::Plain),
    ("core.filemode", Value::Plain),
    ("core.bare", Value::Plain),
    ("core.logallrefupdates", Value::Word(&["true", "false", "always"])),
    ("core.ignorecase", Value::Plain),
    ("core.precomposeunicode", Value::Plain),
    ("core.symlinks", Value::Plain),
    ("core.autocrlf", Value::Word(&["true", "false", "input"])),
    ("core.eol", Value::Word(&["lf", "crlf", "native"])),
    ("core.safecrlf", Value::Word(&["true", "false", "warn"])),
    ("core.quotepath", Value::Plain),
    ("core.abbrev", Value::Any),
    ("core.sharedrepository", Value::Any),
    ("core.sparsecheckout", Value::Plain),
    ("core.sparsecheckoutcone", Value::Plain),
    ("core.untrackedcache", Value::Word(&["true", "false", "keep"])),
    ("core.longpaths", Value::Plain),
    ("remote.*.url", Value::Url),
    ("remote.*.pushurl", Value::Url),
    ("remote.*.fetch", Value::Any),
    ("remote.*.push", Value::Any),
    ("remote.*.tagopt", Value::Word(&["--tags", "--no-tags"])),
    ("remote.*.mirror", Value::Any),
    ("remote.*.prune", Value::Plain),
    ("remote.*.promisor", Value::Plain),
    ("remote.*.partialclonefilter", Value::Any),
    ("remote.*.followremotehead", Value::Any),
    ("remote.pushdefault", Value::Url),
    ("branch.*.remote", Value::Url),
    ("branch.*.pushremote", Value::Url),
    ("branch.*.merge", Value::Any),
    ("branch.*.rebase", Value::Word(&["true", "false", "merges", "interactive"])),
    ("branch.*.description", Value::Any),
    ("branch.autosetupmerge", Value::Any),
    ("branch.autosetuprebase", Value::Any),
    ("user.name", Value::Any),
    ("user.email", Value::Any),
    ("user.useconfigonly", Value::Plain),
    ("init.defaultbranch", Value::Any),
    ("pull.rebase", Value::Word(&["true", "false", "merges", "interactive"])),
    ("pull.ff", Value::Word(&["true", "false", "only"])),
    ("push.default", Value::Any),
    ("push.autosetupremote", Value::Plain),
    ("fetch.prune", Value::Plain),
    ("merge.ff", Value::Word(&["true", "false", "only"])),
    ("rebase.autosquash", Value::Plain),
    ("rebase.autostash", Value::Plain),
    ("color.ui", Value::Any),
    ("gc.auto", Value::Plain),
    ("lfs.repositoryformatversion", Value::Plain),
    // `worktreeConfig` is not here: it makes git read a second file. A refstorage with a path leads out of the repository.
    ("extensions.objectformat", Value::Word(&["sha1", "sha256"])),
    ("extensions.refstorage", Value::Word(&["files", "reftable"])),
    ("extensions.partialclone", Value::Url),
    ("extensions.preciousobjects", Value::Plain),
    ("extensions.relativeworktrees", Value::Plain),
    ("extensions.noop", Value::Any),
    ("submodule.*.url", Value::Url),
    ("submodule.*.active", Value::Plain),
    ("submodule.*.branch", Value::Any),
    ("submodule.*.update", Value::Word(&["checkout", "rebase", "merge", "none"])),
    ("submodule.active", Value::Any),
    ("submodule.recurse", Value::Plain),
];

/// What the best-known other keys do, for the message only: a key that stands in no table is a finding all the same.
const RUNS: &[(&str, &str)] = &[
    ("core.fsmonitor", "a program that every git status runs"),
    ("core.hookspath", "moves the hooks to a directory of the writer's choice"),
    ("core.sshcommand", "a program that every fetch and push runs"),
    ("core.gitproxy", "a program that fetch and push run"),
    ("core.pager", "a program that shows every output"),
    ("core.editor", "a program that every commit runs"),
    ("core.askpass", "a program that asks for passwords"),
    ("core.attributesfile", "ties files to filters, which are programs"),
    ("core.excludesfile", "hides files from git status"),
    ("core.worktree", "moves the files that git writes to any directory"),
    ("core.alternaterefscommand", "a program that fetch runs"),
    ("sequence.editor", "a program that rebase runs"),
    ("credential.", "a program that sees passwords, or a store for them"),
    ("filter.", "programs that checkout and add run"),
    ("diff.", "programs that diff and log run"),
    ("merge.", "programs that merge runs"),
    ("mergetool.", "a program that mergetool runs"),
    ("difftool.", "a program that difftool runs"),
    ("alias.", "a command under another name"),
    ("pager.", "a program that shows a command's output"),
    ("gpg.", "a program that signs and verifies"),
    ("include.", "reads another file as configuration"),
    ("includeif.", "reads another file as configuration"),
    ("url.", "sends a remote's traffic elsewhere"),
    ("http.", "sends traffic or credentials elsewhere, or trusts less"),
    ("protocol.", "allows transports that are programs"),
    ("remote.", "a program that fetch or push runs, or a helper that does"),
    ("submodule.", "a command that submodule update runs"),
    ("uploadpack.", "a program that serving a fetch runs"),
    ("extensions.", "changes how the repository is read"),
    ("tar.", "a program that archive runs"),
    ("trailer.", "a program that commit runs"),
    ("sendemail.", "programs that send-email runs"),
    ("interactive.", "a program that add -p runs"),
    ("browser.", "a program that help and web--browse run"),
    ("instaweb.", "a program that instaweb runs"),
    ("lfs.", "programs and addresses of git-lfs"),
];

/// Returns what of a git configuration is not known to be harmless; nothing means that git runs nothing because of it.
#[must_use]
pub fn git_config_findings(bytes: &[u8]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut parser = Parser { rest: bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes), line: 1, section: None };
    loop {
        match parser.next() {
            Ok(None) => return findings,
            Ok(Some((key, value))) => findings.extend(judge(&key, value.as_deref())),
            Err(why) => {
                // What follows an error could be read in any way; git itself stops here too.
                findings.push(Finding { key: format!("line {}", parser.line), why: why.into() });
                return findings;
            }
        }
    }
}

/// A key in parts: section and name in lower case, the subsection as it is.
struct Key {
    section: Vec<u8>,
    subsection: Option<Vec<u8>>,
    name: Vec<u8>,
}

impl Key {
    fn shown(&self) -> String {
        let part = |bytes: &[u8]| String::from_utf8_lossy(bytes).escape_debug().to_string();
        match &self.subsection {
            Some(subsection) => format!("{}.{}.{}", part(&self.section), part(subsection), part(&self.name)),
            None => format!("{}.{}", part(&self.section), part(&self.name)),
        }
    }

    fn is(&self, pattern: &str) -> bool {
        let mut parts = pattern.split('.').map(str::as_bytes);
        let (section, second, third) = (parts.next(), parts.next(), parts.next());
        match (second, third) {
            (Some(b"*"), name) => {
                self.subsection.is_some() && section == Some(&self.section) && name == Some(&self.name)
            }
            (name, _) => self.subsection.is_none() && section == Some(&self.section) && name == Some(&self.name),
        }
    }
}

fn judge(key: &Key, value: Option<&[u8]>) -> Option<Finding> {
    let shown = key.shown();
    let finding = |why: Cow<'static, str>| Some(Finding { key: shown.clone(), why });
    let Some((_, wanted)) = SAFE.iter().find(|(pattern, _)| key.is(pattern)) else {
        let plain = format!("{}.{}", String::from_utf8_lossy(&key.section), String::from_utf8_lossy(&key.name));
        let known = RUNS.iter().find(|(name, _)| *name == plain || (name.ends_with('.') && plain.starts_with(name)));
        return finding(known.map_or("not a key that is known to be harmless", |(_, why)| why).into());
    };
    // A key without `=` is true.
    let value = value.unwrap_or(b"true");
    match wanted {
        Value::Any => None,
        Value::Plain if is_plain(value) => None,
        Value::Plain => finding("neither a boolean nor a number".into()),
        Value::Word(words) if words.iter().any(|word| word.as_bytes().eq_ignore_ascii_case(value)) => None,
        Value::Word(words) => finding(format!("none of: {}", words.join(", ")).into()),
        Value::Url => bad_url(value).and_then(|why| finding(why.into())),
    }
}

fn is_plain(value: &[u8]) -> bool {
    let words: [&[u8]; 6] = [b"true", b"false", b"yes", b"no", b"on", b"off"];
    words.iter().any(|word| value.eq_ignore_ascii_case(word))
        || (value.len() < 10 && value.iter().all(u8::is_ascii_digit))
}

/// Says why git could run a program for a URL: a transport helper, or an option in the place of a host.
fn bad_url(url: &[u8]) -> Option<&'static str> {
    if url.iter().any(|b| b.is_ascii_control()) {
        return Some("a URL with control characters in it");
    }
    if url.starts_with(b"-") {
        return Some("reads as an option of the program that git starts (CVE-2017-1000117)");
    }
    let scheme = url.iter().position(|b| !(b.is_ascii_alphanumeric() || b"+.-".contains(b))).unwrap_or(url.len());
    let (scheme, rest) = url.split_at(scheme);
    if rest.starts_with(b"::") {
        return Some("`name::` starts a transport helper, and `ext::` any command");
    }
    if let Some(rest) = rest.strip_prefix(b"://") {
        let known: [&[u8]; 6] = [b"https", b"http", b"ssh", b"git", b"file", b"git+ssh"];
        if !known.contains(&scheme) {
            return Some("its scheme starts a transport helper");
        }
        let end = rest.iter().position(|b| *b == b'/').unwrap_or(rest.len());
        let host = rest[..end].rsplit(|b| *b == b'@').next().unwrap_or_default();
        if host.starts_with(b"-") || rest.starts_with(b"-") {
            return Some("its host reads as an option of ssh (CVE-2017-1000117)");
        }
    }
    None
}

/// Reads entries as git's config.c does.
struct Parser<'b> {
    rest: &'b [u8],
    line: usize,
    section: Option<(Vec<u8>, Option<Vec<u8>>)>,
}

type Entry = (Key, Option<Vec<u8>>);

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        // A carriage return before a newline is part of the newline.
        match self.rest {
            [b'\r', b'\n', ..] => Some(b'\n'),
            [first, ..] => Some(*first),
            [] => None,
        }
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        let len = if self.rest.starts_with(b"\r\n") { 2 } else { 1 };
        self.rest = &self.rest[len..];
        self.line += usize::from(byte == b'\n');
        Some(byte)
    }

    /// Returns the next entry; nothing at the end.
    fn next(&mut self) -> Result<Option<Entry>, &'static str> {
        loop {
            match self.peek() {
                None => return Ok(None),
                Some(b) if is_space(b) => {
                    self.take();
                }
                Some(b'#' | b';') => self.comment(),
                Some(b'[') => {
                    self.take();
                    self.section = Some(self.header()?);
                }
                Some(b) if b.is_ascii_alphabetic() => return self.entry().map(Some),
                Some(_) => return Err("neither a section, a key nor a comment"),
            }
        }
    }

    fn comment(&mut self) {
        while self.peek().is_some_and(|b| b != b'\n') {
            self.take();
        }
    }

    fn header(&mut self) -> Result<(Vec<u8>, Option<Vec<u8>>), &'static str> {
        let mut section = Vec::new();
        loop {
            match self.take() {
                // `[branch.name]` is the old form of `[branch "name"]`, in lower case.
                Some(b']') => {
                    let mut parts = section.splitn(2, |b| *b == b'.');
                    let name = parts.next().unwrap_or_default().to_vec();
                    let subsection = parts.next().map(<[u8]>::to_vec);
                    return if name.is_empty() { Err("a section without a name") } else { Ok((name, subsection)) };
                }
                Some(b' ' | b'\t') => return Ok((section, Some(self.subsection()?))),
                Some(b) if b.is_ascii_alphanumeric() || b == b'-' || b == b'.' => section.push(b.to_ascii_lowercase()),
                _ => return Err("a section header that does not end"),
            }
        }
    }

    fn subsection(&mut self) -> Result<Vec<u8>, &'static str> {
        while self.peek().is_some_and(|b| b == b' ' || b == b'\t') {
            self.take();
        }
        if self.take() != Some(b'"') {
            return Err("a section header without quotes");
        }
        let mut name = Vec::new();
        loop {
            match self.take() {
                Some(b'"') => break,
                Some(b'\\') => match self.take() {
                    Some(b) if b != b'\n' && b != 0 => name.push(b),
                    _ => return Err("a section header that does not end"),
                },
                Some(b) if b != b'\n' && b != 0 => name.push(b),
                _ => return Err("a section header that does not end"),
            }
        }
        match self.take() {
            Some(b']') => Ok(name),
            _ => Err("a section header that does not end"),
        }
    }

    fn entry(&mut self) -> Result<Entry, &'static str> {
        let mut name = Vec::new();
        while let Some(b) = self.peek().filter(|b| b.is_ascii_alphanumeric() || *b == b'-') {
            name.push(b.to_ascii_lowercase());
            self.take();
        }
        while self.peek().is_some_and(|b| b == b' ' || b == b'\t') {
            self.take();
        }
        let value = match self.peek() {
            None | Some(b'\n') => None,
            Some(b'=') => {
                self.take();
                Some(self.value()?)
            }
            Some(_) => return Err("a key that is followed by neither `=` nor the end of the line"),
        };
        let Some((section, subsection)) = self.section.clone() else {
            return Err("a key before the first section");
        };
        Ok((Key { section, subsection, name }, value))
    }

    fn value(&mut self) -> Result<Vec<u8>, &'static str> {
        let (mut value, mut end, mut is_quoted) = (Vec::new(), 0, false);
        loop {
            let Some(byte) = self.take() else {
                value.truncate(end);
                return if is_quoted { Err("a quote that does not end") } else { Ok(value) };
            };
            match byte {
                0 => return Err("a NUL"),
                b'\n' if is_quoted => return Err("a quote that does not end"),
                b'\n' => {
                    value.truncate(end);
                    return Ok(value);
                }
                b'#' | b';' if !is_quoted => {
                    self.comment();
                    continue;
                }
                b'"' => is_quoted = !is_quoted,
                b'\\' => match self.take() {
                    Some(b'\n') => continue,
                    Some(b't') => value.push(b'\t'),
                    Some(b'n') => value.push(b'\n'),
                    Some(b'b') => value.push(8),
                    Some(b @ (b'\\' | b'"')) => value.push(b),
                    _ => return Err("an escape that git does not know"),
                },
                b if is_space(b) && !is_quoted => {
                    // Space in front and behind is not part of the value.
                    if !value.is_empty() {
                        value.push(b);
                    }
                    continue;
                }
                b => value.push(b),
            }
            end = value.len();
        }
    }
}

fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r')
}

/// Returns where a `.git` file points, `gitdir: PATH`, as it is written.
///
/// Worktrees and submodules have such a file; anywhere else it lends a directory the configuration of another.
/// The caller resolves the path, which must lie inside the workspace in `.git/worktrees/` or `.git/modules/`.
#[must_use]
pub fn gitfile_target(bytes: &[u8]) -> Option<&[u8]> {
    let path = bytes.strip_prefix(b"gitdir: ")?;
    let path = path.strip_suffix(b"\n").unwrap_or(path);
    (!path.is_empty() && !path.contains(&0) && !path.contains(&b'\n')).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<String> {
        git_config_findings(text.as_bytes()).into_iter().map(|finding| finding.key).collect()
    }

    #[test]
    fn what_git_itself_writes_is_harmless() {
        for text in [
            "",
            "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n",
            "[remote \"origin\"]\n\turl = https://github.com/a/b.git\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n[branch \"main\"]\n\tremote = origin\n\tmerge = refs/heads/main\n",
            "[core]\r\n\tbare = true\r\n[extensions]\n objectFormat = sha256\n",
            "[remote \"o\"] url = git@github.com:a/b.git\n[user]\nname = \"A \\\"B\\\" C\" ; note\nemail=a@b # c",
            "\u{feff}[submodule \"x\"]\n\tactive = true\n\turl = ../x\n\tupdate = merge\n[core]\nbare",
            "[remote \"r\"]\nurl = ssh://git@[::1]:22/x\nurl = /srv/x.git\nurl = file:///srv/x\n",
        ] {
            assert_eq!(git_config_findings(text.as_bytes()), [], "{text}");
        }
    }

    #[test]
    fn every_key_that_runs_something_is_found() {
        for (text, key) in [
            ("[core]\nfsmonitor = /tmp/x", "core.fsmonitor"),
            ("[core]\n\tfsMonitor=true", "core.fsmonitor"),
            ("[CORE]\nSSHCOMMAND = x", "core.sshcommand"),
            ("[core] hooksPath = x", "core.hookspath"),
            ("[core]\nworktree = /home/ann", "core.worktree"),
            ("[filter \"x\"]\nclean = x", "filter.x.clean"),
            ("[alias]\nst = !x", "alias.st"),
            ("[include]\npath = x", "include.path"),
            ("[includeIf \"gitdir:/\"]\npath = x", "includeif.gitdir:/.path"),
            ("[diff]\nexternal = x", "diff.external"),
            ("[remote \"o\"]\nuploadpack = x", "remote.o.uploadpack"),
            ("[remote \"o\"]\nvcs = x", "remote.o.vcs"),
            ("[remote \"o\"]\nurl = ext::sh -c x", "remote.o.url"),
            ("[remote \"o\"]\nurl = \"ext\"::x", "remote.o.url"),
            ("[remote \"o\"]\nurl = e\\\nxt::x", "remote.o.url"),
            ("[remote \"o\"]\nurl = -x", "remote.o.url"),
            ("[remote \"o\"]\nurl = ssh://-oProxyCommand=x/y", "remote.o.url"),
            ("[remote \"o\"]\nurl = ssh://u@-oProxyCommand=x/y", "remote.o.url"),
            ("[remote \"o\"]\nurl = foo://x", "remote.o.url"),
            ("[branch \"m\"]\nremote = ext::x", "branch.m.remote"),
            ("[submodule \"m\"]\nupdate = !x", "submodule.m.update"),
            ("[extensions]\nworktreeConfig = true", "extensions.worktreeconfig"),
            ("[extensions]\nrefStorage = reftable:///x", "extensions.refstorage"),
            ("[core]\nbare = maybe", "core.bare"),
            ("[core \"x\"]\nbare = true", "core.x.bare"),
            ("[remote]\nurl = x", "remote.url"),
            ("[core] # [user]\nname = x", "core.name"),
            ("[user]\nname = \"a\\\nb\"\n[core]\npager = x", "core.pager"),
            ("[user]\nname = a ; \\\n[core]\neditor = x", "core.editor"),
            ("[core]\n\u{b}pager = x", "line 2"),
            ("[credential.helper]\nx = y", "credential.helper.x"),
        ] {
            assert_eq!(keys(text), [key], "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_a_finding() {
        for text in [
            "x = 1",
            "[core",
            "[core]\nbare true",
            "[a \"b]\n",
            "[]\nx=1",
            "[user]\nname = \"x",
            "[user]\nname = \\q",
            "[a]b]\n=",
            "[user]\nname = a\0b",
            "\0",
            "[user]\nna_me = x",
            "[a 'b']",
            "[user] ]",
        ] {
            assert_eq!(git_config_findings(text.as_bytes()).len(), 1, "{text:?}");
        }
    }

    #[test]
    fn findings_are_safe_to_print() {
        let found = git_config_findings(b"[filter \"\x1b[2J\xff\"]\nclean = x");
        assert_eq!(found[0].key, "filter.\\u{1b}[2J\u{fffd}.clean");
    }

    #[test]
    fn a_git_file_says_where_it_points() {
        assert_eq!(gitfile_target(b"gitdir: ../.git/worktrees/w\n"), Some(&b"../.git/worktrees/w"[..]));
        assert_eq!(gitfile_target(b"gitdir: "), None);
        assert_eq!(gitfile_target(b"gitdir: a\nb\n"), None);
        assert_eq!(gitfile_target(b"ref: x"), None);
    }
}

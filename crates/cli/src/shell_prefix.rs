//! `mantlet --shell-prefix SCRIPT`: what Claude Code starts instead of its shell (`CLAUDE_CODE_SHELL_PREFIX`).
//!
//! The script runs in the jail. Two things that Claude's scripts share with Claude through files are carried by hand:
//! the snapshot of the owner's shell, which the jail does not show, and the directory the shell ended in.

use std::ffi::{OsStr, OsString};
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};
use std::process::{Child, ExitCode, Stdio};

use anyhow::{Context as _, bail};
use mantlet_sandbox::{Command, Kind, Request};

/// The word before the script, as the first argument of all. Claude takes a prefix apart before the last ` -` only, so
/// that a subcommand without a hyphen would be taken for a part of the program's name.
pub(crate) const WORD: &str = "--shell-prefix";
/// The same program between the jail and the caller's standard output.
pub(crate) const RELAY: &str = "--shell-relay";

/// Names that a command may know of the session it runs in; none holds a credential. Claude's own environment, with its
/// key, is not the command's.
const PASSED: [&str; 6] =
    ["CLAUDECODE", "CLAUDE_CODE_ENTRYPOINT", "GIT_EDITOR", "NO_COLOR", "FORCE_COLOR", "COREPACK_ENABLE_AUTO_PIN"];

/// What follows the marker is the directory, up to a newline.
const MARK_BYTES: usize = 16;

/// As long as a path can be (PATH_MAX).
const LONGEST: usize = 4096;

/// The longest snapshot that is handed in.
const MAX_SNAPSHOT: u64 = 512 * 1024;

/// Runs the script that follows `WORD`.
pub(crate) fn run(words: &[OsString]) -> anyhow::Result<ExitCode> {
    let [_, script] = words else {
        bail!(
            "{WORD} takes one argument, the script\nhint: set CLAUDE_CODE_SHELL_PREFIX to \"/path/of/mantlet {WORD}\""
        )
    };
    let mark = mark()?;
    let script = Script::of(script.as_bytes(), &mark, snapshot);
    mantlet_sandbox::close_inherited();
    let request = Request {
        // A script without a directory to report is an MCP server's or a hook's: it ends when Claude ends it.
        kind: if script.directory_to.is_some() { Kind::Command } else { Kind::Service },
        client: Some("claude".into()),
        env: PASSED.iter().filter_map(|name| Some(((*name).into(), std::env::var_os(name)?))).collect(),
        session: std::env::var_os("CLAUDE_CODE_SESSION_ID"),
        command: Command::Shell(OsString::from_vec(script.text)),
        ..Request::default()
    };
    let relay = script.directory_to.map(|to| start_relay(&mark, &to)).transpose()?;
    let code = mantlet_sandbox::exec(&request);
    if let Some(mut relay) = relay {
        // Both ends of the pipe that are ours: the relay then sees the end.
        let null = std::fs::File::options().write(true).open("/dev/null").context("cannot open /dev/null")?;
        rustix::stdio::dup2_stdout(&null).context("cannot close standard output")?;
        rustix::stdio::dup2_stderr(&null).context("cannot close standard error")?;
        relay.wait().context("cannot wait for the relay of standard output")?;
    }
    Ok(ExitCode::from(u8::try_from(code)?))
}

/// Claude's script, made fit for the jail.
struct Script {
    text: Vec<u8>,
    /// Where Claude looks for the directory that the shell ended in.
    directory_to: Option<PathBuf>,
}

impl Script {
    /// `source SNAPSHOT 2>/dev/null || true && ... && eval '...' && pwd -P >| /tmp/claude-0a1b-cwd`
    fn of(script: &[u8], mark: &str, read: impl Fn(&Path) -> Option<Vec<u8>>) -> Script {
        let (body, directory_to) = without_directory(script);
        let mut text = with_snapshot(body, read);
        if directory_to.is_some() {
            // On standard output, which is relayed: a file of the jail's would be gone with it.
            text.extend_from_slice(format!("{{ \\builtin printf '\\n%s' {mark}; \\builtin pwd -P; }}").as_bytes());
        }
        Script { text, directory_to }
    }
}

/// Takes `pwd -P >| FILE` off the end. What has another shape is left alone: the command then keeps its directory.
fn without_directory(script: &[u8]) -> (&[u8], Option<PathBuf>) {
    const BEFORE: &[u8] = b"pwd -P >| ";
    let Some(at) = script.windows(BEFORE.len()).rposition(|part| part == BEFORE) else { return (script, None) };
    let path = Path::new(OsStr::from_bytes(&script[at + BEFORE.len()..]));
    let name = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
    let middle = name.strip_prefix(b"claude-").and_then(|rest| rest.strip_suffix(b"-cwd"));
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"/._-".contains(b);
    let is_ours = middle.is_some_and(|hex| !hex.is_empty() && hex.iter().all(u8::is_ascii_hexdigit));
    match is_ours && is_temporary(path) && path.as_os_str().as_bytes().iter().all(is_plain) {
        true => (&script[..at], Some(path.to_owned())),
        false => (script, None),
    }
}

/// Whether a file is where Claude keeps its own. The attack: a repository's MCP server has a script that ends as Claude's
/// do, in a directory whose files a shell obeys (`~/.bashrc.d`); this process writes there what the jail cannot.
fn is_temporary(path: &Path) -> bool {
    let named = ["TMPDIR", "CLAUDE_CODE_TMPDIR"].iter().filter_map(std::env::var_os).map(PathBuf::from);
    let mut dirs = named.filter(|dir| dir.is_absolute() && dir.parent().is_some()).chain([PathBuf::from("/tmp")]);
    !path.components().any(|part| part == Component::ParentDir) && dirs.any(|dir| path.starts_with(dir))
}

/// Puts the snapshot's own text in the place of its name.
fn with_snapshot(body: &[u8], read: impl Fn(&Path) -> Option<Vec<u8>>) -> Vec<u8> {
    const BEFORE: &[u8] = b"source ";
    let rest = body.strip_prefix(BEFORE).unwrap_or_default();
    let end = rest.iter().position(|b| *b == b' ').unwrap_or(0);
    let path = Path::new(OsStr::from_bytes(&rest[..end]));
    match read(path) {
        Some(snapshot) => {
            let mut text = b"eval ".to_vec();
            text.extend_from_slice(&quoted(&snapshot));
            text.extend_from_slice(&rest[end..]);
            text
        }
        None => body.to_vec(),
    }
}

fn quoted(text: &[u8]) -> Vec<u8> {
    let mut out = vec![b'\''];
    for byte in text {
        match byte {
            b'\'' => out.extend_from_slice(b"'\\''"),
            other => out.push(*other),
        }
    }
    out.push(b'\'');
    out
}

/// Reads a snapshot of Claude's. Only what lies where Claude keeps them: the script is Claude's text with the model's
/// in it, and this process can read what the jail cannot.
fn snapshot(path: &Path) -> Option<Vec<u8>> {
    let home = std::env::var_os("CLAUDE_CONFIG_DIR").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".claude")))?;
    let is_named = path.file_name()?.as_bytes().starts_with(b"snapshot-");
    if !is_named || path.parent()? != home.join("shell-snapshots") {
        return None;
    }
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).ok()?;
    let file = std::fs::File::options().read(true).custom_flags(flags).open(path).ok()?;
    let mut text = Vec::new();
    file.take(MAX_SNAPSHOT + 1).read_to_end(&mut text).ok()?;
    (text.len() as u64 <= MAX_SNAPSHOT && !text.contains(&0)).then_some(text)
}

/// A name that no output has by accident. The command can read it in its own script and then say what it likes, which
/// is no more than the `cd` that it could have run.
fn mark() -> anyhow::Result<String> {
    let mut bytes = [0; MARK_BYTES];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut f| f.read_exact(&mut bytes))
        .context("cannot read /dev/urandom")?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// Starts the relay, and puts its pipe in the place of standard output, and of standard error where both are one.
fn start_relay(mark: &str, directory_to: &Path) -> anyhow::Result<Child> {
    let own = std::env::current_exe().context("cannot find this program\nhint: /proc must be mounted")?;
    let (read, write) = std::io::pipe().context("cannot make a pipe")?;
    let relay = std::process::Command::new(own)
        .arg(RELAY)
        .arg(mark)
        .arg(directory_to)
        .stdin(Stdio::from(read))
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start the relay of standard output")?;
    let is_joined = same_file();
    rustix::stdio::dup2_stdout(&write).context("cannot replace standard output")?;
    if is_joined {
        rustix::stdio::dup2_stderr(&write).context("cannot replace standard error")?;
    }
    Ok(relay)
}

fn same_file() -> bool {
    let stat = |fd| rustix::fs::fstat(fd).map(|s| (s.st_dev, s.st_ino)).ok();
    let out = stat(rustix::stdio::stdout());
    out.is_some() && out == stat(rustix::stdio::stderr())
}

/// The relay: copies standard input to standard output, and takes out what follows the marker.
pub(crate) fn relay(words: &[OsString]) -> anyhow::Result<ExitCode> {
    let [_, mark, directory_to] = words else { bail!("{RELAY} is started by {WORD} only") };
    let mut wanted = b"\n".to_vec();
    wanted.extend_from_slice(mark.as_bytes());
    let mut held = Held { wanted, directory: None, text: Vec::new() };
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut buffer = [0; 65536];
    loop {
        let count = match input.read(&mut buffer) {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        held.text.extend_from_slice(&buffer[..count]);
        output.write_all(&held.pass(count == 0))?;
        output.flush()?;
        if count == 0 {
            break;
        }
    }
    if let Some(directory) = held.directory {
        write_directory(Path::new(directory_to), &directory)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Output that may be the beginning of the marker.
struct Held {
    wanted: Vec<u8>,
    directory: Option<Vec<u8>>,
    text: Vec<u8>,
}

impl Held {
    /// Answers what can be passed on now.
    fn pass(&mut self, is_end: bool) -> Vec<u8> {
        let at = match self.directory {
            Some(_) => None,
            None => self.text.windows(self.wanted.len()).position(|part| part == self.wanted),
        };
        if let Some(at) = at {
            let after = at + self.wanted.len();
            match self.text[after..].iter().position(|b| *b == b'\n') {
                Some(end) => {
                    self.directory = Some(self.text[after..after + end].to_vec());
                    self.text.drain(at..=after + end);
                }
                None if is_end => drop(self.text.drain(at..)),
                // No directory is so long. Held on to, the output would fill the memory of this process, which no jail bounds.
                None if self.text.len() - after > LONGEST => self.directory = Some(Vec::new()),
                None => return self.text.drain(..at).collect(),
            }
        }
        let most = if is_end || self.directory.is_some() { 0 } else { self.overlap() };
        self.text.drain(..self.text.len() - most).collect()
    }

    /// How many bytes at the end could be the marker's beginning.
    fn overlap(&self) -> usize {
        let longest = self.wanted.len().min(self.text.len());
        (1..=longest).rev().find(|n| self.text.ends_with(&self.wanted[..*n])).unwrap_or(0)
    }
}

/// Writes the directory where Claude looks for it, and never through a symlink that somebody put there.
fn write_directory(to: &Path, directory: &[u8]) -> anyhow::Result<()> {
    let is_path = directory.starts_with(b"/") && directory.len() < LONGEST;
    if !is_path || directory.iter().any(u8::is_ascii_control) {
        return Ok(());
    }
    if let Some(parent) = to.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits())?;
    let mut options = std::fs::File::options();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).custom_flags(flags).open(to)?;
    file.write_all(directory)?;
    file.write_all(b"\n")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAUDES: &str = "source /h/.claude/shell-snapshots/snapshot-bash-1-a.sh 2>/dev/null || true && { x; } && eval 'cd sub' < /dev/null && pwd -P >| /tmp/claude-0f2d-cwd";

    #[test]
    fn claudes_script_gets_its_snapshot_and_reports_on_its_output() {
        let script = Script::of(CLAUDES.as_bytes(), "MARK", |_| Some(b"alias a='b'".to_vec()));
        let text = String::from_utf8(script.text).unwrap();
        assert_eq!(
            text,
            "eval 'alias a='\\''b'\\''' 2>/dev/null || true && { x; } && eval 'cd sub' < /dev/null && { \\builtin printf '\\n%s' MARK; \\builtin pwd -P; }"
        );
        assert_eq!(script.directory_to, Some("/tmp/claude-0f2d-cwd".into()));
    }

    #[test]
    fn other_scripts_are_left_alone() {
        for other in [
            "node server.js",
            "pwd -P >| /tmp/other-cwd",
            "pwd -P >| claude-12-cwd",
            "pwd -P >| /tmp/claude-zz-cwd",
            "pwd -P >| /tmp/claude-12-cwd; rm x",
            "pwd -P >| /home/a/.bashrc.d/claude-12-cwd",
            "pwd -P >| /tmp/../home/a/.bashrc.d/claude-12-cwd",
        ] {
            let script = Script::of(other.as_bytes(), "MARK", |_| None);
            assert_eq!((script.text.as_slice(), script.directory_to), (other.as_bytes(), None));
        }
    }

    #[test]
    fn the_marker_is_found_at_every_split_and_nothing_else_is_taken() {
        let all = b"one\ntwo\nMA\nMARK/here\nlater\nMARK/again\n";
        for size in 1..=all.len() {
            let mut held = Held { wanted: b"\nMARK".to_vec(), directory: None, text: Vec::new() };
            let mut out = Vec::new();
            for part in all.chunks(size) {
                held.text.extend_from_slice(part);
                out.extend(held.pass(false));
            }
            out.extend(held.pass(true));
            assert_eq!(String::from_utf8_lossy(&out), "one\ntwo\nMAlater\nMARK/again\n", "{size}");
            assert_eq!(held.directory.as_deref(), Some(&b"/here"[..]), "{size}");
        }
    }

    #[test]
    fn a_marker_without_an_end_is_not_waited_for() {
        let mut held = Held { wanted: b"\nMARK".to_vec(), directory: None, text: b"\nMARK".to_vec() };
        let mut passed = 0;
        for _ in 0..100 {
            held.text.extend_from_slice(&[b'x'; 1000]);
            passed += held.pass(false).len();
            assert!(held.text.len() < 2 * LONGEST, "{}", held.text.len());
        }
        passed += held.pass(true).len();
        assert_eq!(passed, 100_005);
    }

    #[test]
    fn a_snapshot_elsewhere_is_not_read() {
        for path in ["/etc/passwd", "/etc/snapshot-x", "snapshot-x", ""] {
            assert_eq!(snapshot(Path::new(path)), None, "{path}");
        }
    }
}

//! Whether an attack worked, seen from outside the jail.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::time::Duration;

use crate::corpus::{Kind, Success};
use crate::fixture::{KEYSTROKES, Planted};
use crate::launch::{self, Ended};

/// How long a process that was sent a signal gets to die of it.
const GRACE: Duration = Duration::from_millis(300);

/// The word with which an operation says that it worked: the mark reversed, so that no echo of the command holds it.
pub(crate) fn word_of_success(mark: &str) -> String {
    format!("it-worked-{}", mark.chars().rev().collect::<String>())
}

/// The name that a process left behind gives itself.
pub(crate) fn name_left_behind(mark: &str) -> String {
    format!("left-{}", mark.chars().take(8).collect::<String>())
}

/// Judges one run.
pub(crate) fn succeeded(success: &Success, ended: &Ended, after: &[u8], planted: &mut Planted) -> bool {
    let mark = planted.fill("{mark}");
    match success {
        Success::Output(text) => holds(&ended.output, &planted.fill(text)),
        Success::Op => holds(&ended.output, &word_of_success(&mark)),
        Success::After(text) => holds(after, &planted.fill(text)),
        Success::File(check) => {
            fs::read(planted.fill(&check.path)).is_ok_and(|content| holds(&content, &planted.fill(&check.text)))
        }
        Success::Gone(path) => fs::symlink_metadata(planted.fill(path)).is_err(),
        Success::Mode(check) => fs::symlink_metadata(planted.fill(&check.path))
            .is_ok_and(|m| m.permissions().mode() & check.bits == check.bits),
        Success::Kind(check) => {
            fs::symlink_metadata(planted.fill(&check.path)).is_ok_and(|m| is_kind(m.file_type(), check.is))
        }
        Success::Alive => launch::processes_named(&name_left_behind(&mark)) > 0,
        Success::Dead(name) => is_dead(planted, name),
        Success::Keystrokes => fs::read(KEYSTROKES).is_ok_and(|typed| holds(&typed, &mark)),
        Success::Heard => {
            std::thread::sleep(Duration::from_millis(50));
            planted.heard.lock().is_ok_and(|all| holds(&all, &mark))
        }
        Success::Bytes(n) => ended.bytes >= *n,
    }
}

fn holds(haystack: &[u8], needle: &str) -> bool {
    !needle.is_empty() && haystack.windows(needle.len()).any(|w| w == needle.as_bytes())
}

fn is_kind(file: fs::FileType, kind: Kind) -> bool {
    match kind {
        Kind::File => file.is_file(),
        Kind::Dir => file.is_dir(),
        Kind::Fifo => file.is_fifo(),
        Kind::Socket => file.is_socket(),
        Kind::Device => file.is_char_device() || file.is_block_device(),
        Kind::Link => file.is_symlink(),
    }
}

fn is_dead(planted: &mut Planted, name: &str) -> bool {
    let end = std::time::Instant::now() + GRACE;
    let Some(child) = planted.processes.get_mut(name) else {
        return false;
    };
    loop {
        match child.try_wait() {
            Ok(Some(_)) => return true,
            Ok(None) if std::time::Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) | Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_of_success_is_not_in_the_command_that_asks_for_it() {
        let mark = "abcdef0123456789";
        assert!(!word_of_success(mark).contains(mark));
    }

    #[test]
    fn an_empty_needle_is_never_found() {
        assert!(!holds(b"anything", ""));
    }
}

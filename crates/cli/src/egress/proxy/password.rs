//! The password of a proxy: 256 random bits in a file of the owner's alone, so that a client's configuration stays right.

use std::fs::{DirBuilder, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};

const BYTES: usize = 32;

/// Returns the agent's password, and makes it where there is none. `state` was judged: nobody else can write there.
pub(super) fn get(state: &Path, agent: &str, is_new_wanted: bool) -> anyhow::Result<String> {
    let dir = state.join("proxy");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .with_context(|| format!("cannot make {}", dir.display()))?;
    // The name of an agent is the name of a file: the policy takes no other.
    let path = dir.join(agent);
    if is_new_wanted {
        make(&path, true)?;
    }
    match read(&path) {
        Err(error) if is_missing(&error) => {
            make(&path, false)?;
            read(&path)
        }
        other => other,
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<rustix::io::Errno>() == Some(&rustix::io::Errno::NOENT)
}

fn read(path: &Path) -> anyhow::Result<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, path, flags, Mode::empty());
    let file = file.with_context(|| format!("cannot open the proxy's password {}", path.display()))?;
    let stat = rustix::fs::fstat(&file).context("cannot examine the proxy's password")?;
    let is_ours = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && stat.st_uid == rustix::process::geteuid().as_raw()
        && stat.st_nlink == 1
        && stat.st_mode & 0o077 == 0;
    let mut text = String::new();
    File::from(file).take(256).read_to_string(&mut text).context("cannot read the proxy's password")?;
    let text = text.trim_end();
    let is_whole = text.len() == 2 * BYTES && text.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_ours || !is_whole {
        bail!(
            "the proxy's password {} is not as Mantlet wrote it: a file of yours with mode 0600 and one name\n\
             hint: make another with --new-password",
            path.display()
        );
    }
    Ok(text.to_owned())
}

/// Writes another password, whole or not at all. Where one is not to be replaced, one that came meanwhile stays.
fn make(path: &Path, may_replace: bool) -> anyhow::Result<()> {
    let mut bytes = [0; BYTES];
    let got = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).context("no random number")?;
    if got != BYTES {
        bail!("no random number");
    }
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let temporary = path.with_file_name(format!(".{}.new", std::process::id()));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, &temporary, flags, Mode::RUSR | Mode::WUSR);
    let mut file = File::from(file.with_context(|| format!("cannot write {}", temporary.display()))?);
    let written = file.write_all(format!("{text}\n").as_bytes()).and_then(|()| file.sync_all());
    let placed = written.map_err(anyhow::Error::from).and_then(|()| {
        if may_replace {
            return Ok(std::fs::rename(&temporary, path)?);
        }
        match rustix::fs::linkat(CWD, &temporary, CWD, path, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(std::fs::remove_file(&temporary)?),
            Err(error) => Err(error.into()),
        }
    });
    if placed.is_err() {
        std::fs::remove_file(&temporary).ok();
    }
    placed.with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_password_stays_until_another_is_wanted() {
        let dir = std::env::temp_dir().join(format!("mantlet-password-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let first = get(&dir, "main", false).unwrap();
        assert!(first.len() == 64 && first == get(&dir, "main", false).unwrap());
        assert_ne!(first, get(&dir, "other", false).unwrap());
        let second = get(&dir, "main", true).unwrap();
        assert!(first != second && second == get(&dir, "main", false).unwrap());
        let file = dir.join("proxy/main");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(&dir.join("proxy"))), (0o600, 0o700));
        assert_eq!(std::fs::read_dir(dir.join("proxy")).unwrap().count(), 2, "nothing is left behind");

        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(get(&dir, "main", false).is_err(), "others could read it");
        std::fs::write(&file, "short").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(get(&dir, "main", false).is_err());
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink(dir.join("proxy/other"), &file).unwrap();
        assert!(get(&dir, "main", false).is_err(), "somebody else's file");
        assert!(get(&dir, "main", true).is_ok() && !file.is_symlink());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

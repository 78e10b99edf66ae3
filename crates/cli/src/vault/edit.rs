//! `mantlet vault edit`: the plaintext in an editor, on a file system in memory.

use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};
use clap::Args;
use mantlet_vault::store::{Place, read_file};
use mantlet_vault::{Format, Opened, Secret};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::terminal::show;
use super::write::put;
use super::{FileArgs, open, parse, witness};
use crate::policy_cmd::tell;

/// Open a file's plaintext in $VISUAL or $EDITOR, and encrypt what comes back
///
/// The plaintext is a file of the owner's alone in memory (tmpfs) while the editor runs. Vim is started without swap, undo
/// and info files; what another editor keeps elsewhere is between it and you.
#[derive(Debug, Clone, Args)]
pub(crate) struct EditArgs {
    #[command(flatten)]
    file: FileArgs,
}

pub(crate) fn run(args: &EditArgs) -> anyhow::Result<ExitCode> {
    let path = &args.file.file;
    let place = Place::lock(path)?;
    let Some(before) = place.read()? else { bail!("{} does not exist", path.display()) };
    let sealed = parse(path, before.expose(), args.file.kind)?;
    witness::refuse_changes(path, &sealed, before.expose())?;
    let mut opened = open(path, sealed)?;
    let format = opened.format();
    let plain = opened.plain()?;
    // An interrupt is the editor's, which shares the terminal: to die of it here would leave the plaintext there.
    let _held = mantlet_sandbox::signal_fd(&HELD).context("cannot hold signals")?;
    let scratch = Scratch::make(path, format, &plain)?;
    let edited = edited(&scratch, &mut opened, &plain);
    scratch.remove()?;
    if edited? == Edited::Not {
        tell("nothing was changed")?;
        return Ok(ExitCode::SUCCESS);
    }
    let plain = opened.plain()?;
    let sealed = opened.seal()?;
    // Work is in it: a full disk is no reason to lose that.
    while let Err(error) = put(&place, path, Some(&before), &sealed, format, &plain) {
        tell(&format!("{error:#}"))?;
        if !is_yes("try to write it again? [Y/n] ")? {
            bail!("what was edited is not in {}, or not remembered", path.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Interrupt, hangup, quit, termination: what ends a program at a terminal.
const HELD: [i32; 4] = [1, 2, 3, 15];

#[derive(PartialEq, Eq)]
enum Edited {
    Yes,
    Not,
}

/// Lets the owner edit until it can be read.
fn edited(scratch: &Scratch, opened: &mut Opened, plain: &Secret) -> anyhow::Result<Edited> {
    loop {
        scratch.edit()?;
        let edited = read_file(&scratch.file)?;
        if edited == *plain {
            return Ok(Edited::Not);
        }
        let Err(error) = opened.replace(&edited) else { return Ok(Edited::Yes) };
        tell(&format!("{error}\nhint: correct it, or leave the file as it was"))?;
        if !is_yes("edit again? [Y/n] ")? {
            bail!("nothing was changed");
        }
    }
}

fn is_yes(question: &str) -> anyhow::Result<bool> {
    show(question)?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    Ok(!answer.is_empty() && !answer.trim().eq_ignore_ascii_case("n"))
}

/// A directory in memory with the plaintext. It is locked by who uses it, this process and the editor: one that is not
/// was left by a call that was killed.
struct Scratch {
    dir: PathBuf,
    file: PathBuf,
    _lock: OwnedFd,
}

const PREFIX: &str = "mantlet-edit-";

impl Scratch {
    fn make(path: &Path, format: Format, plain: &Secret) -> anyhow::Result<Scratch> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let above = runtime.into_iter().chain([PathBuf::from("/dev/shm")]).find(|dir| is_in_memory(dir));
        let Some(above) = above else {
            bail!(
                "no file system in memory is there for the plaintext\nhint: set XDG_RUNTIME_DIR to a tmpfs, or mount /dev/shm"
            )
        };
        clear(&above)?;
        let mut random = [0; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).context("cannot make a name")?;
        let dir = above.join(format!("{PREFIX}{:016x}", u64::from_ne_bytes(random)));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&dir)
            .with_context(|| format!("cannot make {}", dir.display()))?;
        let locked = lock(&dir).and_then(|lock| {
            let lock = lock.context("the directory to edit in was taken away")?;
            // The editor holds it as well, for as long as it runs.
            rustix::io::fcntl_setfd(&lock, rustix::io::FdFlags::empty()).context("cannot pass the lock on")?;
            Ok(lock)
        });
        // It is empty yet: one that stays holds nothing.
        let lock = locked.inspect_err(|_| std::fs::remove_dir(&dir).unwrap_or_default())?;
        let stem = path.file_name().map_or("secrets".into(), |name| name.to_string_lossy().into_owned());
        // Editors colour by the end of a name.
        let end = match format {
            Format::Dotenv => ".env",
            Format::Json => ".json",
            Format::Yaml => ".yaml",
            Format::Binary => "",
        };
        let scratch = Scratch { file: dir.join(format!("{}{end}", stem.trim_end_matches(end))), dir, _lock: lock };
        match scratch.fill(plain) {
            Ok(()) => Ok(scratch),
            Err(error) => scratch.remove().and(Err(error)),
        }
    }

    fn fill(&self, plain: &Secret) -> anyhow::Result<()> {
        let mut options = std::fs::File::options();
        let file = options.write(true).create_new(true).mode(0o600).open(&self.file);
        std::io::Write::write_all(&mut file.context("cannot make the file to edit")?, plain.expose())
            .context("cannot write the file to edit")
    }

    /// In memory: what is removed is gone.
    fn remove(&self) -> anyhow::Result<()> {
        std::fs::remove_dir_all(&self.dir).with_context(|| {
            format!("the plaintext could not be removed; it is in {}\nhint: remove it", self.dir.display())
        })
    }

    fn edit(&self) -> anyhow::Result<()> {
        let named = |name| std::env::var(name).ok().filter(|editor| !editor.trim().is_empty());
        let editor = named("VISUAL").or_else(|| named("EDITOR")).unwrap_or_else(|| "vi".into());
        let mut words = editor.split_whitespace();
        let program = words.next().unwrap_or("vi");
        let mut command = Command::new(program);
        command.args(words);
        let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy();
        if ["vi", "vim", "nvim", "view"].contains(&name.as_ref()) {
            command.args(["-n", "-i", "NONE", "--cmd", "set noundofile nobackup nowritebackup"]);
        }
        let status = command.arg(&self.file).current_dir(&self.dir).status();
        let status = status.with_context(|| format!("cannot start the editor `{editor}`"))?;
        if status.success() { Ok(()) } else { bail!("the editor failed ({status}); nothing was changed") }
    }
}

/// Removes what calls that were killed have left.
fn clear(above: &Path) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(above).with_context(|| format!("cannot list {}", above.display()))?;
    for entry in entries {
        let dir = entry.with_context(|| format!("cannot list {}", above.display()))?.path();
        let is_named = dir.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()));
        let mine = rustix::process::geteuid().as_raw();
        let is_mine = || dir.symlink_metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == mine);
        if is_named && is_mine() && lock(&dir)?.is_some() {
            let removed = std::fs::remove_dir_all(&dir);
            removed.with_context(|| format!("plaintext of a call that was killed is in {}", dir.display()))?;
        }
    }
    Ok(())
}

/// Locks a directory; nothing when somebody uses it, or it is gone.
fn lock(dir: &Path) -> anyhow::Result<Option<OwnedFd>> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let locked = rustix::fs::open(dir, flags, Mode::empty())
        .and_then(|fd| rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive).map(|()| fd));
    match locked {
        Ok(fd) if dir.exists() => Ok(Some(fd)),
        Ok(_) | Err(Errno::NOENT | Errno::WOULDBLOCK) => Ok(None),
        Err(errno) => Err(errno).with_context(|| format!("cannot lock {}", dir.display())),
    }
}

fn is_in_memory(dir: &Path) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58f6;
    rustix::fs::statfs(dir).is_ok_and(|stat| [TMPFS, RAMFS].contains(&stat.f_type.cast_unsigned()))
}

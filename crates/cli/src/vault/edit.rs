//! `mantlet vault edit`: the plaintext in an editor, on a file system in memory.

use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};
use clap::Args;
use mantlet_vault::store::{Place, read_file};
use mantlet_vault::{Format, Secret};

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
    witness::compare(path, &sealed, before.expose())?;
    let mut opened = open(path, sealed)?;
    let format = opened.format();
    let plain = opened.plain()?;
    let scratch = Scratch::make(path, format, &plain)?;
    loop {
        scratch.edit()?;
        let edited = read_file(&scratch.file)?;
        if edited == plain {
            tell("nothing was changed")?;
            return Ok(ExitCode::SUCCESS);
        }
        match opened.replace(&edited) {
            Ok(()) => break,
            Err(error) => {
                tell(&format!("{error}\nhint: correct it, or leave the file as it was"))?;
                if !is_yes("edit again? [Y/n] ")? {
                    bail!("nothing was changed");
                }
            }
        }
    }
    let plain = opened.plain()?;
    let sealed = opened.seal()?;
    put(&place, path, Some(&before), &sealed, format, &plain)?;
    Ok(ExitCode::SUCCESS)
}

fn is_yes(question: &str) -> anyhow::Result<bool> {
    show(question)?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    Ok(!answer.is_empty() && !answer.trim().eq_ignore_ascii_case("n"))
}

/// A directory in memory with the plaintext, which goes away with this value.
struct Scratch {
    dir: PathBuf,
    file: PathBuf,
}

impl Scratch {
    fn make(path: &Path, format: Format, plain: &Secret) -> anyhow::Result<Scratch> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let above = runtime.into_iter().chain([PathBuf::from("/dev/shm")]).find(|dir| is_in_memory(dir));
        let Some(above) = above else {
            bail!(
                "no file system in memory is there for the plaintext\nhint: set XDG_RUNTIME_DIR to a tmpfs, or mount /dev/shm"
            )
        };
        let mut random = [0; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).context("cannot make a name")?;
        let dir = above.join(format!("mantlet-edit-{:016x}", u64::from_ne_bytes(random)));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&dir)
            .with_context(|| format!("cannot make {}", dir.display()))?;
        let stem = path.file_name().map_or("secrets".into(), |name| name.to_string_lossy().into_owned());
        // Editors colour by the end of a name.
        let end = match format {
            Format::Dotenv => ".env",
            Format::Json => ".json",
            Format::Yaml => ".yaml",
            Format::Binary => "",
        };
        let scratch = Scratch { file: dir.join(format!("{}{end}", stem.trim_end_matches(end))), dir };
        let mut options = std::fs::File::options();
        let file = options.write(true).create_new(true).mode(0o600).open(&scratch.file);
        std::io::Write::write_all(&mut file.context("cannot make the file to edit")?, plain.expose())
            .context("cannot write the file to edit")?;
        Ok(scratch)
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

impl Drop for Scratch {
    fn drop(&mut self) {
        // In memory: what is removed is gone. A failure leaves it to the owner's eyes only.
        std::fs::remove_dir_all(&self.dir).ok();
    }
}

fn is_in_memory(dir: &Path) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58f6;
    rustix::fs::statfs(dir).is_ok_and(|stat| [TMPFS, RAMFS].contains(&stat.f_type.cast_unsigned()))
}

//! `mantlet completions SHELL` and `mantlet man [DIR]`: generated from the same arguments that are parsed.
//!
//! Nothing here is written by hand, so it cannot disagree with the program.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Command;
use clap_complete::Shell;

/// Print a shell's completions
///
/// For instance: mantlet completions bash > ~/.local/share/bash-completion/completions/mantlet
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Print the manual page, or write all of them to a directory
#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// Where mantlet.1 and one page per subcommand go; must exist
    dir: Option<PathBuf>,
}

/// Prints the completions of `command` to standard output.
pub(crate) fn completions(args: &CompletionsArgs, mut command: Command) -> anyhow::Result<ExitCode> {
    let name = command.get_name().to_owned();
    // clap_complete panics when its writer fails; a full disk or a closed pipe must not end in a panic.
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut text);
    print(&text)
}

/// Prints the page of `command`, or writes it and its subcommands' pages to a directory.
pub(crate) fn man(args: &ManArgs, command: Command) -> anyhow::Result<ExitCode> {
    match &args.dir {
        None => {
            let mut text = Vec::new();
            clap_mangen::Man::new(command).render(&mut text)?;
            print(&text)
        }
        Some(dir) => {
            let written = clap_mangen::generate_to(command, dir);
            written.with_context(|| format!("cannot write the pages to {dir:?}\nhint: make the directory first"))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn print(text: &[u8]) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        other => other.context("cannot write to standard output").map(|()| ExitCode::SUCCESS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        Command::new("mantlet").about("About").subcommand(
            Command::new("policy").about("Policy").subcommand(Command::new("check").about("Check a policy file")),
        )
    }

    #[test]
    fn every_subcommand_has_its_page() {
        let dir = std::env::temp_dir().join(format!("mantlet-man-{}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        man(&ManArgs { dir: Some(dir.clone()) }, command()).unwrap();
        let mut pages: Vec<_> =
            std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        pages.sort();
        assert_eq!(pages, ["mantlet-policy-check.1", "mantlet-policy.1", "mantlet.1"]);
        let text = std::fs::read_to_string(dir.join("mantlet-policy-check.1")).unwrap();
        assert!(text.contains("Check a policy file") && text.contains("mantlet\\-policy\\-check"), "{text}");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_missing_directory_is_an_error_with_a_hint() {
        let error = man(&ManArgs { dir: Some("/nonexistent/man".into()) }, command()).unwrap_err();
        assert!(error.to_string().contains("hint:"), "{error}");
    }

    #[test]
    fn every_shell_gets_completions() {
        use clap::ValueEnum as _;
        for shell in Shell::value_variants() {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut command(), "mantlet", &mut text);
            assert!(String::from_utf8(text).unwrap().contains("policy"), "{shell}");
        }
    }
}

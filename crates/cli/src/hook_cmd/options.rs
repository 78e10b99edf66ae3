//! The words of `mantlet hook`, taken without the large command line: a client waits for each call.

use std::ffi::OsString;

use super::HookArgs;

/// What the hook was started with.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) client: String,
    pub(super) agent: Option<String>,
    pub(super) policy: Option<String>,
    pub(super) home: Option<String>,
    pub(super) no_rewrite: bool,
    pub(super) mcp: Vec<String>,
}

/// Takes the words after `hook`. An option that stands twice is an error, as it is where clap reads it.
pub(super) fn parse(words: &[OsString]) -> Result<Options, String> {
    let hint = "hint: mantlet hook --help";
    let mut options =
        Options { client: String::new(), agent: None, policy: None, home: None, no_rewrite: false, mcp: Vec::new() };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let word = word.to_str().ok_or_else(|| format!("{word:?} is not UTF-8"))?;
        let (name, joined) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (word, None),
        };
        let mut value = || match joined.clone().or_else(|| words.next().and_then(|w| w.to_str().map(str::to_owned))) {
            Some(value) => Ok(value),
            None => Err(format!("{name} takes a value\n{hint}")),
        };
        let once = |place: &mut Option<String>, value: String| match place.replace(value) {
            None => Ok(()),
            Some(_) => Err(format!("{name} is given twice\n{hint}")),
        };
        match name {
            "--agent" => once(&mut options.agent, value()?)?,
            "--policy" => once(&mut options.policy, value()?)?,
            "--home" => once(&mut options.home, value()?)?,
            "--mcp" => options.mcp.push(value()?),
            "--no-rewrite" if joined.is_none() => options.no_rewrite = true,
            client if !client.starts_with('-') && options.client.is_empty() => client.clone_into(&mut options.client),
            other => return Err(format!("unexpected argument {other:?}\n{hint}")),
        }
    }
    check(options)
}

/// Takes what clap has read.
pub(super) fn of(args: &HookArgs) -> Result<Options, String> {
    check(Options {
        client: args.client.clone(),
        agent: args.agent.clone(),
        policy: args.policy.clone(),
        home: args.home.clone(),
        no_rewrite: args.no_rewrite,
        mcp: args.mcp.clone(),
    })
}

fn check(options: Options) -> Result<Options, String> {
    if !mantlet_clients::client_ids().any(|id| id == options.client) {
        let ids: Vec<&str> = mantlet_clients::client_ids().collect();
        return Err(format!("there is no client {:?}\nhint: one of {}", options.client, ids.join(", ")));
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(words: &[&str]) -> Result<Options, String> {
        parse(&words.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn words_are_taken_as_clap_would() {
        let options =
            taken(&["claude", "--agent=a", "--policy", "/p", "--no-rewrite", "--mcp", "x", "--mcp=y"]).unwrap();
        assert_eq!((options.client.as_str(), options.agent.as_deref()), ("claude", Some("a")));
        assert_eq!((options.policy.as_deref(), options.no_rewrite, options.mcp.len()), (Some("/p"), true, 2));
    }

    #[test]
    fn a_word_too_many_is_an_error() {
        for words in [
            &["claude", "codex"][..],
            &["claude", "--agent"],
            &["claude", "--agent", "a", "--agent", "b"],
            &["claude", "--no-rewrite=no"],
            &["claude", "--allow"],
            &["emacs"],
            &[],
        ] {
            assert!(taken(words).is_err(), "{words:?}");
        }
    }
}

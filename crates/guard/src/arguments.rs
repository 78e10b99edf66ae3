//! The arguments of a call as its tool's table holds them: which texts name something, and what is done with each.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use mantlet_clients::{Act, Parameter, Reach, Shape, Tool};
use rustix::fs::FileType;
use serde_json::{Map, Value};

use crate::{mentions, patch, pattern};

/// More paths in one call than any call has.
const MOST: usize = 1000;

/// Why arguments cannot be judged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unclear {
    #[error("it is missing")]
    Missing,
    #[error("a call with it reaches further than can be judged")]
    Other,
    #[error("it is not of the kind this tool takes")]
    Kind,
    #[error("it names more than can be judged")]
    Many,
    #[error(transparent)]
    Pattern(#[from] pattern::Unclear),
    #[error(transparent)]
    Patch(#[from] patch::Unclear),
}

/// One thing that a call names.
pub(crate) struct Named {
    pub(crate) text: String,
    pub(crate) act: Act,
    /// Which files of a directory are searched.
    pub(crate) filter: Option<Filter>,
    /// Whether nothing happens where nothing is.
    pub(crate) only_if_there: bool,
    /// Whether it stands in a prompt, where it is relative to the repository, and `~` is the home.
    pub(crate) is_mention: bool,
}

/// Which names a search looks into.
pub(crate) struct Filter(GlobSet);

impl Filter {
    /// Nothing when the pattern may mean something else to the tool than to us: then every file is searched.
    fn new(text: &str) -> Option<Filter> {
        // An anchor to ripgrep (`/.env`), magic to `git grep` (`:!x`), several patterns to some (`a,b`): what is more
        // than a plain pattern narrows nothing.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "*?._-{},/".contains(c);
        let is_several = text.contains(',') && !text.contains('{');
        let has_dots = text.split('/').any(|name| matches!(name, "" | "." | ".."));
        if text.is_empty() || is_several || has_dots || text.starts_with('-') || !text.chars().all(is_plain) {
            return None;
        }
        let mut set = GlobSetBuilder::new();
        for pattern in [text.to_owned(), format!("**/{text}"), format!("**/{text}/**")] {
            set.add(GlobBuilder::new(&pattern).case_insensitive(true).build().ok()?);
        }
        set.build().ok().map(Filter)
    }

    /// Whether a file can match; in a directory anything can.
    pub(crate) fn wants(&self, path: &[u8], kind: FileType) -> bool {
        kind.is_dir() || self.0.is_match(Path::new(std::ffi::OsStr::from_bytes(path)))
    }
}

/// Returns what a call names, by its tool's table; with an error, the argument it is about.
pub(crate) fn named(tool: &Tool, input: &Map<String, Value>) -> Result<Vec<Named>, (&'static str, Unclear)> {
    let mut out = Vec::new();
    for parameter in tool.parameters {
        one(tool, parameter, input, &mut out).map_err(|error| (parameter.name, error))?;
        if out.len() > MOST {
            return Err((parameter.name, Unclear::Many));
        }
    }
    Ok(out)
}

fn one(tool: &Tool, parameter: &Parameter, input: &Map<String, Value>, out: &mut Vec<Named>) -> Result<(), Unclear> {
    // Where a command starts is entered, not gone through.
    let act = match (tool.reach, parameter.act) {
        (Reach::Commands, Act::List) => Act::Read,
        (_, act) => act,
    };
    let plain =
        |text: &str| Named { text: text.to_owned(), act, filter: None, only_if_there: false, is_mention: false };
    let value = input.get(parameter.name).filter(|value| !value.is_null());
    let texts: Vec<&str> = match (parameter.shape, value) {
        (Shape::One | Shape::Each | Shape::Patch, None) => return Err(Unclear::Missing),
        (Shape::Maybe | Shape::EachField(_) | Shape::Glob(_) | Shape::Mentions | Shape::Only(_), None) => return Ok(()),
        (Shape::OrCwd | Shape::EachOrCwd, None) => vec![""],
        (Shape::One | Shape::Maybe | Shape::OrCwd, Some(value)) => vec![value.as_str().ok_or(Unclear::Kind)?],
        (Shape::Each | Shape::EachOrCwd, Some(value)) => texts(value)?,
        (Shape::EachField(field), Some(value)) => fields(value, field)?,
        (Shape::Glob(base), Some(value)) => return glob(value, act, &bases(tool, base, input)?, out),
        (Shape::Only(known), Some(value)) => {
            let is_known = value.as_str().is_some_and(|text| known.contains(&text));
            return if is_known { Ok(()) } else { Err(Unclear::Other) };
        }
        (Shape::Mentions, Some(value)) => {
            let names = mentions::paths(value.as_str().ok_or(Unclear::Kind)?);
            out.extend(names.into_iter().map(|name| Named { only_if_there: true, is_mention: true, ..plain(name) }));
            return Ok(());
        }
        (Shape::Patch, Some(value)) => {
            let paths = patch::paths(value.as_str().ok_or(Unclear::Kind)?)?;
            out.extend(paths.into_iter().map(|(path, act)| Named { act, ..plain(path) }));
            return Ok(());
        }
    };
    let pattern = pattern_of(tool, parameter, input);
    // A list of names is made by its pattern alone, which is judged by itself.
    if act == Act::List && pattern.is_some_and(|text| !text.starts_with('!')) {
        return Ok(());
    }
    let filter = || pattern.filter(|_| act == Act::Search).and_then(Filter::new);
    // An empty list means what its absence means.
    let texts = if texts.is_empty() && parameter.shape == Shape::EachOrCwd { vec![""] } else { texts };
    out.extend(texts.into_iter().map(|text| Named { filter: filter(), ..plain(text) }));
    Ok(())
}

/// The pattern that goes with a directory.
fn pattern_of<'i>(tool: &Tool, parameter: &Parameter, input: &'i Map<String, Value>) -> Option<&'i str> {
    let glob = tool.parameters.iter().find(|p| p.shape == Shape::Glob(parameter.name))?;
    input.get(glob.name)?.as_str().filter(|text| !text.is_empty())
}

/// A string, or a list of strings.
pub(crate) fn texts(value: &Value) -> Result<Vec<&str>, Unclear> {
    match value {
        Value::String(text) => Ok(vec![text]),
        Value::Array(list) if list.len() <= MOST => list.iter().map(|v| v.as_str().ok_or(Unclear::Kind)).collect(),
        Value::Array(_) => Err(Unclear::Many),
        _ => Err(Unclear::Kind),
    }
}

fn fields<'v>(value: &'v Value, field: &str) -> Result<Vec<&'v str>, Unclear> {
    let list = value.as_array().ok_or(Unclear::Kind)?;
    let of = |item: &'v Value| match item.as_object().ok_or(Unclear::Kind)?.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or(Unclear::Kind),
    };
    list.iter().filter_map(|item| of(item).transpose()).collect()
}

/// The directories that a pattern is relative to.
fn bases<'i>(tool: &Tool, base: &str, input: &'i Map<String, Value>) -> Result<Vec<&'i str>, Unclear> {
    let is_argument = tool.parameters.iter().any(|p| p.name == base);
    match input.get(base).filter(|value| is_argument && !value.is_null()) {
        Some(value) => texts(value).map(|texts| if texts.is_empty() { vec![""] } else { texts }),
        None => Ok(vec![""]),
    }
}

/// Every directory that a pattern reaches into.
fn glob(value: &Value, act: Act, bases: &[&str], out: &mut Vec<Named>) -> Result<(), Unclear> {
    let text = value.as_str().ok_or(Unclear::Kind)?;
    // Some clients take several patterns in one text.
    let mut patterns = vec![text];
    patterns.extend(text.split([' ', '\t', '\n', ',']).filter(|one| !one.is_empty() && *one != text));
    // A search only leaves files out by its pattern: it reads what is below its directory. A path in it is judged all
    // the same.
    let act = if act == Act::Search { Act::Read } else { act };
    for pattern in patterns {
        let excludes = pattern.starts_with('!') && act == Act::Read;
        for part in pattern::parts(pattern)?.into_iter().filter(|_| !excludes) {
            for base in bases {
                if out.len() > MOST {
                    return Err(Unclear::Many);
                }
                let is_own = part.prefix.starts_with(['/', '~', '@']) || part.prefix.starts_with("file:");
                let text = match (is_own || base.is_empty(), part.prefix.is_empty()) {
                    (true, _) => part.prefix.clone(),
                    (false, true) => (*base).to_owned(),
                    (false, false) => format!("{base}/{}", part.prefix),
                };
                let is_plain = part.rest.is_empty();
                let act = if is_plain && act == Act::List { Act::Read } else { act };
                out.push(Named { text, act, filter: None, only_if_there: true, is_mention: false });
            }
        }
    }
    Ok(())
}

//! The guard's side: random requests in random worlds, and both answers beside each other.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use mantlet_clients::{Act, Parameter, Reach, Shape, Spelling, Tool};
use mantlet_guard::{Decision, Guard, ToolCall};
use mantlet_sandbox::RealHost;

use crate::chance::Chance;
use crate::inside::{hex, unhex};
use crate::trees::{POLICY, World, relative};

/// Requests of each kind in each world.
const EACH: usize = 200;
const KINDS: [&str; 6] = ["plain", "symlink", "dotdot", "hardlink", "mount", "proc"];

/// A client that takes a path as it stands, and a tool for each act.
pub(crate) const AS_IT_IS: Spelling = Spelling {
    expands_tilde: false,
    strips_at: false,
    decodes_file_urls: false,
    folds_spaces: false,
    trims: false,
    decodes_percent: false,
};

const fn tool(name: &'static str, parameters: &'static [Parameter]) -> Tool {
    Tool { client: "agree", name, reach: Reach::Files, parameters }
}

const fn parameter(act: Act) -> Parameter {
    Parameter { name: "path", act, shape: Shape::One }
}

pub(crate) const TOOLS: &[Tool] = &[
    tool("read", &[parameter(Act::Read)]),
    tool("list", &[parameter(Act::List)]),
    tool("search", &[parameter(Act::Search)]),
    tool("write", &[parameter(Act::Write)]),
    tool("create", &[parameter(Act::Write)]),
    tool("delete", &[parameter(Act::Delete)]),
];

/// Where something was done in the jail, and to which inode.
type Done = (PathBuf, String);

struct Ask {
    kind: &'static str,
    act: &'static str,
    path: String,
    guard: Decision,
    /// Each path that is asked inside, and the inode it leads to outside, before.
    paths: Vec<(String, Option<String>)>,
}

pub(crate) fn main(words: &[String]) {
    let [top, jailer, seed] = words else { panic!("three words: {words:?}") };
    let has_mounts = fs::read_to_string("/proc/self/mountinfo").unwrap().contains("/m_ro ");
    let mut chance = Chance(seed.parse().unwrap());
    let mut counts: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut worlds: Vec<PathBuf> = fs::read_dir(top).unwrap().map(|entry| entry.unwrap().path()).collect();
    worlds.sort();
    for top in &worlds {
        let world = World::make(top, &mut chance, has_mounts);
        let (asks, cwd) = ask_guard(&world, &mut chance);
        let answers = ask_jail(&world, Path::new(jailer), &cwd, &asks);
        let mut answers = answers.into_iter();
        for ask in &asks {
            let inside: Vec<Result<Done, String>> = answers.by_ref().take(ask.paths.len()).collect();
            assert_eq!(inside.len(), ask.paths.len(), "the jail answers fewer");
            let mut both = inside.iter().zip(&ask.paths);
            let is_open = both
                .all(|(answer, (_, before))| answer.as_ref().is_ok_and(|done| is_hosts(ask, done, before.as_ref())));
            let is_allowed = matches!(ask.guard, Decision::Allow(_));
            counts.entry(ask.kind).or_default()[usize::from(!is_allowed)] += 1;
            if is_open != is_allowed {
                wrong.push(format!(
                    "{top:?} {} {} {:?} cwd {cwd:?}\n    guard: {:?}\n    jail: {inside:?} of {:?}",
                    ask.kind, ask.act, ask.path, ask.guard, ask.paths
                ));
            }
        }
    }
    crate::race::run(&worlds[0], &mut chance, &mut counts, &mut wrong);
    for (kind, [allow, deny]) in counts {
        println!("count\t{kind}\t{allow}\t{deny}");
    }
    println!("{} differences", wrong.len());
    for line in wrong.iter().take(12) {
        println!("{line}");
    }
    if !wrong.is_empty() {
        std::process::exit(1);
    }
}

/// What was reached must be the host's own, and what was written be there after the review; what was deleted, gone.
fn is_hosts(ask: &Ask, (real, inode): &Done, before: Option<&String>) -> bool {
    match ask.act {
        "delete" => real.symlink_metadata().is_err(),
        "write" | "create" => real.metadata().is_ok_and(|meta| id(&meta) == *inode),
        _ => before == Some(inode),
    }
}

fn id(meta: &fs::Metadata) -> String {
    format!("{}:{}", meta.dev(), meta.ino())
}

pub(crate) fn policy(world: &Path) -> PathBuf {
    let path = world.join("policy.toml");
    fs::write(&path, POLICY.replace('@', world.to_str().unwrap())).unwrap();
    path
}

fn ask_guard(world: &World, chance: &mut Chance) -> (Vec<Ask>, PathBuf) {
    let policy = mantlet_sandbox::load(Some(&policy(&world.top)), &RealHost::new().unwrap()).unwrap().unwrap().policy;
    let guard = Guard::with_tools(policy.agent("main").unwrap(), &world.top.join("home"), TOOLS, AS_IT_IS).unwrap();
    let cwd = world.work().join(if chance.one_in(2) { "" } else { "b" });
    let cwd = fs::canonicalize(cwd).unwrap();
    // The client stands where it says it does: /proc/self/cwd is there.
    std::env::set_current_dir(&cwd).unwrap();
    let mut asks = Vec::new();
    let mut victims = world.victims.clone();
    for kind in KINDS.iter().filter(|kind| world.has_mounts || **kind != "mount") {
        for index in 0..EACH {
            let (act, object) = request(world, kind, index, &mut victims, chance);
            let path = spelled(world, kind, act, &object, &cwd, chance);
            let input = serde_json::json!({ "path": path });
            let guard = guard.decide(&ToolCall { tool: act, input: &input, cwd: &cwd, mcp_server: None });
            let mut paths = vec![path.clone()];
            if act != "delete" && by_words(&cwd, &path) != whole(&cwd, &path) {
                paths.push(by_words(&cwd, &path));
            }
            let before = |path: String| (fs::metadata(cwd.join(&path)).ok().map(|meta| id(&meta)), path);
            let paths = paths.into_iter().map(before).map(|(id, path)| (path, id)).collect();
            asks.push(Ask { kind, act, path, guard, paths });
        }
    }
    // What changes the tree comes last: the guard has answered for the tree as it is.
    asks.sort_by_key(|ask| ["read", "list", "search", "write", "create", "delete"].iter().position(|a| *a == ask.act));
    (asks, cwd)
}

fn ask_jail(world: &World, jailer: &Path, cwd: &Path, asks: &[Ask]) -> Vec<Result<Done, String>> {
    let mut text = String::new();
    for ask in asks {
        for (path, _) in &ask.paths {
            text.push_str(&format!("{}\t{}\n", ask.act, hex(path.as_bytes())));
        }
    }
    let requests = world.top.join("requests");
    fs::write(&requests, text).unwrap();
    let own = std::env::current_exe().unwrap();
    let inside = format!("/run/mantlet/{}", own.file_name().unwrap().to_str().unwrap());
    let output = Command::new(jailer)
        .arg("exec")
        .args(["--agent", "main", "--timeout", "120s", "--policy"])
        .arg(world.top.join("policy.toml"))
        .arg("--cwd")
        .arg(cwd)
        .arg("--with")
        .arg(&own)
        .args(["--", &inside, "inside"])
        .arg(&world.top)
        .env("HOME", world.top.join("home"))
        .env("XDG_STATE_HOME", world.top.join("state"))
        .stdin(File::open(requests).unwrap())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said.lines().filter(|l| !l.contains("quarantined to") && !l.contains("hint: ")).collect();
    assert!(output.status.success(), "{}: {said:#?}", output.status);
    let lines = String::from_utf8(output.stdout).unwrap();
    let text = |hex: &str| String::from_utf8(unhex(hex)).unwrap();
    let answers = lines.lines().map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
        ["ok", path, id] => Ok((PathBuf::from(text(path)), id.to_owned())),
        ["no", error] => Err(text(error)),
        _ => panic!("{line}"),
    });
    answers.collect()
}

/// What is asked for, and what is done with it.
fn request(
    world: &World,
    kind: &str,
    index: usize,
    victims: &mut Vec<PathBuf>,
    chance: &mut Chance,
) -> (&'static str, PathBuf) {
    let act = *chance
        .pick(&["read", "read", "read", "list", "search", "write", "write", "create", "create", "create", "delete"]);
    if act == "delete" {
        let at = (!victims.is_empty()).then(|| chance.below(victims.len()));
        if let Some(at) = at.filter(|_| !matches!(kind, "symlink" | "hardlink" | "mount")) {
            return ("delete", victims.swap_remove(at));
        }
        return ("read", object(world, kind, &world.files, chance));
    }
    match act {
        "list" | "search" => (act, object(world, kind, &world.dirs, chance)),
        "create" => {
            let dir = object(world, kind, &world.dirs, chance);
            let names = [
                ".envrc",
                "AGENTS.md",
                ".env",
                "keep.md",
                ".git/config",
                ".vscode/settings.json",
                "sub/dir/plain",
                "frozen/x",
                ".git/hooks/pre-push",
            ];
            let name = match chance.below(3) {
                0 => format!("n{index}{kind}/{}", chance.pick(&names)),
                1 if chance.one_in(2) => (*chance.pick(&names)).to_owned(),
                _ => format!("n{index}{kind}"),
            };
            (act, dir.join(name))
        }
        _ => (act, object(world, kind, &world.files, chance)),
    }
}

/// Something of the kind's own, half of it in the workspace.
fn object(world: &World, kind: &str, list: &[PathBuf], chance: &mut Chance) -> PathBuf {
    let wants_inside = chance.one_in(2);
    for _ in 0..200 {
        let object = chance.pick(list);
        let is_mounted = ["m_tmp", "m_in", "m_out", "m_ro", "alias", "write/m"].iter().any(|m| {
            let path = object.to_str().unwrap();
            path.contains(&format!("/{m}/")) || path.ends_with(&format!("/{m}"))
        });
        let is_fit = match kind {
            "mount" => is_mounted,
            _ => !wants_inside || object.starts_with(world.work()),
        };
        if is_fit {
            return object.clone();
        }
    }
    list[0].clone()
}

/// A path to the object, by the ways of its kind.
fn spelled(world: &World, kind: &str, act: &str, object: &Path, cwd: &Path, chance: &mut Chance) -> String {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let mut path = match chance.one_in(3) {
        // To the current directory itself there is no way to go.
        true if object != cwd => text(&relative(cwd, object)),
        _ => text(object),
    };
    match kind {
        "symlink" => {
            let link = chance.pick(&world.links).clone();
            let tail = object.file_name().unwrap().to_str().unwrap();
            let below = fs::read_dir(&link).map(|dir| {
                dir.map(|e| e.unwrap().file_name()).filter(|name| !is_victim(Path::new(name))).collect::<Vec<_>>()
            });
            path = match (act, below) {
                ("create", _) => format!("{}/{tail}", text(&link)),
                (_, Ok(names)) if !names.is_empty() && !chance.one_in(3) => {
                    format!("{}/{}", text(&link), chance.pick(&names).to_str().unwrap())
                }
                _ => text(&link),
            };
            if chance.one_in(4) {
                path = text(&relative(cwd, Path::new(&path)));
            }
        }
        "hardlink" if matches!(act, "read" | "write") => path = text(chance.pick::<PathBuf>(&world.linked)),
        "dotdot" => path = turning_back(world, act, object, cwd, chance),
        "proc" => {
            path = match if act == "delete" { *chance.pick(&[0, 8, 9, 10]) } else { chance.below(12) } {
                0..=4 => format!("/proc/self/root{}", object.display()),
                5..=7 => format!("/proc/self/cwd/{}", relative(cwd, object).display()),
                8 => format!("/proc/thread-self/root{}", object.display()),
                9 => format!("/proc/self/root/proc/self/root//{}", object.display()),
                10 => format!("/proc/{}/root{}", std::process::id(), object.display()),
                _ => format!("/proc/self/cwd/../{}", relative(cwd.parent().unwrap(), object).display()),
            }
        }
        _ => {}
    }
    match chance.below(10) {
        0 => path.replace('/', "//"),
        1 => path.replace('/', "/./"),
        _ => path,
    }
}

/// What only a delete asks about is gone when the others are looked at.
fn is_victim(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_str().unwrap().starts_with('v'))
}

/// A path that goes somewhere and comes back.
fn turning_back(world: &World, act: &str, object: &Path, cwd: &Path, chance: &mut Chance) -> String {
    let mut out = String::new();
    let mut at = PathBuf::from("/");
    let names: Vec<_> = object.components().skip(1).map(|c| c.as_os_str().to_str().unwrap().to_owned()).collect();
    let turn = world.top.components().count() - 1
        + chance.below(names.len().saturating_sub(world.top.components().count() - 1).max(1));
    for (index, name) in names.iter().enumerate() {
        if index == turn {
            let children = fs::read_dir(&at)
                .map(|dir| dir.map(|e| e.unwrap().path()).filter(|p| !is_victim(p)).collect::<Vec<_>>());
            let children = children.unwrap_or_default();
            let is_dir = |p: &&PathBuf| p.is_dir() && (act != "delete" || !p.is_symlink());
            let dirs: Vec<&PathBuf> = children.iter().filter(is_dir).collect();
            match chance.below(6) {
                0 if chance.one_in(2) => out.push_str("/missing/.."),
                1 if !children.is_empty() && act != "delete" => {
                    out.push_str(&format!("/{}/..", chance.pick(&children).file_name().unwrap().to_str().unwrap()));
                }
                _ if !dirs.is_empty() => {
                    out.push_str(&format!("/{}/..", chance.pick(&dirs).file_name().unwrap().to_str().unwrap()));
                }
                _ => out.push_str("/../.."),
            }
        }
        out.push('/');
        out.push_str(name);
        at.push(name);
    }
    match chance.one_in(3) {
        // From the current directory up and down again.
        true => format!("../{}", relative(cwd.parent().unwrap(), Path::new(&out)).display()),
        false => out,
    }
}

fn whole(cwd: &Path, path: &str) -> String {
    let joined = cwd.join(path);
    let plain: PathBuf = joined.components().collect();
    plain.to_str().unwrap().to_owned()
}

/// `..` taken away by words, as programs do that never ask the kernel.
fn by_words(cwd: &Path, path: &str) -> String {
    let mut out = PathBuf::from("/");
    for part in cwd.join(path).components() {
        match part {
            std::path::Component::ParentDir => drop(out.pop()),
            std::path::Component::Normal(name) => out.push(name),
            _ => {}
        }
    }
    out.to_str().unwrap().to_owned()
}

//! Random trees: files, directories, links of every kind, repositories, names that rules speak of, in every place.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::chance::Chance;

/// One world.
pub(crate) struct World {
    pub(crate) top: PathBuf,
    pub(crate) dirs: Vec<PathBuf>,
    pub(crate) files: Vec<PathBuf>,
    pub(crate) links: Vec<PathBuf>,
    /// Files with more than one name.
    pub(crate) linked: Vec<PathBuf>,
    /// Things that only a delete asks about.
    pub(crate) victims: Vec<PathBuf>,
    pub(crate) has_mounts: bool,
}

/// The policy of every world. `@` is its top.
pub(crate) const POLICY: &str = r#"version = 1
[agent.main]
role = "builder"
workspace = "@/work"
[agent.main.files]
read = ["@/read", "@/rlink", "@/outside/one.txt"]
write = ["@/write", "ok/.envrc", "b/AGENTS.md"]
deny = ["**/.env", "private", "a/*.key", "@/read/secret", "@/write/secret.txt"]
protect = ["keep.md", "frozen", "@/write/kept"]
"#;

const PLAIN: [&str; 8] = ["f0", "f1", "f2.txt", "x.key", "Makefile", "config", "\u{e9}t\u{e9}", "sp ace"];
const RULED: [&str; 12] = [
    ".env",
    ".envrc",
    "AGENTS.md",
    ".mcp.json",
    "keep.md",
    "CLAUDE.md",
    ".git/config",
    ".git/hooks/pre-commit",
    ".vscode/settings.json",
    ".codex/config.toml",
    "node_modules/.envrc",
    "package.json",
];
const DIRS: [&str; 9] = ["a", "b", "c", "private", "frozen", "ok", "node_modules", ".claude", "deep/er"];

impl World {
    pub(crate) fn work(&self) -> PathBuf {
        self.top.join("work")
    }

    pub(crate) fn make(top: &Path, chance: &mut Chance, has_mounts: bool) -> World {
        let mut world = World {
            top: top.to_owned(),
            dirs: Vec::new(),
            files: Vec::new(),
            links: Vec::new(),
            linked: Vec::new(),
            victims: Vec::new(),
            has_mounts,
        };
        symlink(top.join("rreal"), top.join("rlink")).unwrap();
        for place in ["read", "rreal", "write", "outside", "shown", "fixed", "lent"] {
            world.fill(&top.join(place), 1, chance);
        }
        for (name, text) in
            [("read/secret/s.txt", "s"), ("write/secret.txt", "s"), ("write/kept/k", "k"), ("outside/one.txt", "1")]
        {
            world.file(&top.join(name), text);
        }
        world.fill(&world.work(), 3, chance);
        for place in ["m_src", "m_tmp"] {
            world.fill(&top.join("work").join(place), 2, chance);
        }
        world.sure();
        world.repositories(chance);
        world.hard_links(chance);
        world.symlinks(chance);
        world.victims(chance);
        // The same things under the names that mounts give them.
        world.seen_through_mounts();
        world
    }

    fn dir(&mut self, path: &Path) {
        if !path.is_dir() {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(path).unwrap();
        }
        if !self.dirs.iter().any(|known| known == path) {
            self.dirs.push(path.to_owned());
        }
    }

    fn file(&mut self, path: &Path, text: &str) {
        self.dir(path.parent().unwrap());
        if path.symlink_metadata().is_err() {
            fs::write(path, text).unwrap();
            self.files.push(path.to_owned());
        }
    }

    fn fill(&mut self, at: &Path, depth: usize, chance: &mut Chance) {
        self.dir(at);
        for _ in 0..2 + chance.below(3) {
            self.file(&at.join(chance.pick(&PLAIN)), "plain");
        }
        for _ in 0..chance.below(4) {
            self.file(&at.join(chance.pick(&RULED)), "ruled");
        }
        for _ in 0..if depth > 0 { 1 + chance.below(3) } else { 0 } {
            let name = chance.pick(&DIRS);
            self.fill(&at.join(name), depth - 1, chance);
        }
    }

    /// What every world must have, so that no rule goes untried.
    fn sure(&mut self) {
        let names = [
            "a/.env",
            "a/t.key",
            "private/in/p.txt",
            "b/AGENTS.md",
            "ok/.envrc",
            "frozen/z",
            "keep.md",
            "a/ok.txt",
            "m_src/.env",
            "m_src/.envrc",
            "m_src/sub/ok.txt",
            "m_src/private/open.txt",
        ];
        for name in names {
            self.file(&self.work().join(name), "sure");
        }
    }

    fn repositories(&mut self, chance: &mut Chance) {
        for index in 0..2 {
            let at = if index == 0 { self.work() } else { self.work().join("nested") };
            if !chance.one_in(2) {
                let named = "[core]\n\thooksPath = my-hooks\n[include]\n\tpath = ../inc.cfg\n";
                let text = if chance.one_in(2) { named } else { "[core]\n\tbare = false\n" };
                fs::create_dir_all(at.join(".git")).unwrap();
                fs::write(at.join(".git/config"), text).unwrap();
                for name in [
                    ".git/config",
                    ".git/HEAD",
                    ".git/hooks/x.sample",
                    ".git/objects/aa",
                    "my-hooks/post-merge",
                    "inc.cfg",
                ] {
                    let path = at.join(name);
                    if path.exists() { self.files.push(path) } else { self.file(&path, "git") }
                }
            }
        }
        // A submodule's or worktree's own file.
        self.file(&self.work().join("tree/.git"), "gitdir: ../.git/worktrees/tree");
        for name in ["HEAD", "config", "objects/x", "refs/x", "hooks/post-update"] {
            self.file(&self.work().join("bare.d").join(name), "[core]\n");
        }
    }

    fn hard_links(&mut self, chance: &mut Chance) {
        for index in 0..30 {
            let from = chance.pick(&self.files).clone();
            let dir = chance.pick(&self.dirs).clone();
            let to = dir.join(format!("h{index}"));
            // What is shown on a read-only mount only stays as it is; another file system refuses.
            let fixed = self.top.join("fixed");
            if !from.starts_with(&fixed) && !dir.starts_with(&fixed) && fs::hard_link(&from, &to).is_ok() {
                self.linked.extend([from, to.clone()]);
                self.files.push(to);
            }
        }
        let sure = [
            ("a/.env", "b/h_env"),
            ("private/in/p.txt", "b/h_private"),
            ("frozen/z", "b/h_frozen"),
            ("keep.md", "a/h_keep"),
            ("a/ok.txt", "b/h_ok"),
            ("tree/.git", "b/h_gitfile"),
            ("a/.env", "c/AGENTS.md"),
        ];
        for (from, to) in sure {
            let (from, to) = (self.work().join(from), self.work().join(to));
            self.dir(to.parent().unwrap());
            if fs::hard_link(&from, &to).is_ok() {
                self.linked.extend([from, to.clone()]);
                self.files.push(to);
            }
        }
        let inside = self.work().join("b/h_outside");
        if fs::hard_link(self.top.join("outside/one.txt"), &inside).is_ok() {
            self.linked.push(inside.clone());
            self.files.push(inside);
        }
    }

    fn symlinks(&mut self, chance: &mut Chance) {
        let fixed = [
            "/etc/shadow",
            "/usr/bin/env",
            "/usr/bin",
            "/tmp",
            "/",
            "missing",
            "../missing/../a",
            "/dev/null",
            "/proc/self/root",
            "/proc/self/cwd",
            "/proc/self/fd/0",
            "/proc/1/root",
            "..",
            ".",
            "/bin/sh",
        ];
        for index in 0..60 {
            let dir = chance.pick(&self.dirs).clone();
            let at = dir.join(format!("l{index}"));
            let target: PathBuf = match chance.below(8) {
                0 => chance.pick(&fixed).into(),
                1 => self.inside(&self.dirs, chance).clone(),
                2 if !self.links.is_empty() => chance.pick(&self.links).clone(),
                3 => relative(&dir, self.inside(&self.files, chance)),
                4 => relative(&dir, self.inside(&self.dirs, chance)),
                5 => PathBuf::from(format!("/proc/self/root{}", chance.pick(&self.files).display())),
                6 => PathBuf::from(format!("l{}", chance.below(60))),
                _ => self.inside(&self.files, chance).clone(),
            };
            if symlink(target, &at).is_ok() {
                self.links.push(at);
            }
        }
        // Chains around the kernel's limit of 40. Of those in between nothing can be said: where a lookup is disturbed
        // the kernel begins again, up to twice, and does not begin to count anew (nameidata's total_link_count).
        let work = self.work();
        for index in 0..45 {
            let to = if index == 0 { "a/ok.txt".to_owned() } else { format!("chain{}", index - 1) };
            symlink(to, work.join(format!("chain{index}"))).unwrap();
            if !(11..40).contains(&index) {
                self.links.push(work.join(format!("chain{index}")));
            }
        }
    }

    /// Something of a list that is in the workspace.
    fn inside<'l>(&self, list: &'l [PathBuf], chance: &mut Chance) -> &'l PathBuf {
        let work = self.work();
        (0..100).map(|_| chance.pick(list)).find(|path| path.starts_with(&work)).unwrap_or(&list[0])
    }

    fn victims(&mut self, chance: &mut Chance) {
        let places: Vec<PathBuf> = self.dirs.clone();
        for index in 0..60 {
            let dir = chance.pick(&places).clone();
            let at = dir.join(format!("v{index}"));
            let made = match chance.below(6) {
                0 => symlink(chance.pick(&self.files), &at),
                1 => fs::create_dir(&at),
                2 => match chance.pick(&self.files) {
                    file if file.starts_with(self.top.join("fixed")) => Ok(()),
                    file => fs::hard_link(file, &at),
                },
                3 => {
                    let name = chance.pick(&RULED);
                    fs::create_dir_all(at.join(name).parent().unwrap()).unwrap();
                    fs::write(at.join(name), "v").map(|()| self.victims.push(at.join(name)))
                }
                _ => fs::write(&at, "v"),
            };
            if made.is_ok()
                && at.symlink_metadata().is_ok_and(|meta| !meta.is_dir() || fs::read_dir(&at).unwrap().next().is_none())
            {
                self.victims.push(at);
            }
        }
    }

    fn seen_through_mounts(&mut self) {
        if !self.has_mounts {
            return;
        }
        let pairs = [
            ("work/m_src", "work/m_in"),
            ("work/m_src", "outside/alias"),
            ("shown", "work/m_out"),
            ("fixed", "work/m_ro"),
            ("lent", "write/m"),
        ];
        for (from, to) in pairs {
            let (from, to) = (self.top.join(from), self.top.join(to));
            for list in [&mut self.dirs, &mut self.files] {
                let more: Vec<PathBuf> =
                    list.iter().filter_map(|p| Some(to.join(p.strip_prefix(&from).ok()?))).collect();
                list.extend(more);
            }
        }
    }
}

/// A path from one directory to a thing, through their common top.
pub(crate) fn relative(dir: &Path, to: &Path) -> PathBuf {
    let common = dir.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let mut out = PathBuf::new();
    for _ in dir.components().skip(common) {
        out.push("..");
    }
    out.extend(to.components().skip(common));
    out
}

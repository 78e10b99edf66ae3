//! Files that a program outside the jail executes or obeys by itself, and that an agent therefore may not write.
//!
//! Each row says what runs the file and the CVE or reason, so that a report can say why. Data only; lookups are in `lookup`.

/// Where below the workspace a row applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Only directly at the workspace's top.
    Top,
    /// At any depth: tools look in the directory they stand in.
    AnyDepth,
    /// In every git directory: the `.git` of any repository, a bare repository's own directory, and each directory of `modules/`.
    GitDir,
}

/// What is done about a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Existing ones are mounted read-only; new ones are undone.
    Protect,
    /// Named in the report with what runs them, never blocked: a person runs these knowingly.
    List,
}

/// One file, or one directory with all below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protected {
    /// A relative path; a trailing `/` means the directory and everything below it; `*` stands for one name,
    /// `*.x` for one name that ends in `.x`.
    pub path: &'static str,
    /// Where it counts.
    pub scope: Scope,
    /// What is done.
    pub action: Action,
    /// What executes or obeys it.
    pub runs: &'static str,
    /// The CVE or the reason.
    pub reason: &'static str,
}

const fn git(path: &'static str, runs: &'static str, reason: &'static str) -> Protected {
    Protected { path, scope: Scope::GitDir, action: Action::Protect, runs, reason }
}

const fn any(path: &'static str, runs: &'static str, reason: &'static str) -> Protected {
    Protected { path, scope: Scope::AnyDepth, action: Action::Protect, runs, reason }
}

const fn top(path: &'static str, runs: &'static str, reason: &'static str) -> Protected {
    Protected { path, scope: Scope::Top, action: Action::Protect, runs, reason }
}

const fn list(path: &'static str, runs: &'static str) -> Protected {
    Protected {
        path,
        scope: Scope::AnyDepth,
        action: Action::List,
        runs,
        reason: "ordinary project file; a person runs it knowingly",
    }
}

const CLAUDE: &str = "Claude Code, on starting in the directory";
const CODEX: &str = "Codex, on starting in a trusted directory";
const OPENCLAW: &str = "the OpenClaw gateway, on its next start";
const GEMINI: &str = "Gemini CLI, on starting in the directory";
const CURSOR: &str = "Cursor, on opening the directory";
const COPILOT: &str = "Copilot, on starting in the directory";
const VSCODE: &str = "VS Code and its forks, on opening the directory";
const VIM: &str = "vim and neovim with 'exrc', on starting in the directory";
const MISE: &str = "mise, on entering the directory";
const AGENT: &str = "the next agent that works in the directory";
const OUTRANKS: &str =
    "instructions that an agent ranks above its user's text: a planted one outlives the session that planted it";
const TRUSTED_LATER: &str = "trust is asked once per directory, and holds for what is written there afterwards";

// Decided against a row:
//   `.gitattributes`   only names filters and drivers; what they run stands in a git config, which is protected.
//   `TOOLS.md`         an agent's own notes about its tools; it outranks nobody (see `MEMORY`).
//   `BOOTSTRAP.md`     OpenClaw's first-run ritual, which the agent itself must delete.
//   `.git` as a file   worktrees need it; its content is judged by `gitfile_target`.

/// The table. Order is irrelevant; a path matches at most one row of each action.
pub const PROTECTED: &[Protected] = &[
    // Git. `modules/NAME` is a git directory of its own, so that these rows hold in it as well.
    git(
        "hooks/",
        "git, on commit, checkout, merge, push",
        "a hook is a program that git runs as whoever uses the repository next (githooks(5)); CVE-2024-32002, CVE-2018-11235",
    ),
    git(
        "config",
        "git, on any command, even status",
        "core.fsmonitor, core.sshCommand, filters, aliases and credential.helper are commands; CVE-2023-29007",
    ),
    git(
        "config.worktree",
        "git, on any command, even status",
        "a second config, read when extensions.worktreeConfig is set",
    ),
    git(
        "info/attributes",
        "git, on checkout, add and diff",
        "ties any file to a filter or driver of the owner's own configuration",
    ),
    git("commondir", "git, on any command", "moves config and hooks to a directory of the agent's choice"),
    git(
        "worktrees/*/commondir",
        "git, on any command in that worktree",
        "moves config and hooks to a directory of the agent's choice; `../..` is what git itself writes",
    ),
    git("worktrees/*/config.worktree", "git, on any command in that worktree", "a config of its own for the worktree"),
    any(".hg/hgrc", "Mercurial, on any command", "its [hooks], [alias] and [extensions] are commands"),
    any(".jj/repo/config.toml", "Jujutsu, on any command", "its fsmonitor, tools and aliases are commands"),
    any(".husky/", "git, where husky set core.hooksPath to it", "hooks by another name (githooks(5))"),
    any(".githooks/", "git, where core.hooksPath names it", "hooks by another name (githooks(5))"),
    // Agents' settings.
    any(
        ".claude/settings.json",
        CLAUDE,
        "hooks are commands and disableAllHooks switches the owner's off; writable while absent in CVE-2026-25725; CVE-2025-59536, CVE-2026-21852",
    ),
    any(
        ".claude/settings.local.json",
        CLAUDE,
        "outranks settings.json and is ignored by git, so that no diff shows it",
    ),
    any(".claude/hooks/", CLAUDE, "the programs that existing hooks name"),
    any(".claude/commands/", CLAUDE, "a command file may run shell text when it is called"),
    any(".claude/agents/", CLAUDE, "an agent file brings its own tools, hooks and permission mode"),
    any(".claude/skills/", CLAUDE, "a skill is instructions and scripts that are loaded by themselves"),
    any(".claude/plugins/", CLAUDE, "a plugin brings hooks and servers"),
    any(".claude/rules/", CLAUDE, OUTRANKS),
    any(".claude/output-styles/", CLAUDE, "replaces parts of the system prompt"),
    any(".claude-plugin/", CLAUDE, "a plugin brings hooks and servers"),
    any(".mcp.json", CLAUDE, "a server entry is a command; CVE-2025-59536"),
    top(
        ".openclaw/extensions/",
        OPENCLAW,
        "a plugin of an id that the configuration enables but no longer names a path for runs in the gateway, outside every sandbox",
    ),
    any(".codex/", CODEX, "config.toml starts servers, hooks.json runs commands; CVE-2025-61260"),
    any(
        ".gemini/",
        GEMINI,
        "settings.json starts servers and hooks, .env redirects the client; project hooks run in trusted folders",
    ),
    any(
        ".cursor/mcp.json",
        CURSOR,
        "a server entry is a command, started without a question; CVE-2025-54135, CVE-2025-54136",
    ),
    any(".cursor/hooks.json", CURSOR, "hooks are commands"),
    any(".cursor/cli.json", CURSOR, "grants the CLI permissions; CVE-2025-61592"),
    any(".cursor/environment.json", CURSOR, "its install and start entries are commands"),
    any(".cursor/worktrees.json", CURSOR, "its setup entries are commands"),
    any(".cursor/rules/", CURSOR, OUTRANKS),
    any(".cursor/commands/", CURSOR, OUTRANKS),
    any(".cursor/agents/", CURSOR, OUTRANKS),
    any(".cursor/skills/", CURSOR, "a skill is instructions and scripts that are loaded by themselves"),
    any(".opencode/", "OpenCode, on starting in the directory", "plugin/*.js is loaded into its process"),
    any("opencode.json", "OpenCode, on starting in the directory", "names plugins and servers, which are commands"),
    any("opencode.jsonc", "OpenCode, on starting in the directory", "names plugins and servers, which are commands"),
    any(".github/hooks/", COPILOT, "hooks are commands"),
    any(".github/copilot/", COPILOT, "settings.json of a trusted repository switches the user's hooks off"),
    any(".github/agents/", COPILOT, OUTRANKS),
    any(".github/skills/", COPILOT, "a skill is instructions and scripts that are loaded by themselves"),
    any(".github/instructions/", COPILOT, OUTRANKS),
    any(".github/prompts/", COPILOT, OUTRANKS),
    any(".agents/", AGENT, "skills and settings that several clients read"),
    any(".aider.conf.yml", "aider, on starting in the directory", "lint-cmd and test-cmd are commands"),
    any(".continue/", "Continue, on opening the directory", "servers are commands"),
    any(".roo/", "Roo Code, on opening the directory", "mcp.json is commands, rules outrank the user's text"),
    any(".roomodes", "Roo Code, on opening the directory", "grants modes their tools"),
    any(".clinerules/", "Cline, on opening the directory", "hooks are commands, rules outrank the user's text"),
    any(".windsurf/", "Windsurf, on opening the directory", OUTRANKS),
    any(".kiro/", "Kiro, on opening the directory", "hooks and servers are commands"),
    any(".amazonq/", "Amazon Q, on opening the directory", "mcp.json is commands"),
    any(".qwen/", "Qwen Code, on starting in the directory", "settings.json starts servers"),
    any(".factory/", "Droid, on starting in the directory", "hooks and servers are commands"),
    any(".crush.json", "Crush, on starting in the directory", "servers are commands, and $(...) is expanded"),
    any("crush.json", "Crush, on starting in the directory", "servers are commands, and $(...) is expanded"),
    // Editors.
    any(
        ".vscode/settings.json",
        VSCODE,
        "names interpreters and tools that extensions start, and can switch off every question; CVE-2025-53773",
    ),
    any(".vscode/tasks.json", VSCODE, "runOn: folderOpen starts a task by itself"),
    any(".vscode/launch.json", VSCODE, "its preLaunchTask and program are commands"),
    any(".vscode/extensions.json", VSCODE, "recommends extensions, one question away from code"),
    any(".vscode/mcp.json", VSCODE, "a server entry is a command"),
    any("*.code-workspace", VSCODE, "settings, tasks and launch entries in one file"),
    any(
        ".idea/",
        "JetBrains IDEs, on opening the directory",
        "run configurations, startup tasks and file watchers are commands",
    ),
    any(".zed/", "Zed, on opening the directory", "settings.json names language servers and tasks.json commands"),
    any(".helix/", "Helix, on starting in the directory", "languages.toml names language servers, which are commands"),
    any(".exrc", VIM, "a script; its lines may start programs"),
    any(".nexrc", VIM, "a script"),
    any(".vimrc", VIM, "a script"),
    any(".gvimrc", VIM, "a script"),
    any(".nvimrc", VIM, "a script"),
    any(".nvim.lua", VIM, TRUSTED_LATER),
    any(".vim/", VIM, "scripts that a project's vimrc loads"),
    any(".dir-locals.el", "Emacs, on opening a file below it", "eval entries are code once they are accepted"),
    any(".dir-locals-2.el", "Emacs, on opening a file below it", "eval entries are code once they are accepted"),
    any(".devcontainer/", "VS Code and devpod, on opening the directory", "initializeCommand runs on the host"),
    any(".devcontainer.json", "VS Code and devpod, on opening the directory", "initializeCommand runs on the host"),
    // Shells.
    any(
        ".envrc",
        "direnv, on entering the directory",
        "a shell script; once a whole tree is allowed by direnv's whitelist, each new one runs",
    ),
    any(".direnv/", "direnv, on entering the directory", "cached environments that .envrc sources"),
    any(".mise.toml", MISE, TRUSTED_LATER),
    any("mise.toml", MISE, TRUSTED_LATER),
    any(".mise.local.toml", MISE, TRUSTED_LATER),
    any("mise.local.toml", MISE, TRUSTED_LATER),
    any(".mise/", MISE, "tasks and config; _.source entries are scripts"),
    any(".config/mise.toml", MISE, TRUSTED_LATER),
    any(".config/mise/", MISE, TRUSTED_LATER),
    any(".autoenv", "autoenv, on entering the directory", "a shell script"),
    any(".autoenv.zsh", "zsh-autoenv, on entering the directory", "a shell script"),
    // Instructions that outrank the agent.
    any("AGENTS.md", AGENT, OUTRANKS),
    any("AGENT.md", AGENT, OUTRANKS),
    any("AGENTS.override.md", CODEX, OUTRANKS),
    any("CLAUDE.md", AGENT, OUTRANKS),
    any("CLAUDE.local.md", AGENT, OUTRANKS),
    any("GEMINI.md", AGENT, OUTRANKS),
    any("QWEN.md", AGENT, OUTRANKS),
    any("CRUSH.md", AGENT, OUTRANKS),
    any("WARP.md", AGENT, OUTRANKS),
    any(".cursorrules", CURSOR, OUTRANKS),
    any(".windsurfrules", "Windsurf, on opening the directory", OUTRANKS),
    any(".goosehints", "goose, on starting in the directory", OUTRANKS),
    any(".junie/", "Junie, on opening the directory", OUTRANKS),
    any(".github/copilot-instructions.md", COPILOT, OUTRANKS),
    // Below the top these are a project's own documents.
    top("SECURITY.md", AGENT, "the owner's rules for the agent; a planted one would replace them"),
    top("BOOT.md", "OpenClaw, when its gateway starts", "instructions that are carried out with nobody asking"),
    // Listed: what a person runs.
    list("Makefile", "make"),
    list("makefile", "make"),
    list("GNUmakefile", "make"),
    list("justfile", "just"),
    list("Justfile", "just"),
    list(".justfile", "just"),
    list("Taskfile.yml", "task"),
    list("Taskfile.yaml", "task"),
    list("CMakeLists.txt", "cmake"),
    list("CMakePresets.json", "cmake"),
    list("meson.build", "meson"),
    list("configure", "./configure"),
    list(".bazelrc", "bazel"),
    list("package.json", "npm, pnpm, yarn and bun: scripts, also before and after install"),
    list(".npmrc", "npm: registries and script shell"),
    list(".yarnrc", "yarn: yarn-path is a program"),
    list(".yarnrc.yml", "yarn: yarnPath and plugins are programs"),
    list(".yarn/", "yarn: releases and plugins are programs"),
    list(".pnpmfile.cjs", "pnpm, on install"),
    list("bunfig.toml", "bun: preload"),
    list("node_modules/", "node, npx and every script of the project"),
    list(".eslintrc.js", "eslint, also from an editor"),
    list(".eslintrc.cjs", "eslint, also from an editor"),
    list("eslint.config.js", "eslint, also from an editor"),
    list("eslint.config.mjs", "eslint, also from an editor"),
    list("eslint.config.cjs", "eslint, also from an editor"),
    list("eslint.config.ts", "eslint, also from an editor"),
    list(".prettierrc.js", "prettier, also from an editor"),
    list(".prettierrc.cjs", "prettier, also from an editor"),
    list("prettier.config.js", "prettier, also from an editor"),
    list("vite.config.js", "vite and vitest"),
    list("vite.config.ts", "vite and vitest"),
    list("webpack.config.js", "webpack"),
    list("jest.config.js", "jest"),
    list("babel.config.js", "babel"),
    list("build.rs", "cargo, on build and check, also from an editor"),
    list("Cargo.toml", "cargo: build scripts and procedural macros"),
    list(".cargo/", "cargo: runner, linker and wrapper are programs"),
    list("rust-toolchain", "rustup: path names a toolchain"),
    list("rust-toolchain.toml", "rustup: path names a toolchain"),
    list("setup.py", "pip and python"),
    list("setup.cfg", "pip: the build backend"),
    list("pyproject.toml", "pip and its build backend"),
    list("conftest.py", "pytest, on collecting"),
    list("pytest.ini", "pytest: addopts load plugins"),
    list("tox.ini", "tox and pytest"),
    list("noxfile.py", "nox"),
    list("sitecustomize.py", "python, on every start where it is importable"),
    list("usercustomize.py", "python, on every start where it is importable"),
    list("*.pth", "python, on every start where it is in site-packages"),
    list(".pdbrc", "pdb"),
    list(".venv/", "python of the project, also from an editor"),
    list("venv/", "python of the project, also from an editor"),
    list("Gemfile", "bundler"),
    list("Rakefile", "rake"),
    list(".rspec", "rspec"),
    list(".irbrc", "irb"),
    list(".pryrc", "pry"),
    list("composer.json", "composer: scripts"),
    list("build.gradle", "gradle, also from an editor"),
    list("build.gradle.kts", "gradle, also from an editor"),
    list("settings.gradle", "gradle, also from an editor"),
    list("settings.gradle.kts", "gradle, also from an editor"),
    list("gradlew", "./gradlew"),
    list("pom.xml", "mvn, also from an editor"),
    list("mvnw", "./mvnw"),
    list(".mvn/", "mvn: extensions and JVM options"),
    list(".Rprofile", "R, on starting in the directory"),
    list(".gdbinit", "gdb, where auto-load trusts the directory"),
    list(".lldbinit", "lldb, where it trusts the directory"),
    list("flake.nix", "nix"),
    list("shell.nix", "nix-shell"),
    list("default.nix", "nix-build and nix-shell"),
    list("devbox.json", "devbox: init_hook"),
    list(".tool-versions", "asdf and mise: which version a shim starts"),
    list(".env", "dotenv loaders and autoenv; it can set NODE_OPTIONS or CODEX_HOME (CVE-2025-61260)"),
    list(".lfsconfig", "git-lfs: where objects are fetched from"),
    list(".gitmodules", "git submodule: what is cloned from where (CVE-2018-17456)"),
    list("Dockerfile", "docker build"),
    list("Containerfile", "podman build"),
    list("compose.yaml", "docker compose: bind mounts of the host"),
    list("compose.yml", "docker compose: bind mounts of the host"),
    list("docker-compose.yml", "docker compose: bind mounts of the host"),
    list("docker-compose.yaml", "docker compose: bind mounts of the host"),
    list("Vagrantfile", "vagrant"),
    list("Jenkinsfile", "Jenkins"),
    list(".github/workflows/", "GitHub Actions, after a push"),
    list(".github/actions/", "GitHub Actions, after a push"),
    list(".gitea/workflows/", "Gitea Actions, after a push"),
    list(".forgejo/workflows/", "Forgejo Actions, after a push"),
    list(".gitlab-ci.yml", "GitLab CI, after a push"),
    list(".circleci/", "CircleCI, after a push"),
    list(".travis.yml", "Travis CI, after a push"),
    list(".drone.yml", "Drone, after a push"),
    list(".woodpecker.yml", "Woodpecker, after a push"),
    list(".woodpecker/", "Woodpecker, after a push"),
    list("azure-pipelines.yml", "Azure Pipelines, after a push"),
    list("bitbucket-pipelines.yml", "Bitbucket Pipelines, after a push"),
    list(".pre-commit-config.yaml", "pre-commit, on commit where it is installed"),
    list("lefthook.yml", "lefthook, on commit where it is installed"),
    list(".lefthook.yml", "lefthook, on commit where it is installed"),
    Protected {
        path: "rebase-merge/git-rebase-todo",
        scope: Scope::GitDir,
        action: Action::List,
        runs: "git rebase --continue",
        reason: "its exec lines are commands; a person continues a rebase knowingly",
    },
];

/// An agent's own memory, never protected: it may rewrite itself, and nothing that outranks it.
pub const MEMORY: &[&str] = &["SOUL.md", "IDENTITY.md", "USER.md", "MEMORY.md", "HEARTBEAT.md", "TOOLS.md", "memory/"];

/// The names that together make a directory a git directory, wherever it stands: git finds a bare repository
/// by walking up from any directory below it, and then runs what its config says (CVE-2022-24765 is a relative).
/// An agent that makes these three at the top of its workspace makes every `git status` there its own.
pub const BARE_REPOSITORY: &[&str] = &["HEAD", "objects/", "refs/"];

//! The behaviour of `parse` and `default_policy` as a whole, against a host that exists only here.

use std::io;
use std::path::{Path, PathBuf};

use crate::*;

/// A host with a few directories; nothing on disk is touched.
pub(crate) struct Fake {
    home: PathBuf,
    state: Vec<PathBuf>,
    secrets: Vec<PathBuf>,
}

impl Fake {
    pub(crate) fn new() -> Self {
        Fake {
            home: "/home/ann".into(),
            state: vec!["/home/ann/.openclaw".into(), "/home/ann/.config/opencode".into()],
            secrets: vec!["/home/ann/.openclaw/.env".into(), "/home/ann/.openclaw/credentials".into()],
        }
    }
}

const DIRECTORIES: &[&str] = &[
    "/",
    "/home",
    "/home/ann",
    "/home/bob",
    "/tmp",
    "/usr",
    "/usr/share/doc",
    "/etc",
    "/etc/x",
    "/var",
    "/root",
    "/proc",
    "/dev",
    "/sys",
    "/run",
    "/boot",
    "/bin",
    "/home/ann/work",
    "/home/ann/other",
    "/home/ann/.openclaw",
    "/home/ann/.openclaw/workspace",
    "/home/ann/.openclaw/credentials",
    "/home/ann/.openclaw/credentials/ws",
    "/home/ann/.config",
    "/home/ann/reference",
    "/srv/ws",
];

impl Host for Fake {
    fn home(&self) -> &Path {
        &self.home
    }
    fn state_dirs(&self) -> &[PathBuf] {
        &self.state
    }
    fn secrets(&self) -> &[PathBuf] {
        &self.secrets
    }
    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        let wants_directory = path.as_os_str().as_encoded_bytes().ends_with(b"/.");
        let real: PathBuf = match path.components().collect::<PathBuf>() {
            p if p == Path::new("/home/ann/link") => "/home/ann/work".into(),
            p if p == Path::new("/home/ann/trap") => "/home/ann".into(),
            p => p,
        };
        match real.to_str() {
            Some("/home/ann/file") if wants_directory => Err(io::ErrorKind::NotADirectory.into()),
            Some("/home/ann/file") => Ok(real),
            Some(text) if DIRECTORIES.contains(&text) => Ok(real),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

pub(crate) fn read(text: &str) -> Result<Policy, PolicyErrors> {
    parse(text, Path::new("mantlet.toml"), &Fake::new())
}

fn with(section: &str) -> String {
    format!("version = 1\n[agent.main]\nrole = \"builder\"\nworkspace = \"~/work\"\n{section}")
}

/// The only error of a text, as `line:column: message`.
fn error(text: &str) -> (String, String) {
    let errors = read(text).expect_err(text);
    assert_eq!(errors.errors().len(), 1, "{errors}");
    let only = &errors.errors()[0];
    assert!(!only.hint.is_empty());
    (format!("{}:{}: {}", only.line, only.column, only.fault), only.hint.clone())
}

pub(crate) const SKETCH: &str = r#"
version = 1
[agent.main]
role      = "builder"
client    = "openclaw"
workspace = "~/.openclaw/workspace"
tier      = "full"             # the least this agent may run with
[agent.main.files]             # beyond the role's preset
read    = ["~/reference"]
deny    = ["**/.env"]          # also for files that appear later
protect = ["AGENTS.md"]        # readable, not writable
review  = "quarantine"         # report | quarantine | fail
[agent.main.egress]
allow = ["github.com:443", "*.npmjs.org"]
[agent.main.publish]
ports = ["127.0.0.1:18789"]    # what the owner may reach inside; anything wider needs exposed = "reason"
[agent.main.limits]
memory    = "2GiB"
processes = 256
time      = "10m"
[agent.main.dlp]
out = "redact"                 # block | redact | warn
in  = "warn"
[credential.ANTHROPIC_API_KEY]
from = "vault"
use  = "anthropic"             # an own-account-only preset: host, methods, paths, where it is injected
[handoff.research]
from = "scout"
to   = "main"
[watch]
files = ["~/.openclaw/openclaw.json"]
[alert]
command = ["notify-send"]
"#;

#[test]
fn the_sketch_of_the_design_is_a_policy() {
    let policy = read(SKETCH).unwrap();
    let main = policy.agent("main").unwrap();
    assert_eq!(main.role(), Role::Builder);
    assert_eq!(main.workspace(), Path::new("/home/ann/.openclaw/workspace"));
    assert_eq!(main.files().read()[0].path(), Some(Path::new("/home/ann/reference")));
    assert_eq!(main.files().deny()[0].path(), None);
    assert_eq!(main.files().protect()[0].path(), Some(Path::new("/home/ann/.openclaw/workspace/AGENTS.md")));
    assert_eq!(main.egress().allow(), ["github.com:443", "*.npmjs.org:443"]);
    assert_eq!(policy.credentials().len(), 1);
    assert_eq!(policy.handoffs()[0].to, "main");
    assert!(policy.watch().is_some() && policy.alert().is_some());
    assert_eq!(main.line("limits.memory"), Some(18));
    assert_eq!(policy.agent_for_client("openclaw").map(Agent::name), Some("main"));
}

#[test]
fn the_hash_is_pinned_and_ignores_comments_and_order() {
    let hash = read(SKETCH).unwrap().hash().to_owned();
    assert_eq!(hash, "58a246613627d4b97745fe85f77c3a3deadccd405d9534875cbfa58230d5c32d");
    let other = SKETCH
        .replace("# the least this agent may run with", "# another comment")
        .replace(
            r#"allow = ["github.com:443", "*.npmjs.org"]"#,
            r#"allow = ["*.npmjs.org:443", "GitHub.com", "github.com"]"#,
        )
        .replace("~/reference", "/home/ann/reference");
    assert_eq!(read(&other).unwrap().hash(), hash);
    for (from, to) in [
        ("role      = \"builder\"", "role = \"builder\"\naccept = [\"unconfined\"]"),
        ("256", "257"),
        ("redact", "block"),
        ("18789", "18790"),
        ("anthropic", "openai"),
        ("notify-send", "mail"),
        ("**/.env", "*/.env"),
    ] {
        assert_ne!(read(&SKETCH.replace(from, to)).unwrap().hash(), hash, "{from}");
    }
}

#[test]
fn the_default_is_a_builder_in_its_workspace() {
    let host = Fake::new();
    let policy = default_policy("main", Path::new("/home/ann/link"), &host).unwrap();
    assert_eq!(policy.agents()[0].workspace(), Path::new("/home/ann/work"));
    assert_eq!(policy.agents()[0].exec(), Exec::Jailed);
    assert_eq!(policy.hash(), read(&with("")).unwrap().hash());
    let refused = default_policy("main", Path::new("/home/ann"), &host).unwrap_err().to_string();
    assert!(refused.starts_with("workspace `/home/ann` is your home directory"), "{refused}");
    assert!(default_policy("../x", Path::new("/srv/ws"), &host).is_err());
}

#[test]
fn every_error_has_its_place_and_its_fix() {
    for (section, place, hint) in [
        ("rolle = 1", "5:1: unknown key `rolle` in [agent.main]", "`role`"),
        ("tier = 3", "5:8: `tier` must be a string, not integer", "tier ="),
        ("tier = \"fulll\"", "5:8: `tier` cannot be `fulll`", "`full`"),
        ("client = \"emacs\"", "5:10: `client` cannot be `emacs`", "openclaw"),
        ("accept = [\"all\"]", "5:11: `accept` cannot be `all`", "unconfined"),
        ("[agent.main.files]\ndeny = [\"a\", \"x[\"]", "6:14: bad glob `x[`", "**"),
        ("[agent.main.files]\ndeny = [\"../x\"]", "6:9: bad glob `../x`", "**"),
        ("[agent.main.files]\ndeny = [\"!x\"]", "6:9: bad glob `!x`", "**"),
        ("[agent.main.files]\ndeny = [\"~/work\"]", "6:9: bad glob `~/work`: this is the workspace", "**"),
        ("[agent.main.files]\nread = [\"/opt/*\"]", "6:9: bad path `/opt/*`: `read` takes no wildcards", "deny"),
        ("[agent.main.files]\nread = [\"~\"]", "6:9: `read` cannot open `/home/ann`", "only"),
        ("[agent.main.files]\nread = [\"/\"]", "6:9: `read` cannot open `/`", "only"),
        ("[agent.main.files]\nread = [\"~/trap\"]", "6:9: `read` cannot open `/home/ann/trap`: it leads to", "only"),
        ("[agent.main.files]\nread = [\"~/.config\"]", "6:9: `read` cannot open `/home/ann/.config`", "only"),
        ("[agent.main.files]\nread = [\"~/.openclaw\"]", "6:9: `read` cannot open `/home/ann/.openclaw`", "only"),
        (
            "[agent.main.files]\nread = [\"~/.openclaw/.env\"]",
            "6:9: `read` cannot open `/home/ann/.openclaw/.env`",
            "credentials",
        ),
        ("[agent.main.files]\nread = [\"/run/docker.sock\"]", "6:9: `read` cannot open `/run/docker.sock`", "no rule"),
        ("[agent.main.files]\nread = [\"/proc/1\"]", "6:9: `read` cannot open `/proc/1`", "no rule"),
        ("[agent.main.files]\nread = [\"/tmp\"]", "6:9: `read` cannot open `/tmp`", "only"),
        ("[agent.main.files]\nread = [\"~bob/x\"]", "6:9: bad path `~bob/x`", "begins"),
        ("[agent.main.files]\nread = [\"$HOME/x\"]", "6:9: bad path `$HOME/x`: variables", "begins"),
        ("[agent.main.files]\nwrite = [\"/etc/passwd\"]", "6:10: `write` cannot open `/etc/passwd`", "own"),
        ("[agent.main.files]\nwrite = [\"/usr\"]", "6:10: `write` cannot open `/usr`", "own"),
        ("[agent.main.env]\npass = [\"A=B\"]", "6:9: bad environment name `A=B`", "name only"),
        ("[agent.main.env]\npass = [\"A\"]\nset = { A = \"1\" }", "7:9: `A` is both passed and set", "one"),
        ("[agent.main.egress]\nallow = [\"https://x.org\"]", "6:10: bad host `https://x.org`", "host:port"),
        ("[agent.main.publish]\nports = [\"0.0.0.0:80\"]", "6:10: `0.0.0.0:80` can be reached", "exposed"),
        ("[agent.main.publish]\nports = [\"192.168.1.5:80\"]", "6:10: `192.168.1.5:80` can be reached", "exposed"),
        ("[agent.main.publish]\nports = [\"[::]:80\"]", "6:10: `[::]:80` can be reached", "exposed"),
        ("[agent.main.publish]\nports = [\"[fd00::1]:80\"]", "6:10: `[fd00::1]:80` can be reached", "exposed"),
        (
            "[agent.main.publish]\nports = [\"127.0.0.1:80\"]\n[[agent.main.egress.local]]\nname = \"a.host\"\nto = \"127.0.0.1:80\"",
            "9:6: `127.0.0.1:80` leads to what an agent publishes",
            "owner",
        ),
        (
            "[agent.main.egress]\nlocal = [{ name = \"a.host\", to = \"192.168.1.5:80\" }]\n[agent.x]\nrole = \"builder\"\nworkspace = \"/home/ann/other\"\n[agent.x.publish]\nports = [\"0.0.0.0:80\"]\nexposed = \"y\"",
            "6:34: `192.168.1.5:80` leads to what an agent publishes",
            "owner",
        ),
        ("[agent.main.publish]\nports = [\"80\"]", "6:10: bad address `80`", "127.0.0.1:18789"),
        ("[agent.main.publish]\nports = [\"127.0.0.1:0\"]", "6:10: bad address `127.0.0.1:0`", "127.0.0.1:18789"),
        ("[agent.main.publish]\nports = [\"0.0.0.0:80\"]\nexposed = \" \"", "7:11: `exposed` gives no reason", "why"),
        ("[agent.main.limits]\nmemory = \"2GB\"", "6:10: bad size `2GB`", "2GiB"),
        ("[agent.main.limits]\nmemory = 2", "6:10: `memory` must be a string", "memory"),
        ("[agent.main.limits]\nprocesses = 0", "6:13: bad limit `0`", "256"),
        ("[agent.main.limits]\nprocesses = -1", "6:13: bad number `-1`", "positive"),
        ("[agent.main.limits]\ntime = \"10\"", "6:8: bad time `10`: no unit", "10m"),
        ("[agent.main.dlp]\nout = \"drop\"", "6:7: `out` cannot be `drop`", "redact"),
        ("[agent.main.action.x]\nrun = [\"a\"]", "5:20: a builder has no actions", "operator"),
        ("[alert]\ncommand = []", "5:2: bad alert `[]`", "program"),
        ("[alert]", "5:2: an `[alert]` that tells nobody", "desktop"),
        ("[alert]\ndesktop = false", "5:2: an `[alert]` that tells nobody", "desktop"),
        ("[alert]\ndesktop = \"yes\"\ncommand = [\"x\"]", "6:11: `desktop` must be true or false", "= true"),
        ("[alert]\ncommand = [\"./x\"]", "6:12: bad program `./x`: not absolute", "absolute"),
        ("[alert]\ncommand = [\"~/work/x\"]", "6:12: bad program `~/work/x`: agent `main` can write it", "outside"),
        ("[alert]\ndesktop = true\nper_hour = 0", "7:12: bad limit `0`", "per_hour"),
        ("[alert]\ndesktop = true\nper_hour = 3\nburst = 4", "8:9: bad limit `4`: not between 1 and 3", "burst"),
        ("[alert.webhook]\nurl = \"http://example.org\"", "6:7: bad URL `http://example.org`: not encrypted", "https"),
        ("[alert.webhook]\nkey_file = \"/x\"", "5:8: [alert.webhook] has no `url`", "url_file"),
        ("[alert.webhook]\nurl = \"https://a.org\"\nurl_file = \"/x\"", "6:7: two URLs", "keep"),
        ("[alert.webhook]\nurl = \"https://a.org\"\nkey = \"x\"", "7:1: unknown key `key`", "key_file"),
        ("[alert.ntfy]\ntopic = \"a/b\"", "6:9: bad topic `a/b`", "guesses"),
        (
            "[alert.ntfy]\ntopic = \"a\"\nurl = \"https://a.org/?x\"",
            "7:7: bad URL `https://a.org/?x`: a query",
            "https",
        ),
        (
            "[alert.ntfy]\ntopic = \"a\"\ntoken_file = \"~/work/t\"",
            "7:14: bad path `~/work/t`: agent `main` can read it",
            "outside",
        ),
        ("[alert.ntfy]\ntopic = \"a\"\ntoken_file = \"t\"", "7:14: bad path `t`: not absolute", "absolute"),
        (
            "[alert.ntfy]\ntopic = \"a\"\ntoken_file = \"/t\"\ntoken_secret = \"T\"",
            "8:16: `token` is named twice",
            "keep",
        ),
        ("[alert.telegram]\nchat = \"1\"", "5:8: [alert.telegram] has no `token_file`", "0600"),
        ("[alert.telegram]\nchat = \"1/x\"\ntoken_secret = \"T\"", "6:8: bad chat `1/x`", "chat ="),
        ("[alert.telegram]\nchat = \"1\"\ntoken_secret = \"../T\"", "7:16: bad name `../T`", "vault"),
        ("[alert.email]\nfrom = \"a@b.org\"\nto = [\"c@d.org\"]", "5:8: [alert.email] has neither", "sendmail"),
        ("[alert.email]\nfrom = \"a@b.org\"\nto = []\nsendmail = \"/s\"", "5:8: bad to `0 addresses`", "to ="),
        (
            "[alert.email]\nfrom = \"a@b.org\"\nto = [\"-x@d.org\"]\nsendmail = \"/s\"",
            "7:7: bad address `-x@d.org`",
            "alone",
        ),
        (
            "[alert.email]\nfrom = \"a@b.org\"\nto = [\"c@d.org\"]\nserver = \"smtp://d.org\"",
            "8:10: bad server `smtp://d.org`: not encrypted",
            "smtps",
        ),
        (
            "[alert.email]\nfrom = \"a@b.org\"\nto = [\"c@d.org\"]\nserver = \"smtps://d.org\"\nuser = \"u\"",
            "5:8: a user without a password",
            "both",
        ),
        ("[credential.X]\nfrom = \"env\"\nuse = \"x\"", "6:8: `from` cannot be `env`", "vault"),
        ("[handoff.x]\nfrom = \"main\"\nto = \"nobody\"", "7:6: `to` cannot be `nobody`", "agent"),
        ("[watch]\nfiles = [\"x\"]", "6:10: bad path `x`: not absolute", "absolute"),
        ("[watch]\nthen = \"shrug\"", "6:8: bad word `shrug`: not known here", "report, lock, halt"),
        ("[watch]\ntries = 0", "6:9: bad number of tries `0`: not of 1 to 1000", "20"),
        ("[ledger]\nsync = \"sometimes\"", "6:8: bad word `sometimes`: not known here", "written, durable"),
        ("[ledger]\nsegment = \"1KiB\"", "5:2: a segment holds 1MiB at least, and all of them two segments", "16MiB"),
        ("[ledger]\nanchor = [\"/mnt/head\"]", "6:11: bad anchor `/mnt/head`: it says not what is there", "file:/"),
        (
            "[ledger]\nanchor = [\"git:~/work/audit\"]",
            "5:2: agent `main` can write where a head is kept: /home/ann/work/audit",
            "no agent",
        ),
        ("[ledger]\nanchor = [\"file:head\"]", "6:11: bad anchor `file:head`: not absolute", "git:/"),
    ] {
        let (found, fix) = error(&with(section));
        assert!(found.starts_with(place), "{section}\n wanted {place}\n found  {found}");
        assert!(fix.contains(hint), "{section}: {fix}");
    }
}

#[test]
fn a_workspace_too_wide_or_not_there_is_refused() {
    for (workspace, why) in [
        ("/", "is `/`"),
        ("~", "is your home"),
        ("~/", "is your home"),
        ("/home/ann/.", "is your home"),
        ("/home/ann/trap", "is your home"),
        ("/home", "is `/home`"),
        ("/home/bob", "is a user's own"),
        ("/usr", "belongs to the whole system"),
        ("/usr/share/doc", "lies in `/usr/share`"),
        ("/etc", "lies in `/etc`"),
        ("/etc/x", "lies in `/etc`"),
        ("/tmp", "belongs"),
        ("/var", "belongs"),
        ("/root", "belongs"),
        ("/proc", "lies in"),
        ("/run", "belongs"),
        ("~/.openclaw", "contains `/home/ann/.openclaw`"),
        ("~/.config", "contains `/home/ann/.config/opencode`"),
        ("~/.openclaw/credentials/ws", "overlaps"),
        ("~/nowhere", "does not exist"),
        ("~/file", "is not a directory"),
    ] {
        let (found, _) = error(&format!("version = 1\n[agent.main]\nrole = \"builder\"\nworkspace = \"{workspace}\""));
        assert!(found.starts_with("4:13: workspace `") && found.contains(why), "{workspace}: {found}");
    }
}

#[test]
fn a_file_without_version_or_of_another_one_is_refused() {
    assert_eq!(error("").0, "1:1: the file has no `version`");
    assert_eq!(error("version = 2").0, "1:11: `version` cannot be `2`");
    assert!(error("version = 1\nversion = 1").0.starts_with("2:1: not valid TOML: duplicate key"));
}

#[test]
fn several_mistakes_are_reported_in_one_run() {
    let errors = read("version = 1\nx = 1\n[agent.\"a b\"]\nrole = \"king\"\nworkspace = 3\n[agent.c]\n").unwrap_err();
    let lines: Vec<usize> = errors.errors().iter().map(|e| e.line).collect();
    assert_eq!(lines, [2, 3, 4, 5, 6, 6], "{errors}");
    assert!(read("a = \nb = \n").unwrap_err().errors().len() >= 2);
}

#[test]
fn a_rule_inside_the_workspace_may_name_what_is_protected() {
    let policy = read(&with("[agent.main.files]\nwrite = [\".envrc\", \".git/config\", \"app/[id]\"]")).unwrap();
    let write = policy.agents()[0].files().write();
    assert_eq!(write[1].path(), Some(Path::new("/home/ann/work/.git/config")));
    assert_eq!(write[1].origin(), &Origin::Line(6));
}

#[test]
fn scout_and_public_write_only_what_their_role_names() {
    let text = "version = 1\n[agent.s]\nrole = \"scout\"\nworkspace = \"~/work\"\n[agent.p]\nrole = \"public\"\nworkspace = \"~/work\"";
    let policy = read(text).unwrap();
    let written = |name: &str| -> Vec<String> {
        policy.agent(name).unwrap().files().write().iter().map(|rule| rule.pattern().to_owned()).collect()
    };
    assert_eq!(written("s"), ["outbox"]);
    assert_eq!(written("p"), ["SOUL.md", "IDENTITY.md", "USER.md", "MEMORY.md", "HEARTBEAT.md", "memory"]);
    assert_eq!(policy.agent("s").unwrap().exec(), Exec::Refused);
    assert_eq!(policy.agent("s").unwrap().egress().web(), Web::Read);
    assert_eq!(policy.agent("p").unwrap().dlp().outward, DlpMode::Block);
    let wide = text.replacen("[agent.p]", "[agent.s.files]\nwrite = [\"~/other\"]\n[agent.p]", 1);
    assert!(error(&wide).0.contains("a scout writes nothing there"));
}

#[test]
fn a_home_with_wildcards_in_its_name_stays_a_name() {
    let mut host = Fake::new();
    host.home = "/home/ann[1]".into();
    let text = with("[agent.main.files]\ndeny = [\"~/x/y.pem\"]").replace("~/work", "/home/ann/work");
    let policy = parse(&text, Path::new("p"), &host).unwrap();
    assert_eq!(policy.agents()[0].files().deny()[0].pattern(), "/home/ann[[]1[]]/x/y.pem");
}

/// The patterns under which a `deny` rule holds.
fn held(rule: &str) -> Result<Vec<String>, String> {
    let text = with(&format!("[agent.main.files]\ndeny = [{rule:?}]"));
    let policy = read(&text).map_err(|errors| errors.errors()[0].fault.to_string())?;
    Ok(policy.agents()[0].files().deny().iter().map(|rule| rule.pattern().to_owned()).collect())
}

#[test]
fn a_rule_holds_under_the_name_that_the_walk_meets() {
    for (rule, wanted) in [
        ("a/b", "a/b"),
        ("./a/b", "a/b"),
        ("a/b/", "a/b"),
        ("~/work/a", "a"),
        ("/home/ann/work/a", "a"),
        ("~/link/a", "a"),
        ("/home/ann/link/a/**/b", "a/**/b"),
        ("~/work/**/b", "**/b"),
        ("./**/b", "**/b"),
        ("**/b", "**/b"),
        ("*.pem", "*.pem"),
        ("/usr/bin/ssh", "/usr/bin/ssh"),
        ("~/other/x", "/home/ann/other/x"),
    ] {
        assert_eq!(held(rule), Ok(vec![wanted.to_owned()]), "{rule}");
    }
}

#[test]
fn a_rule_that_no_path_can_match_is_refused() {
    for rule in
        ["a//b", "a/./b", ".//a", "**//b", "a/./*", "//home/ann/work/a", "/**/b", "/home/**/b", "~/other/*", "~bob/*"]
    {
        assert!(held(rule).is_err(), "{rule}");
    }
    for rule in ["/", "~", ".", "./", "~/work", "~/link", "/home"] {
        assert!(held(rule).is_err_and(|why| why.contains("the workspace itself, or contains it")), "{rule}");
    }
}

#[test]
fn a_long_file_is_read_in_linear_time_and_shows_its_first_errors() {
    let wrong: String = (0..20_000).map(|n| format!("k{n} = 1\n")).collect();
    let rules: Vec<String> = (0..20_000).map(|n| format!("\"d/x{n}*\"")).collect();
    let began = std::time::Instant::now();
    let errors = read(&format!("version = 1\n{wrong}")).unwrap_err();
    assert_eq!((errors.errors().len(), errors.errors()[19].line), (20, 21));
    assert!(errors.to_string().ends_with("and 19980 more errors"));
    let deep = format!("version = 1\nx = {}", "[".repeat(100_000));
    assert!(read(&deep).unwrap_err().to_string().lines().count() <= 41);
    let many = with(&format!("[agent.main.files]\ndeny = [\n{}\n]", rules.join(",\n")));
    let policy = read(&many).unwrap();
    assert_eq!(*policy.agents()[0].files().deny()[19_999].origin(), Origin::Line(20_006));
    // Counting lines from the top for each took minutes.
    assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
}

#[test]
fn escapes_in_a_file_never_reach_a_terminal() {
    let errors = read("version = 1\n\"\\u001b[31mx\" = 1").unwrap_err().to_string();
    assert!(!errors.contains('\u{1b}'), "{errors}");
}

#[test]
fn a_damaged_file_is_an_error_with_a_place_and_never_a_panic() {
    for at in 0..SKETCH.len() {
        let cut = &SKETCH[..at];
        let without = format!("{cut}{}", &SKETCH[at + 1..]);
        let doubled = format!("{cut}{}", &SKETCH[at - at.min(1)..]);
        let noise = format!("{cut}\u{7f}\u{202e}ä\"{}", &SKETCH[at..]);
        for text in [cut, &without, &doubled, &noise] {
            for error in read(text).err().iter().flat_map(PolicyErrors::errors) {
                assert!(error.line > 0 && error.column > 0 && !error.hint.is_empty());
                assert!(!error.fault.to_string().contains('\u{202e}'));
            }
        }
    }
}

#[test]
fn the_way_out_is_read_whole() {
    let policy = read(&with(
        r#"
[agent.main.egress]
allow = ["api.example.org:80", "*.example.net", "db.example.org:5432"]
wide = ["*.github.io"]
ports = { 8443 = "tls", 5432 = "tcp" }
[[agent.main.egress.local]]
name = "Ollama.host"
to = "127.0.0.1:11434"
[[agent.main.egress.http]]
host = "api.example.org:80"
methods = ["GET"]
paths = ["/v1/*", "/health"]
[[agent.main.egress.budget]]
host = "*.example.net"
upload = "20MiB"
names = 10
[[agent.main.egress.budget]]
requests = 1000
"#,
    ))
    .unwrap();
    let egress = policy.agents()[0].egress();
    assert_eq!(egress.wide(), ["*.github.io:443"]);
    assert_eq!(egress.local()[0].name, "ollama.host");
    assert_eq!((egress.protocol(8443), egress.protocol(443), egress.protocol(22)), {
        (Protocol::Tls, Protocol::Tls, Protocol::Tcp)
    });
    assert_eq!(egress.http()[0].paths, ["/v1/*", "/health"]);
    assert_eq!((egress.budgets()[0].upload, egress.budgets()[1].requests), (Some(20 << 20), Some(1000)));
    let said: Vec<String> = explain(&policy, None).iter().map(ToString::to_string).collect();
    for wanted in [
        "It may reach db.example.org:5432, unseen inside. (line 7)",
        "Under the name ollama.host it may reach 127.0.0.1:11434. (line 10)",
        "Of api.example.org:80 it may ask only GET of /v1/*, /health. (line 13)",
        "In one run, *.example.net: at most 20MiB out, 10 different names. (line 17)",
        "In one run, all hosts together: at most 1000 requests. (line 21)",
    ] {
        assert!(said.iter().any(|line| line == wanted), "{wanted}\n{said:#?}");
    }
}

#[test]
fn each_part_of_the_way_out_is_refused_at_its_place() {
    let local = |to: &str| format!("[[agent.main.egress.local]]\nname = \"a.host\"\nto = \"{to}\"");
    let http = |host: &str, path: &str| {
        format!(
            "[agent.main.egress]\nallow = [\"a.org:80\", \"b.org\"]\n[[agent.main.egress.http]]\nhost = \"{host}\"\nmethods = [\"GET\"]\npaths = [\"{path}\"]"
        )
    };
    for (section, wanted) in [
        (local("169.254.169.254:80"), "7:6: bad address `169.254.169.254:80`: a cloud's metadata"),
        (local("10.0.0.0/8"), "7:6: bad address `10.0.0.0/8`: a range"),
        (local("[::ffff:127.0.0.1]:80"), "7:6: bad address"),
        (local("127.0.0.1:0"), "7:6: bad address `127.0.0.1:0`: port 0"),
        (local("localhost:80"), "7:6: bad address `localhost:80`: not an IP address"),
        (http("c.org:80", "/"), "8:8: `c.org:80` is not allowed"),
        (http("b.org:443", "/"), "8:8: methods and paths of `b.org:443` cannot be seen"),
        (http("a.org:80", "/a/../b"), "10:10: bad path"),
        (http("a.org:80", "/%61"), "10:10: bad path"),
        (http("a.org:80", "/a*"), "10:10: bad path"),
        (http("a.org:80", "x"), "10:10: bad path"),
        ("[[agent.main.egress.budget]]\nhost = \"a.org\"".into(), "5:1: a budget that limits nothing"),
        ("[agent.main.egress]\nports = { 0 = \"tls\" }".into(), "6:11: bad port `0`"),
        ("[agent.main.egress]\nports = { 80 = \"udp\" }".into(), "6:16: `ports` cannot be `udp`"),
        ("[agent.main.egress]\nallow = [\"*.github.io\"]".into(), "6:10: bad host `*.github.io:443`: strangers"),
        ("[agent.main.egress]\nallow = [\"10.0.0.1:80\"]".into(), "6:10: bad host `10.0.0.1:80`: an address"),
        ("[agent.main.egress]\nlocal = \"x\"".into(), "6:9: `local` must be a list of sections"),
    ] {
        let wanted = wanted.replace(":443`: strangers", "`: strangers");
        let (found, hint) = error(&with(&section));
        assert!(found.starts_with(&wanted), "{found}\n{wanted}");
        assert!(!hint.is_empty());
    }
    let twice =
        format!("[agent.main.egress]\nallow = [\"*.host:80\"]\n{}", local("127.0.0.1:80").replace("a.host", "b.host"));
    assert!(read(&with(&twice)).is_err(), "a wildcard over a single label");
}

#[test]
fn every_part_of_the_way_out_is_in_the_hash() {
    let hash = |section: &str| read(&with(section)).unwrap().hash().to_owned();
    let base = "[agent.main.egress]\nallow = [\"a.org:80\"]\n";
    let all: Vec<String> = [
        "",
        "wide = [\"*.github.io\"]",
        "web = \"read\"",
        "ports = { 81 = \"http\" }",
        "ports = { 81 = \"tls\" }",
        "local = [{ name = \"a.host\", to = \"127.0.0.1:1\" }]",
        "local = [{ name = \"a.host\", to = \"127.0.0.1:2\" }]",
        "http = [{ host = \"a.org:80\", methods = [\"GET\"], paths = [\"/\"] }]",
        "http = [{ host = \"a.org:80\", methods = [\"GET\"], paths = [\"/a\"] }]",
        "budget = [{ upload = \"1MiB\" }]",
        "budget = [{ download = \"1MiB\" }]",
        "budget = [{ requests = 1 }]",
        "budget = [{ names = 1 }]",
        "budget = [{ host = \"a.org\", names = 1 }]",
    ]
    .iter()
    .map(|line| hash(&format!("{base}{line}")))
    .collect();
    for (index, one) in all.iter().enumerate() {
        assert!(!all[index + 1..].contains(one), "{index}");
    }
}

#[test]
fn each_channel_of_alerts_is_hashed_and_explained() {
    let base = "version = 1\n[alert]\ncommand = [\"~/bin/tell\"]\n";
    let hash = |text: &str| read(text).unwrap().hash().to_owned();
    let mut seen = vec![hash(base)];
    assert_eq!(hash(&format!("{base}per_hour = 20\nburst = 5\n")), seen[0]);
    for (more, says) in [
        ("desktop = true", "on the desktop"),
        ("per_hour = 19", "at most 19 come in an hour and 5 in a minute"),
        ("burst = 2", "at most 20 come in an hour and 2 in a minute"),
        ("[alert.webhook]\nurl = \"https://a.org/x\"", "by JSON to https://a.org/x."),
        ("[alert.webhook]\nurl = \"https://a.org/x\"\nkey_file = \"~/k\"", "https://a.org/x, signed."),
        ("[alert.webhook]\nurl_file = \"~/u\"", "by JSON to the URL in file /home/ann/u."),
        ("[alert.webhook]\nurl_secret = \"U\"", "by JSON to the URL in vault U."),
        ("[alert.ntfy]\ntopic = \"mine\"", "through the topic mine of https://ntfy.sh."),
        ("[alert.ntfy]\ntopic = \"mine\"\nurl = \"http://127.0.0.1:80/\"", "mine of http://127.0.0.1:80."),
        ("[alert.ntfy]\ntopic = \"mine\"\ntoken_secret = \"T\"", "through the topic mine"),
        (
            "[alert.telegram]\nchat = \"-100\"\ntoken_file = \"/etc/t\"",
            "in the chat -100 through https://api.telegram.org.",
        ),
        ("[alert.telegram]\nchat = \"@mine\"\ntoken_file = \"/etc/t\"", "in the chat @mine through"),
        (
            "[alert.email]\nfrom = \"a@b.org\"\nto = [\"c@d.org\"]\nsendmail = \"/usr/sbin/sendmail\"",
            "by e-mail to c@d.org through /usr/sbin/sendmail.",
        ),
        (
            "[alert.email]\nfrom = \"a@b.org\"\nto = [\"c@d.org\"]\nserver = \"smtps://m.org\"",
            "through smtps://m.org:465.",
        ),
        (
            "[alert.email]\nfrom = \"a@b.org\"\nto = [\"c@d.org\"]\nserver = \"starttls://m.org\"\nuser = \"u\"\npassword_file = \"/etc/p\"",
            "through starttls://m.org:587.",
        ),
    ] {
        let text = format!("{base}{more}\n");
        let policy = read(&text).unwrap();
        let said: Vec<String> = explain(&policy, None).iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|line| line.contains(says)), "{more}\n{said:#?}");
        assert!(said.iter().any(|line| line.contains("through `/home/ann/bin/tell`")), "{said:#?}");
        assert!(!seen.contains(&policy.hash().to_owned()), "{more}");
        seen.push(policy.hash().to_owned());
    }
}

#[test]
fn how_the_evidence_is_kept_is_read_whole_and_in_the_hash() {
    let base = "version = 1\n[agent.main]\nrole = \"builder\"\nworkspace = \"~/work\"\n";
    let text = format!(
        "{base}[ledger]\nsync = \"durable\"\nfull = \"run\"\nsegment = \"2MiB\"\nage = \"24h\"\nkeep = \"8MiB\"\n\
         anchor = [\"file:/mnt/disk/heads\", \"git:~/audit\"]\nanchor_command = [\"logger\", \"-t\", \"mantlet\"]\n\
         [watch]\nbootstrap = true\nmemory = true\nsystem = true\nrescan = \"1h\"\ntries = 5\nthen = \"halt\"\n"
    );
    let policy = read(&text).unwrap();
    let ledger = policy.ledger().unwrap();
    assert!(ledger.is_durable && ledger.runs_when_full);
    assert_eq!((ledger.segment, ledger.keep, ledger.age.as_secs()), (2 << 20, 8 << 20, 86_400));
    let anchors = [crate::Anchor::File("/mnt/disk/heads".into()), crate::Anchor::Git("/home/ann/audit".into())];
    assert_eq!(ledger.anchors, anchors);
    assert_eq!(ledger.anchor_command, ["logger", "-t", "mantlet"]);
    let watch = policy.watch().unwrap();
    assert!(watch.has_bootstrap && watch.has_memory && watch.has_system && watch.files.is_empty());
    assert_eq!((watch.rescan.as_secs(), watch.tries, watch.then), (3600, 5, crate::Then::Halt));
    for (from, to) in [
        ("durable", "written"),
        ("\"run\"", "\"refuse\""),
        ("2MiB", "3MiB"),
        ("24h", "25h"),
        ("8MiB", "9MiB"),
        ("/mnt/disk", "/mnt/disc"),
        ("git:~", "file:~"),
        ("logger", "lodger"),
        ("bootstrap = true", "bootstrap = false"),
        ("memory = true", "memory = false"),
        ("system = true", "system = false"),
        ("\"1h\"", "\"2h\""),
        ("tries = 5", "tries = 6"),
        ("halt", "lock"),
    ] {
        assert_ne!(read(&text.replacen(from, to, 1)).unwrap().hash(), policy.hash(), "{from}");
    }
    assert_eq!(read(&format!("{base}[watch]\n")).unwrap().hash(), read(base).unwrap().hash(), "as usual");
}

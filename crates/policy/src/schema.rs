//! The JSON Schema of the policy file, for editors. The parser stays the judge: a schema cannot say all it checks.

use serde_json::{Map, Value, json};

use crate::evidence::Then;
use crate::names::CLIENTS;
use crate::roles::PRESETS;

/// Returns the schema, draft 2020-12.
pub fn schema() -> Value {
    let mut root = table(
        "Mantlet's policy. What is absent is denied.",
        &[
            ("version", json!({"const": 1, "description": "The version of this format."})),
            ("agent", named("The agents, by name.", agent())),
            ("credential", named("Secrets by name, never by value. Not enforced yet.", credential())),
            ("handoff", named("Files passed from one agent to another. Not enforced yet.", handoff())),
            (
                "watch",
                table(
                    "What must not change. Needs `mantlet watch run`.",
                    &[
                        ("files", strings("Literal paths, beyond what is known of clients, shells and ssh.")),
                        (
                            "bootstrap",
                            flag(
                                "Whether AGENTS.md and settings at the top of workspaces are among it. Default: false.",
                            ),
                        ),
                        (
                            "system",
                            flag("Whether cron, profiles, units and sudoers of the machine are. Default: false."),
                        ),
                        ("memory", flag("Whether agents' own memory is among it. Default: false.")),
                        ("rescan", time("How often everything is read again. Default: 10m.")),
                        ("tries", count("How often something is undone within ten seconds. Default: 20.")),
                        ("then", one_of(Then::WORDS, "What follows then. Default: lock.")),
                    ],
                    &[],
                ),
            ),
            ("ledger", ledger()),
            ("alert", alert()),
        ],
        &["version"],
    );
    if let Some(root) = root.as_object_mut() {
        root.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        root.insert("title".into(), json!("mantlet.toml"));
    }
    root
}

fn table(description: &str, keys: &[(&str, Value)], required: &[&str]) -> Value {
    let properties: Map<String, Value> = keys.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    json!({
        "type": "object", "description": description, "properties": properties,
        "required": required, "additionalProperties": false,
    })
}

fn named(description: &str, each: Value) -> Value {
    json!({"type": "object", "description": description, "additionalProperties": each})
}

fn strings(description: &str) -> Value {
    json!({"type": "array", "items": {"type": "string", "minLength": 1}, "description": description})
}

fn argv() -> Value {
    json!({"type": "array", "items": {"type": "string"}, "minItems": 1, "description": "The program and its arguments."})
}

fn one_of(words: &[&str], description: &str) -> Value {
    json!({"enum": words, "description": description})
}

fn size(description: &str) -> Value {
    json!({"type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB|TiB)$", "description": description})
}

fn time(description: &str) -> Value {
    json!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$", "description": description})
}

fn flag(description: &str) -> Value {
    json!({"type": "boolean", "description": description})
}

fn count(description: &str) -> Value {
    json!({"type": "integer", "minimum": 1, "description": description})
}

fn ledger() -> Value {
    let anchors = json!({"type": "array", "items": {"type": "string", "pattern": "^(file|git):(/|~/)"}, "description": "Where the newest entry's hash is kept besides: `file:/path`, `git:/path`."});
    table(
        "How the evidence is kept.",
        &[
            (
                "sync",
                one_of(
                    &["written", "durable"],
                    "What an acknowledged entry survives: the end of every process, or a power cut. Default: written.",
                ),
            ),
            (
                "full",
                one_of(
                    &["refuse", "run"],
                    "What happens to commands where the disk has no room to tell of them. Default: refuse.",
                ),
            ),
            ("segment", size("From how many bytes on a file is rotated away. Default: 16MiB.")),
            ("age", time("After which time it is. Default: 720h.")),
            ("keep", size("How many bytes all of them may have; the oldest are dropped. Default: 1GiB.")),
            ("anchor", anchors),
            ("anchor_command", argv()),
        ],
        &[],
    )
}

fn agent() -> Value {
    let roles: Vec<&str> = PRESETS.iter().map(|preset| preset.word).collect();
    let accept = json!({"type": "array", "items": {"enum": ["deny", "unconfined"]}, "description": "Exceptions taken knowingly, for tier landlock: deny and protect rules that do not hold there; the host's network, not confined."});
    table(
        "One agent.",
        &[
            ("role", one_of(&roles, "The preset that the agent starts from.")),
            ("client", one_of(CLIENTS, "The program the agent runs in.")),
            (
                "workspace",
                json!({"type": "string", "pattern": "^(/|~/)", "description": "The directory the agent works in."}),
            ),
            ("tier", one_of(&["full", "landlock"], "The least this agent may run with. Default: full.")),
            ("accept", accept),
            ("files", files()),
            ("env", env()),
            ("egress", egress()),
            ("publish", publish()),
            ("limits", limits()),
            ("dlp", dlp()),
            (
                "tools",
                table(
                    "Tools beyond the client's known ones. Not enforced yet.",
                    &[("allow", strings("Names of tools."))],
                    &[],
                ),
            ),
            (
                "action",
                named("Commands outside the jail, after the owner's yes. Operators only. Not enforced yet.", action()),
            ),
        ],
        &["role", "workspace"],
    )
}

fn files() -> Value {
    table(
        "Files beyond the role's preset.",
        &[
            ("read", strings("Readable outside the workspace. Literal paths.")),
            (
                "write",
                strings(
                    "Writable beyond the preset; inside the workspace, exempt from built-in protections. Literal paths.",
                ),
            ),
            ("deny", strings("Absent, also when it appears later. Globs, relative to the workspace or absolute.")),
            ("protect", strings("Readable, not writable. Globs, relative to the workspace or absolute.")),
            (
                "review",
                one_of(
                    &["report", "quarantine", "fail"],
                    "What is done with files that other programs would execute. Default: quarantine.",
                ),
            ),
        ],
        &[],
    )
}

fn env() -> Value {
    let set = json!({"type": "object", "additionalProperties": {"type": "string"}, "description": "Names with their values."});
    let keys = [("pass", strings("Names whose values come from the caller.")), ("set", set)];
    table("The environment beyond HOME, USER, PATH, LANG, TERM and TZ.", &keys, &[])
}

fn egress() -> Value {
    let web = one_of(&["read", "none"], "Whether any public page may be read.");
    let ports = json!({
        "type": "object", "additionalProperties": {"enum": ["tls", "http", "tcp"]},
        "description": "How connections to a port are judged. Default: 443 tls, 80 http, others tcp.",
    });
    let local = table(
        "One address of this host or its network, under a name.",
        &[("name", text("The name inside the jail.")), ("to", text("address:port."))],
        &["name", "to"],
    );
    let http = table(
        "What may be asked of a host; a host named here is open for nothing else.",
        &[
            ("host", text("host:port, as in `allow`.")),
            ("methods", strings("Methods, in capitals.")),
            ("paths", strings("Exact paths, or `/below/*`.")),
        ],
        &["host", "methods", "paths"],
    );
    let number = json!({"type": "integer", "minimum": 0, "description": "A count for one run."});
    let budget = table(
        "How much may pass in one run: of a host, or of the agent.",
        &[
            ("host", text("A host or wildcard, without a port. Default: all of them together.")),
            ("upload", size("Bytes outwards.")),
            ("download", size("Bytes inwards.")),
            ("requests", number.clone()),
            ("names", number),
        ],
        &[],
    );
    table(
        "The way out: hosts by name, and nothing else.",
        &[
            ("allow", strings("host:port; 443 when no port is written.")),
            ("wide", strings("*.suffix:port, where strangers get names below the suffix.")),
            ("web", web),
            ("ports", ports),
            ("local", tables("Addresses with a name.", local)),
            ("http", tables("Methods and paths.", http)),
            ("budget", tables("Budgets.", budget)),
        ],
        &[],
    )
}

fn text(description: &str) -> Value {
    json!({"type": "string", "minLength": 1, "description": description})
}

fn tables(description: &str, each: Value) -> Value {
    json!({"type": "array", "items": each, "description": description})
}

fn publish() -> Value {
    let exposed =
        json!({"type": "string", "minLength": 1, "description": "Why an address wider than this machine is wanted."});
    table(
        "The way in to a whole agent: addresses of the host that lead to the same ports inside.",
        &[("ports", strings("address:port.")), ("exposed", exposed)],
        &[],
    )
}

fn limits() -> Value {
    table(
        "What one call may use up. No limit can be switched off.",
        &[
            ("memory", size("Memory of all processes together. Default: 2GiB.")),
            ("processes", count("Processes and threads at one time. Default: 256.")),
            ("time", time("Wall clock. Default: 10m.")),
            ("cpu", time("Processor time of all processes together. Default: 20m.")),
            ("open_files", count("Open files per process. Default: 1024.")),
            ("file_size", size("The largest file. Default: 4GiB.")),
            ("disk", size("Bytes written to the workspace. Default: 8GiB.")),
            ("disk_files", count("Files made in the workspace. Default: 500000.")),
            ("tmpfs", size("Private /tmp, home and /dev/shm. Default: 1GiB.")),
            ("output", size("Standard output and standard error. Default: 1GiB.")),
        ],
        &[],
    )
}

fn dlp() -> Value {
    let modes = ["block", "redact", "warn"];
    let keys = [("out", one_of(&modes, "On the way out.")), ("in", one_of(&modes, "On the way in."))];
    table("What is done with secrets on their way. Not enforced yet.", &keys, &[])
}

fn action() -> Value {
    table("One command, exact to the argument.", &[("run", argv())], &["run"])
}

fn credential() -> Value {
    let preset = json!({"type": "string", "description": "The preset of endpoints it may go to."});
    table("One secret.", &[("from", one_of(&["vault"], "The store that holds it.")), ("use", preset)], &["from", "use"])
}

fn handoff() -> Value {
    let side = |description: &str| json!({"type": "string", "description": description});
    table(
        "One direction.",
        &[("from", side("The agent that gives.")), ("to", side("The agent that takes."))],
        &["from", "to"],
    )
}

fn alert() -> Value {
    let path = |what: &str| json!({"type": "string", "pattern": "^(/|~/)", "description": format!("The file, mode 0600, whose only line is {what}.")});
    let vault = |what: &str| text(&format!("The vault's name of {what}."));
    let url = |what: &str| json!({"type": "string", "pattern": "^https?://", "description": what});
    let token = || [("token_file", path("the token")), ("token_secret", vault("the token"))];
    let webhook = table(
        "JSON to a server, signed after the Standard Webhooks specification.",
        &[
            ("url", url("Where to.")),
            ("url_file", path("the URL, where that is a secret")),
            ("url_secret", vault("the URL")),
            ("key_file", path("the key to sign with")),
            ("key_secret", vault("the key")),
        ],
        &[],
    );
    let ntfy = [("url", url("The server. Default: https://ntfy.sh.")), ("topic", text("The topic."))];
    let telegram = [
        ("url", url("The root of the Bot API. Default: https://api.telegram.org.")),
        ("chat", text("The chat's number.")),
    ];
    let email = table(
        "An e-mail.",
        &[
            ("from", text("The address that writes.")),
            ("to", strings("Who is told.")),
            ("server", text("smtps://host, or starttls://host:587.")),
            ("user", text("The user of the mailbox.")),
            ("password_file", path("the password")),
            ("password_secret", vault("the password")),
            ("sendmail", text("A program as sendmail(8), in place of a server.")),
        ],
        &["from", "to"],
    );
    table(
        "How the owner is told.",
        &[
            ("command", argv()),
            ("desktop", flag("A notification on the desktop.")),
            ("per_hour", count("Messages in one hour; what exceeds is summed up. Default: 20.")),
            ("burst", count("Messages in one minute. Default: 5.")),
            ("webhook", webhook),
            ("ntfy", table("A topic of an ntfy server.", &[&ntfy[..], &token()].concat(), &["topic"])),
            ("telegram", table("A bot of Telegram's.", &[&telegram[..], &token()].concat(), &["chat"])),
            ("email", email),
        ],
        &[],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file;
    use crate::tests::SKETCH;

    fn keys(schema: &Value) -> Vec<&str> {
        schema["properties"].as_object().unwrap().keys().map(String::as_str).collect()
    }

    fn sorted(keys: &[&'static str]) -> Vec<&'static str> {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn the_schema_has_exactly_the_keys_that_the_parser_reads() {
        let root = schema();
        let agent = &root["properties"]["agent"]["additionalProperties"];
        let part = |key: &str| &agent["properties"][key];
        for (schema, parser) in [
            (&root, file::ROOT),
            (agent, file::AGENT),
            (part("files"), file::FILES),
            (part("env"), file::ENV),
            (part("egress"), file::EGRESS),
            (&part("egress")["properties"]["local"]["items"], file::LOCAL),
            (&part("egress")["properties"]["http"]["items"], file::HTTP),
            (&part("egress")["properties"]["budget"]["items"], file::BUDGET),
            (part("publish"), file::PUBLISH),
            (part("limits"), file::LIMITS),
            (part("dlp"), file::DLP),
            (part("tools"), file::TOOLS),
            (&part("action")["additionalProperties"], file::ACTION),
            (&root["properties"]["credential"]["additionalProperties"], file::CREDENTIAL),
            (&root["properties"]["handoff"]["additionalProperties"], file::HANDOFF),
            (&root["properties"]["ledger"], file::LEDGER),
            (&root["properties"]["watch"], file::WATCH),
            (&root["properties"]["alert"], file::ALERT),
            (&root["properties"]["alert"]["properties"]["webhook"], file::WEBHOOK),
            (&root["properties"]["alert"]["properties"]["ntfy"], file::NTFY),
            (&root["properties"]["alert"]["properties"]["telegram"], file::TELEGRAM),
            (&root["properties"]["alert"]["properties"]["email"], file::EMAIL),
        ] {
            assert_eq!(keys(schema), sorted(parser));
        }
    }

    /// As much of the specification as this schema uses.
    fn is_valid(value: &Value, schema: &Value) -> bool {
        if let Some(constant) = schema.get("const") {
            return value == constant;
        }
        if let Some(words) = schema.get("enum") {
            return words.as_array().unwrap().contains(value);
        }
        match (schema["type"].as_str().unwrap(), value) {
            ("object", Value::Object(map)) => {
                let required = schema.get("required").map_or(&[][..], |keys| keys.as_array().unwrap());
                required.iter().all(|key| map.contains_key(key.as_str().unwrap()))
                    && map.iter().all(|(key, inner)| {
                        match (schema["properties"].get(key), &schema["additionalProperties"]) {
                            (Some(known), _) => is_valid(inner, known),
                            (None, Value::Bool(false)) => false,
                            (None, each) => is_valid(inner, each),
                        }
                    })
            }
            ("array", Value::Array(items)) => items.iter().all(|item| is_valid(item, &schema["items"])),
            ("string", Value::String(_)) | ("boolean", Value::Bool(_)) => true,
            ("integer", Value::Number(number)) => number.as_u64() >= schema["minimum"].as_u64(),
            _ => false,
        }
    }

    #[test]
    fn what_the_parser_takes_the_schema_takes_and_a_slip_fails_in_both() {
        for (from, to, is_good) in [
            ("", "", true),
            ("role ", "rolle ", false),
            ("\"builder\"", "\"king\"", false),
            ("256", "0", false),
            ("256", "\"256\"", false),
            ("version = 1", "version = 2", false),
            ("[watch]", "[wacth]", false),
            ("[\"notify-send\"]", "\"notify-send\"", false),
            ("[alert]", "[alert]\ndesktop = true", true),
            ("[alert]", "[alert]\ndesktop = 1", false),
            ("[alert]", "[alert]\nntfy = { topic = \"t\", token_file = \"/x\" }", true),
            ("[alert]", "[alert]\nntfy = { topic = \"t\", token = \"x\" }", false),
        ] {
            let text = SKETCH.replacen(from, to, usize::from(!from.is_empty()));
            let value: Value = toml::from_str(&text).unwrap();
            assert_eq!(is_valid(&value, &schema()), is_good, "{to}");
            assert_eq!(crate::tests::read(&text).is_ok(), is_good, "{to}");
        }
    }
}

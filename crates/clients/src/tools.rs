//! What each client's tools do with their arguments, and how a client turns an argument into a path.
//!
//! The tables are in one file per client. They were read off the released programs, and no client's tool that is not
//! in its table is a built-in that a room may let pass.

mod claude;
mod codex;
mod copilot;
mod cursor;
mod gemini;
mod openclaw;
mod opencode;

/// What a tool does with the thing an argument names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Act {
    /// Reads the content of a file.
    Read,
    /// Names what is in a directory.
    List,
    /// Reads every file below a directory.
    Search,
    /// Makes or changes a file.
    Write,
    /// Removes a file, or takes its name away.
    Delete,
    /// Runs the text as a command.
    Execute,
    /// Sends a request to the URL.
    Fetch,
}

/// How an argument holds what it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One string.
    One,
    /// One string; when it is absent, the current directory.
    OrCwd,
    /// One string that may be absent: nothing is touched then.
    Maybe,
    /// A list of strings, or one string.
    Each,
    /// A list of strings, or one string; when it is absent, the current directory.
    EachOrCwd,
    /// A list of objects, each of which may have this field. Absent: nothing is touched.
    EachField(&'static str),
    /// A glob that names paths, relative to each path of the argument of this name, or to the current directory.
    /// Absent: nothing more is touched than that argument says.
    Glob(&'static str),
    /// A text in which `@path` names a file that the client reads by itself. Absent: nothing is touched.
    Mentions,
    /// One of these, or absent: with anything else a call is not what its tool's line says.
    Only(&'static [&'static str]),
    /// A patch in the format of `apply_patch`: the paths are in its headers.
    Patch,
}

/// One argument of a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in the tool's input.
    pub name: &'static str,
    /// What is done with it.
    pub act: Act,
    /// How it is held.
    pub shape: Shape,
}

/// One built-in tool of a client. What it does besides its parameters is in `reach`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// The client's id.
    pub client: &'static str,
    /// The name that the client's hooks give.
    pub name: &'static str,
    /// How far it reaches.
    pub reach: Reach,
    /// The arguments that name something.
    pub parameters: &'static [Parameter],
}

/// How far a tool reaches, whatever its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Nothing outside the conversation: notes, plans, questions to the person.
    Conversation,
    /// The files its parameters name.
    Files,
    /// Runs commands: the text of its `Execute` parameter, starting in the directory of its `List` parameter. Without an
    /// `Execute` parameter it types into, or ends, a command that was asked about when it started.
    Commands,
    /// The network, or a service of the client's vendor.
    Network,
    /// Another agent of the same client, whose own calls are asked again.
    Agents,
    /// The client's own settings, schedule or host.
    Client,
}

/// How a client turns an argument into a path before it opens it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spelling {
    /// `~` and `~/x` mean the home directory.
    pub expands_tilde: bool,
    /// A leading `@` is dropped.
    pub strips_at: bool,
    /// `file://` URLs are decoded.
    pub decodes_file_urls: bool,
    /// Unicode spaces become plain ones.
    pub folds_spaces: bool,
    /// White space around the path is dropped.
    pub trims: bool,
    /// `%2e` becomes `.`, after the path was joined to the current directory; what it makes is resolved again.
    pub decodes_percent: bool,
}

const fn parameter(name: &'static str, act: Act, shape: Shape) -> Parameter {
    Parameter { name, act, shape }
}

const AS_IT_IS: Spelling = Spelling {
    expands_tilde: false,
    strips_at: false,
    decodes_file_urls: false,
    folds_spaces: false,
    trims: false,
    decodes_percent: false,
};

/// A client's tools, and how it spells paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Client {
    id: &'static str,
    tools: &'static [Tool],
    spelling: Spelling,
}

/// Read in the released programs: the lists that they send to a model, and the code that opens their files. What is
/// not known of a client counts as what would reach further: a `~` that it may or may not expand is expanded.
const CLIENTS: &[Client] = &[
    Client { id: "claude", tools: claude::TOOLS, spelling: Spelling { expands_tilde: true, trims: true, ..AS_IT_IS } },
    Client { id: "codex", tools: codex::TOOLS, spelling: AS_IT_IS },
    Client {
        id: "gemini",
        tools: gemini::TOOLS,
        spelling: Spelling { strips_at: true, decodes_percent: true, ..AS_IT_IS },
    },
    Client { id: "copilot", tools: copilot::TOOLS, spelling: Spelling { expands_tilde: true, ..AS_IT_IS } },
    Client { id: "cursor", tools: cursor::TOOLS, spelling: Spelling { expands_tilde: true, ..AS_IT_IS } },
    Client { id: "opencode", tools: opencode::TOOLS, spelling: AS_IT_IS },
    Client {
        id: "openclaw",
        tools: openclaw::TOOLS,
        spelling: Spelling {
            expands_tilde: true,
            strips_at: true,
            decodes_file_urls: true,
            folds_spaces: true,
            ..AS_IT_IS
        },
    },
];

/// The ids of the clients that are known.
pub fn client_ids() -> impl Iterator<Item = &'static str> {
    CLIENTS.iter().map(|client| client.id)
}

/// Returns the built-in tools of a client; none for a client that is not known.
#[must_use]
pub fn tools(client: &str) -> &'static [Tool] {
    CLIENTS.iter().find(|known| known.id == client).map_or(&[], |known| known.tools)
}

/// Returns one built-in tool by the exact name that the client's hooks give.
#[must_use]
pub fn find_tool(client: &str, name: &str) -> Option<&'static Tool> {
    tools(client).iter().find(|tool| tool.name == name)
}

/// Returns how a client turns an argument into a path.
#[must_use]
pub fn spelling(client: &str) -> Option<Spelling> {
    CLIENTS.iter().find(|known| known.id == client).map(|known| known.spelling)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_has_its_lines() {
        let counts: Vec<(&str, usize)> = client_ids().map(|id| (id, tools(id).len())).collect();
        let wanted = [
            ("claude", 61),
            ("codex", 22),
            ("gemini", 31),
            ("copilot", 26),
            ("cursor", 6),
            ("opencode", 22),
            ("openclaw", 65),
        ];
        assert_eq!(counts, wanted);
        assert!(tools("nobody").is_empty() && spelling("nobody").is_none());
        assert!(crate::STATE_DIRS.iter().all(|state| client_ids().any(|id| id == state.client)));
    }

    #[test]
    fn every_line_is_whole_and_stands_once() {
        for client in CLIENTS {
            for (index, tool) in client.tools.iter().enumerate() {
                let is_name = |name: &str| {
                    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && name.len() < 40
                };
                assert!(is_name(tool.name), "{} {}", client.id, tool.name);
                assert_eq!(tool.client, client.id);
                assert!(client.tools[..index].iter().all(|other| other.name != tool.name), "{}", tool.name);
                assert!(tool.parameters.iter().all(|p| is_name(p.name)), "{}", tool.name);
                assert_eq!(find_tool(client.id, tool.name), Some(tool));
            }
        }
    }

    #[test]
    fn a_reach_has_the_parameters_that_it_means() {
        for tool in CLIENTS.iter().flat_map(|client| client.tools) {
            let acts: Vec<Act> = tool.parameters.iter().map(|p| p.act).collect();
            let fits = match tool.reach {
                Reach::Commands => tool.parameters.iter().all(|p| {
                    matches!(p.act, Act::Execute | Act::List) || (p.act, p.shape) == (Act::Fetch, Shape::Only(&[]))
                }),
                Reach::Files => !acts.is_empty() && !acts.iter().any(|act| matches!(act, Act::Execute | Act::Fetch)),
                Reach::Network => acts.iter().all(|act| matches!(act, Act::Fetch | Act::Read)),
                Reach::Agents => acts.iter().all(|act| *act == Act::Read),
                Reach::Conversation => tool.parameters.iter().all(|p| p.shape == Shape::Mentions),
                Reach::Client => acts.is_empty(),
            };
            assert!(fits, "{} {}: {acts:?}", tool.client, tool.name);
            assert!(acts.iter().filter(|act| **act == Act::Execute).count() <= 1, "{}", tool.name);
        }
    }

    #[test]
    fn a_glob_stands_on_a_parameter_of_its_tool() {
        for tool in CLIENTS.iter().flat_map(|client| client.tools) {
            for parameter in tool.parameters {
                if let Shape::Glob(base) = parameter.shape {
                    let found = tool.parameters.iter().find(|p| p.name == base);
                    assert!(found.is_some_and(|p| p.act == parameter.act), "{} {}", tool.client, tool.name);
                }
            }
        }
    }

    #[test]
    fn every_client_that_runs_commands_says_where_the_command_is() {
        for id in client_ids() {
            let runs = tools(id).iter().filter(|t| t.parameters.iter().any(|p| p.act == Act::Execute));
            assert!(runs.count() > 0, "{id}");
        }
        assert!(find_tool("claude", "bash").is_none() && find_tool("claude", "Bash ").is_none());
    }
}

//! What each client's tools do with their arguments, and how a client turns an argument into a path.

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
    /// A list of strings.
    Each,
    /// A list of objects, each with this field.
    EachField(&'static str),
    /// A glob that names paths, relative to the argument of this name, or to the current directory.
    Glob(&'static str),
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
    /// Runs commands.
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
}

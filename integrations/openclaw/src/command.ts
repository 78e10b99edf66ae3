// Translates what OpenClaw wants run into an argument list of `mantlet-run exec`. Pure: no I/O and
// no decisions. Everything goes as separate arguments; only a person's shell text meets a shell.

/** Where and as whom a command runs. */
export interface Place {
  /** Absolute path of mantlet-run. */
  readonly program: string;
  readonly agent: string;
  readonly workspace: string;
  /** What OpenClaw calls the conversation and the turn, for the ledger. */
  readonly session?: string | undefined;
  readonly run?: string | undefined;
}

export interface ShellCommand {
  readonly command: string;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly terminal: boolean;
}

/** One argument of execve holds at most 128 KiB (MAX_ARG_STRLEN); a UTF-16 unit is at most 3 bytes. */
const ARGUMENT_UNITS = 40_000;

/** Puts the pieces together in the same shell, which then sees neither them nor a changed IFS. */
const JOIN_PIECES = 'IFS=; eval "unset IFS; set --\n$*"';

/** The argument list for a command line of the agent. */
export function execArgv(place: Place, request: ShellCommand): string[] {
  const command = request.terminal ? inTerminal(request.command) : request.command;
  const env = Object.entries(request.terminal ? { TERM: "xterm-256color", ...request.env } : request.env);
  return [
    ...prefix(place, request.cwd),
    ...env.flatMap(([name, value]) => [`--env=${name}=${value}`]),
    ...(command.length <= ARGUMENT_UNITS ? ["-c", command] : ["--", "/bin/sh", "-c", JOIN_PIECES, "sh", ...pieces(command)]),
  ];
}

/** The argument list for a script of OpenClaw's own: its file bridge, its probes. */
export function scriptArgv(place: Place, script: string, args: readonly string[]): string[] {
  return [...prefix(place, place.workspace), "--", "/bin/sh", "-c", script, "openclaw-sandbox-fs", ...args];
}

/** The argument list for file operations; `words` say in the ledger what they are for. */
export function filesArgv(place: Place, access: "read" | "write", words: readonly string[]): string[] {
  const plain = words.map((word) => word.replaceAll("\0", " ").slice(0, ARGUMENT_UNITS));
  return [...prefix(place, place.workspace), "--files", access, ...(plain.length === 0 ? [] : ["--", ...plain])];
}

function prefix(place: Place, cwd: string): string[] {
  const labels = [["--session", place.session] as const, ["--run", place.run] as const];
  return [
    place.program,
    "exec",
    "--client=openclaw",
    `--agent=${place.agent}`,
    `--workspace=${place.workspace}`,
    `--cwd=${cwd}`,
    ...labels.flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value.replaceAll("\0", " ")}`])),
  ];
}

/** OpenClaw gives a sandbox pipes and leaves the terminal to the backend: script(1) opens it in the jail. */
function inTerminal(command: string): string {
  return `exec script -qefc ${quote(command)} /dev/null`;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function pieces(text: string): string[] {
  const parts: string[] = [];
  for (let start = 0; start < text.length; ) {
    let end = Math.min(start + ARGUMENT_UNITS, text.length);
    if (end < text.length && isHighSurrogate(text.charCodeAt(end - 1))) end -= 1;
    parts.push(text.slice(start, end));
    start = end;
  }
  return parts;
}

function isHighSurrogate(unit: number): boolean {
  return unit >= 0xd800 && unit <= 0xdbff;
}

// How each client is started offline on a scripted model, and what its tools are called.

import path from "node:path";
import type { Prepared, ToolCall } from "../model/model.ts";
import type { Cell, Command, Way } from "./cell.ts";

export interface Client {
  readonly name: string;
  exec(command: string): ToolCall;
  read(file: string): ToolCall;
  write(file: string, content: string): ToolCall;
  edit(file: string, before: string, after: string): ToolCall;
  /** Writes what the client needs in its home, and says how it is started on a prompt. */
  start(cell: Cell, script: Prepared, prompt?: string): Command;
  /** What the client calls the tool `look` of the MCP server `probe`, which `start` configures. */
  readonly look: ToolCall;
  /** Ways to a secret that the client has besides its shell and its MCP servers. */
  readonly ways: readonly Way[];
}

/** A client needs one, whatever it is; it is no planted secret. */
const MODEL_KEY = "sk-scripted-0123456789abcdef";

/** The MCP server that `start` configures: one that comes with the project. */
const SERVER = "./probe-server";

const program = (cell: Cell, client: string): string => path.join(cell.place.cache, client, "program");

const claude: Client = {
  name: "claude",
  look: { tool: "mcp__probe__look", args: {} },
  ways: ["tool", "denied", "prompt", "attached"],
  exec: (command) => ({ tool: "Bash", args: { command, description: "a command" } }),
  read: (file) => ({ tool: "Read", args: { file_path: file } }),
  write: (file, content) => ({ tool: "Write", args: { file_path: file, content } }),
  edit: (file, before, after) => ({ tool: "Edit", args: { file_path: file, old_string: before, new_string: after } }),
  start: (cell, script, prompt = script.message) => {
    cell.write(".claude.json", { mcpServers: { probe: { command: SERVER, args: [] } } });
    return {
      argv: [program(cell, "claude"), "--dangerously-skip-permissions", "--model", "scripted", "-p", prompt],
      env: {
        ANTHROPIC_BASE_URL: script.url,
        ANTHROPIC_API_KEY: MODEL_KEY,
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: "1",
        DISABLE_AUTOUPDATER: "1",
        // Claude refuses to skip permissions as root unless told that it is contained.
        IS_SANDBOX: "1",
      },
    };
  },
};

const patch = (change: string): ToolCall => ({ tool: "apply_patch", args: {}, text: `*** Begin Patch\n${change}\n*** End Patch\n` });

const codex: Client = {
  name: "codex",
  look: { namespace: "mcp__probe", tool: "look", args: {} },
  ways: ["denied", "typed"],
  exec: (command) => ({ tool: "exec_command", args: { cmd: command } }),
  read: (file) => ({ tool: "exec_command", args: { cmd: `cat '${file}'` } }),
  write: (file, content) => patch(`*** Add File: ${file}\n+${content.trimEnd()}`),
  edit: (file, before, after) => patch(`*** Update File: ${file}\n@@\n-${before}\n+${after}`),
  start: (cell, script, prompt = script.message) => {
    cell.write(
      ".codex/config.toml",
      [
        // A model that Codex knows, or it would not offer its tool for patches.
        'model = "gpt-5.5"',
        'model_provider = "scripted"',
        "[model_providers.scripted]",
        'name = "Scripted"',
        `base_url = "${script.url}/v1"`,
        'env_key = "OPENAI_API_KEY"',
        'wire_api = "responses"',
        "request_max_retries = 0",
        "stream_max_retries = 0",
        "[mcp_servers.probe]",
        `command = "${SERVER}"`,
        "",
      ].join("\n"),
    );
    return {
      argv: [program(cell, "codex"), "exec", "--dangerously-bypass-approvals-and-sandbox", prompt],
      env: { OPENAI_API_KEY: MODEL_KEY },
    };
  },
};

const gemini: Client = {
  name: "gemini",
  look: { tool: "mcp_probe_look", args: {} },
  ways: ["denied", "attached"],
  exec: (command) => ({ tool: "run_shell_command", args: { command, description: "a command" } }),
  read: (file) => ({ tool: "read_file", args: { file_path: file } }),
  write: (file, content) => ({ tool: "write_file", args: { file_path: file, content } }),
  edit: (file, before, after) => ({ tool: "replace", args: { file_path: file, old_string: before, new_string: after, instruction: "replace" } }),
  start: (cell, script, prompt = script.message) => {
    cell.write(".gemini/settings.json", {
      security: { auth: { selectedType: "gemini-api-key" }, folderTrust: { enabled: false } },
      general: { disableAutoUpdate: true },
      privacy: { usageStatisticsEnabled: false },
      mcpServers: { probe: { command: SERVER, trust: true } },
    });
    return {
      argv: [program(cell, "gemini"), "--yolo", "--model", "gemini-2.5-pro", "--prompt", prompt],
      env: { GEMINI_API_KEY: MODEL_KEY, GOOGLE_GEMINI_BASE_URL: script.url },
    };
  },
};

const opencode: Client = {
  name: "opencode",
  look: { tool: "probe_look", args: {} },
  ways: ["tool", "denied"],
  exec: (command) => ({ tool: "bash", args: { command, description: "a command" } }),
  read: (file) => ({ tool: "read", args: { filePath: file } }),
  write: (file, content) => ({ tool: "write", args: { filePath: file, content } }),
  edit: (file, before, after) => ({ tool: "edit", args: { filePath: file, oldString: before, newString: after } }),
  start: (cell, script, prompt = script.message) => {
    cell.write(".config/opencode/opencode.json", {
      model: "scripted/scripted",
      small_model: "scripted/scripted",
      autoupdate: false,
      share: "disabled",
      mcp: { probe: { type: "local", command: [SERVER] } },
      permission: { "*": "allow", external_directory: "allow" },
      provider: {
        scripted: {
          npm: "@ai-sdk/openai-compatible",
          name: "Scripted",
          options: { baseURL: `${script.url}/v1`, apiKey: MODEL_KEY },
          models: { scripted: { name: "Scripted", limit: { context: 400000, output: 4096 } } },
        },
      },
    });
    // As after a first start with a network: with a plugin OpenCode would wait here for npm to fetch this.
    const dependencies = { "@opencode-ai/plugin": "1.18.33" };
    cell.write(".config/opencode/package.json", { dependencies });
    cell.write(".config/opencode/package-lock.json", { packages: { "": { dependencies } } });
    cell.write(".config/opencode/node_modules/.keep", "");
    cell.write(".config/opencode/.gitignore", "node_modules\n");
    return { argv: [program(cell, "opencode"), "run", prompt], env: { OPENCODE_DISABLE_MODELS_FETCH: "1" } };
  },
};

const copilot: Client = {
  name: "copilot",
  look: { tool: "probe-look", args: {} },
  ways: ["tool", "denied"],
  exec: (command) => ({ tool: "bash", args: { command, description: "a command", mode: "sync", initial_wait: 20 } }),
  read: (file) => ({ tool: "view", args: { path: file } }),
  write: (file, content) => ({ tool: "create", args: { path: file, file_text: content } }),
  edit: (file, before, after) => ({ tool: "edit", args: { path: file, old_str: before, new_str: after } }),
  start: (cell, script, prompt = script.message) => {
    cell.write(".copilot/mcp-config.json", { mcpServers: { probe: { type: "local", command: SERVER, args: [], tools: ["*"] } } });
    return {
      argv: [program(cell, "copilot"), "--allow-all-tools", "--allow-all-paths", "--no-color", "-p", prompt],
      env: { COPILOT_OFFLINE: "true", COPILOT_PROVIDER_BASE_URL: `${script.url}/v1`, COPILOT_PROVIDER_API_KEY: MODEL_KEY, COPILOT_MODEL: "scripted" },
    };
  },
};

export const CLIENTS: readonly Client[] = [claude, codex, gemini, opencode, copilot];

// A throwaway home with a real OpenClaw state directory in it, canaries planted, and one-shot turns
// of the real OpenClaw against it.

import { spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";

/** How the turn's tools are run. */
export type Sandbox = "off" | "mantlet";

export interface Setup {
  readonly sandbox: Sandbox;
  /** The plugin's directory, or none. */
  readonly plugin: string | undefined;
  readonly mantletRun: string;
  readonly modelUrl: string;
  /** Settings beside these, by the section they belong to. */
  readonly more?: { readonly agents?: object; readonly tools?: object; readonly gateway?: object };
}

export interface Turn {
  readonly code: number | null;
  readonly output: string;
  readonly seconds: number;
}

export class Home {
  readonly directory: string;
  readonly openclaw: string;
  readonly canary: string;

  constructor(directory: string, openclaw: string, canary: string) {
    this.directory = directory;
    this.openclaw = openclaw;
    this.canary = canary;
    mkdirSync(this.state, { recursive: true, mode: 0o700 });
    mkdirSync(this.workspace, { recursive: true });
    mkdirSync(path.join(directory, ".ssh"), { mode: 0o700 });
    // A managed skill: OpenClaw names it to the model at a path inside the workspace.
    mkdirSync(path.join(this.state, "skills/managed"), { recursive: true });
    writeFileSync(path.join(this.state, "skills/managed/SKILL.md"), "---\nname: managed\ndescription: a managed skill\n---\nthe managed skill's text\n");
    writeFileSync(path.join(this.state, ".env"), `CANARY_DOTENV=${canary}-dotenv\n`, { mode: 0o600 });
    writeFileSync(path.join(directory, ".ssh/id_canary"), `${canary}-ssh\n`, { mode: 0o600 });
    writeFileSync(path.join(directory, "outside.txt"), `${canary}-outside\n`);
  }

  get state(): string {
    return path.join(this.directory, ".openclaw");
  }

  /** OpenClaw's own default: inside its state directory. */
  get workspace(): string {
    return path.join(this.state, "workspace");
  }

  configure(setup: Setup): void {
    const config = {
      gateway: { mode: "local", auth: { mode: "token", token: `${this.canary}-gateway` }, ...setup.more?.gateway },
      models: {
        providers: {
          scripted: {
            baseUrl: setup.modelUrl,
            apiKey: `${this.canary}-model-key`,
            api: "openai-completions",
            models: [{ id: "scripted", name: "Scripted", input: ["text"], contextWindow: 400_000, maxTokens: 4096, cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 } }],
          },
        },
      },
      agents: {
        defaults: {
          model: { primary: "scripted/scripted" },
          skipBootstrap: true,
          sandbox: setup.sandbox === "off" ? { mode: "off" } : { mode: "all", backend: "mantlet", workspaceAccess: "rw" },
          ...setup.more?.agents,
        },
      },
      tools: { toolSearch: false, ...setup.more?.tools },
      plugins:
        setup.plugin === undefined
          ? {}
          : { allow: ["mantlet"], load: { paths: [setup.plugin] }, entries: { mantlet: { enabled: true, config: { mantletRun: setup.mantletRun } } } },
    };
    writeFileSync(path.join(this.state, "openclaw.json"), JSON.stringify(config, null, 2), { mode: 0o600 });
  }

  /** One turn in a process of its own. */
  async turn(session: string, message: string): Promise<Turn> {
    return await this.run(["agent", "--local", "--session-id", session, "--message", message, "--json", "--timeout", "120"]);
  }

  /** Starts OpenClaw, with a secret in the environment that the tools inherit from; it is ended after so many seconds. */
  start(args: readonly string[], limit = 150): ChildProcess {
    return spawn(process.execPath, [this.openclaw, ...args], {
      cwd: this.directory,
      env: {
        HOME: this.directory,
        USER: "tester",
        PATH: "/usr/local/bin:/usr/bin:/bin",
        LANG: "C.UTF-8",
        SHELL: "/bin/bash",
        CANARY_ENVIRONMENT: `${this.canary}-environment`,
        NO_COLOR: "1",
      },
      stdio: ["ignore", "pipe", "pipe"],
      timeout: limit * 1000,
      killSignal: "SIGKILL",
    });
  }

  async run(args: readonly string[]): Promise<Turn> {
    const started = Date.now();
    const child = this.start(args);
    let output = "";
    child.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString("utf8")));
    child.stderr?.on("data", (chunk: Buffer) => (output += chunk.toString("utf8")));
    const code = await new Promise<number | null>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", resolve);
    });
    return { code, output, seconds: (Date.now() - started) / 1000 };
  }
}

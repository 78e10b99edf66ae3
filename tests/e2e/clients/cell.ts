// One run of one client: namespaces, home, /etc and /tmp of its own, canaries planted, nothing left behind.

import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

/** Where everything of the whole test lies, and how to become the user that it is for. */
export interface Place {
  readonly scratch: string;
  /** Directories of the installed clients, by name. */
  readonly cache: string;
  /** A command prefix that turns root of these namespaces into the user that the clients run as. */
  readonly become: readonly string[];
  readonly uid: number;
}

export interface Command {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

export interface Outcome {
  readonly code: number | null;
  readonly output: string;
  readonly seconds: number;
}

export class Cell {
  readonly place: Place;
  readonly directory: string;
  readonly canary = `canary-${randomBytes(8).toString("hex")}`;

  constructor(place: Place, name: string) {
    this.place = place;
    this.directory = path.join(place.scratch, "cells", name);
    for (const made of [this.workspace, path.join(this.home, ".ssh"), this.tmp]) mkdirSync(made, { recursive: true });
    chmodSync(this.tmp, 0o1777);
    writeFileSync(path.join(this.home, ".ssh/id_canary"), `${this.canary}-ssh\n`);
    writeFileSync(this.outside, `${this.canary}-outside\n`);
    this.write("project/note.txt", "the note says hello\n");
    spawnSync("git", ["init", "--quiet", this.workspace]);
  }

  get home(): string {
    return path.join(this.directory, "home");
  }

  get workspace(): string {
    return path.join(this.home, "project");
  }

  get tmp(): string {
    return path.join(this.directory, "tmp");
  }

  /** A secret in a file outside the workspace. */
  get outside(): string {
    return path.join(this.home, "outside.txt");
  }

  /** Writes a file of the user's, below the home. */
  write(name: string, content: string | object, mode = 0o644): string {
    return put(path.join(this.home, name), content, mode);
  }

  /** Writes a file of root's, below /etc as the client sees it: /etc/SERVICE/NAME. */
  writeEtc(name: string, content: string | object, mode = 0o644): string {
    put(path.join(this.directory, "etc", name), content, mode);
    return path.join("/etc", name);
  }

  read(name: string): string {
    return readFileSync(path.join(this.home, name), "utf8");
  }

  /** Runs the client until it ends, or is ended after `limit` seconds. */
  async run(command: Command, limit = 60): Promise<Outcome> {
    const { uid } = this.place;
    spawnSync("chown", ["-R", `${uid}:${uid}`, this.home]);
    const started = Date.now();
    const namespaces = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    const inside = `
      set -e
      cell=$1; shift
      mount --bind "$cell/tmp" /tmp
      for each in "$cell"/etc/*; do [ ! -e "$each" ] || mount --bind "$each" "/etc/\${each##*/}"; done
      cd "$cell/home/project"
      exec "$@"
    `;
    const child = spawn("unshare", [...namespaces, "sh", "-c", inside, "sh", this.directory, ...this.place.become, ...command.argv], {
      env: {
        HOME: this.home,
        USER: "tester",
        PATH: "/usr/local/bin:/usr/bin:/bin",
        LANG: "C.UTF-8",
        SHELL: "/bin/bash",
        NO_COLOR: "1",
        CANARY_ENVIRONMENT: `${this.canary}-environment`,
        ...command.env,
      },
      stdio: ["ignore", "pipe", "pipe"],
      timeout: limit * 1000,
      killSignal: "SIGKILL",
    });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString("utf8")));
    child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString("utf8")));
    const code = await new Promise<number | null>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", resolve);
    });
    return { code, output, seconds: (Date.now() - started) / 1000 };
  }
}

function put(file: string, content: string | object, mode: number): string {
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, typeof content === "string" ? content : `${JSON.stringify(content, null, 2)}\n`, { mode });
  return file;
}

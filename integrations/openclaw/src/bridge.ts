// OpenClaw's file bridge: read, write, edit, ls and apply_patch as operations in the jail. It behaves as the stock
// bridge does (test/bridge.test.ts compares them), but runs no shell and no python3, and one operation is one exchange.

import { realpathSync } from "node:fs";
import path from "node:path";
import type { DirectoryEntry, FsBridge, FsBridgeContext, MutationAction, PathRequest } from "openclaw/plugin-sdk/sandbox";
import type { Files } from "./files.ts";
import { FileError, type FileAnswer } from "./jail.ts";
import { Places, type SkillMount, type Target } from "./places.ts";

/** OpenClaw serialises changes of one file by this. */
const FILE_IDENTITY = Symbol.for("openclaw.sandboxFileIdentity");

const ACTIONS: Record<MutationAction, string> = {
  write: "write files",
  create: "create files",
  mkdir: "create directories",
  remove: "remove files",
  "copy-destination": "copy files",
};

export interface BridgeParts {
  readonly sandbox: FsBridgeContext;
  readonly files: Files;
  readonly skillMounts: (sandbox: FsBridgeContext) => readonly SkillMount[];
  /** Awaited before the first operation. */
  readonly ready: () => Promise<void>;
}

export function createBridge(parts: BridgeParts): FsBridge {
  return new JailBridge(parts);
}

type Pinned = { readonly pinnedPath?: string };
type Content = { readonly data: Buffer | string; readonly encoding?: BufferEncoding };

class JailBridge implements FsBridge {
  readonly #places: Places;
  readonly #files: Files;
  readonly #ready: () => Promise<void>;

  constructor(parts: BridgeParts) {
    this.#places = new Places(parts.sandbox, parts.skillMounts);
    this.#files = parts.files;
    this.#ready = parts.ready;
  }

  get pathMappings() {
    return this.#places.mappings();
  }

  resolvePath(request: PathRequest) {
    const { relativePath, containerPath } = this.#places.resolve(request);
    return { relativePath, containerPath };
  }

  async [FILE_IDENTITY](request: PathRequest): Promise<string> {
    const target = this.#places.resolve(request);
    const { told } = await this.#read("identify files", target, { op: "resolve", path: target.inside, follow: true }, request.signal);
    return pathOf(told);
  }

  async resolvePinnedMutationTarget(request: PathRequest & { readonly action: MutationAction }) {
    const target = this.#places.resolve(request);
    const action = ACTIONS[request.action];
    if (request.action !== "mkdir") entryOf(target);
    const { told } = await this.#read(action, target, { op: "resolve", path: target.inside, follow: request.action === "mkdir" }, request.signal);
    const pinnedPath = pathOf(told);
    return { policyPath: this.#places.shown(this.#root(), pinnedPath), pinnedPath };
  }

  async readFile(request: PathRequest & { readonly maxBytes?: number }): Promise<Buffer> {
    return (await this.readFileWithSource(request)).data;
  }

  async readFileWithSource(request: PathRequest & { readonly maxBytes?: number }) {
    const { maxBytes } = request;
    if (maxBytes !== undefined && (!Number.isSafeInteger(maxBytes) || maxBytes < 0)) {
      throw new RangeError("Sandbox file read limit must be a non-negative safe integer.");
    }
    const target = this.#places.resolve(request);
    const limit = maxBytes === undefined ? {} : { max: maxBytes };
    const { data, told } = await this.#read("read files", target, { op: "read", path: entryOf(target), ...limit }, request.signal).catch((error: unknown) => {
      if (error instanceof FileError && error.code === "EFBIG" && maxBytes !== undefined) throw new RangeError(`File exceeds ${maxBytes} bytes`);
      throw error;
    });
    const canonicalPath = pathOf(told);
    const shown = this.#places.shown(this.#root(), canonicalPath);
    const isWorkspace = !this.#places.isSkill(shown);
    return { data, canonicalPath, ...(isWorkspace ? { workspaceRelativePath: path.relative(this.#places.workspace, shown) } : {}) };
  }

  async readDirectory(request: PathRequest): Promise<DirectoryEntry[]> {
    const target = this.#places.resolve(request);
    const { data } = await this.#read("list directories", target, { op: "list", path: target.inside }, request.signal);
    const entries = JSON.parse(data.toString("utf8")) as DirectoryEntry[];
    return entries.map(({ name, isDirectory }) => ({ name, isDirectory }));
  }

  async stat(request: PathRequest) {
    const target = this.#places.resolve(request);
    const { told } = await this.#read("stat files", target, { op: "stat", path: target.inside, follow: true }, request.signal);
    // The jail writes null for what is not there.
    if (told === NOTHING) return null;
    const { type, size, mtimeMs } = told as { type: string; size: number; mtimeMs: number };
    return { type: type === "file" || type === "directory" ? type : ("other" as const), size, mtimeMs } as const;
  }

  async writeFile(request: PathRequest & Content & Pinned & { readonly mkdir?: boolean }): Promise<void> {
    const { target, place } = this.#destination(request, "write files");
    await this.#change("write files", target, { op: "write", ...place, mkdir: request.mkdir !== false }, request.signal, bytes(request));
  }

  async createFileExclusive(request: PathRequest & Content & Pinned & { readonly mkdir?: boolean }): Promise<"created" | "exists"> {
    const { target, place } = this.#destination(request, "create files");
    const { told } = await this.#change("create files", target, { op: "create", ...place, mkdir: request.mkdir !== false }, request.signal, bytes(request));
    return (told as { created: boolean }).created ? "created" : "exists";
  }

  async copyFile(request: { sourcePath: string; destinationPath: string; cwd?: string; mkdir?: boolean; pinnedPath?: string; signal?: AbortSignal }): Promise<void> {
    const source = this.#places.resolve({ filePath: request.sourcePath, cwd: request.cwd });
    const { target, place } = this.#destination({ ...request, filePath: request.destinationPath }, "copy files");
    const { path: to, ...rest } = place;
    await this.#change("copy files", target, { op: "copy", ...rest, path: entryOf(source), to, mkdir: request.mkdir !== false }, request.signal);
  }

  async mkdirp(request: PathRequest & Pinned): Promise<void> {
    const target = this.#writable(request, "create directories");
    if (target.inside === "") return;
    const pin = this.#pin(request.pinnedPath, "create directories", target);
    await this.#change("create directories", target, { op: "mkdir", path: pin ?? target.inside, pinned: pin !== undefined, readonly: this.#places.readonly() }, request.signal);
  }

  async remove(request: PathRequest & Pinned & { readonly recursive?: boolean; readonly force?: boolean }): Promise<void> {
    const { target, place } = this.#destination(request, "remove files");
    const how = { recursive: request.recursive ?? false, force: request.force !== false };
    await this.#change("remove files", target, { op: "remove", ...place, ...how }, request.signal);
  }

  async rename(request: { from: string; to: string; cwd?: string; signal?: AbortSignal }): Promise<void> {
    const from = this.#writable({ filePath: request.from, cwd: request.cwd }, "rename files");
    const to = this.#writable({ filePath: request.to, cwd: request.cwd }, "rename files");
    await this.#change("rename files", from, { op: "rename", path: entryOf(from), to: entryOf(to), readonly: this.#places.readonly() }, request.signal);
  }

  #root(): string {
    return realpathSync(this.#places.workspace);
  }

  #writable(request: { filePath: string; cwd?: string | undefined }, action: string): Target {
    const target = this.#places.resolve(request);
    if (!target.isWritable) throw new Error(`Sandbox path is read-only; cannot ${action}: ${target.containerPath}`);
    return target;
  }

  /** Where a change lands: the path itself, or the place that OpenClaw has resolved and allowed before. */
  #destination(request: { filePath: string; cwd?: string | undefined; pinnedPath?: string | undefined }, action: string) {
    const target = this.#writable(request, action);
    const entry = entryOf(target);
    const pin = this.#pin(request.pinnedPath, action, target);
    if (pin !== undefined && path.basename(pin) !== path.basename(entry)) {
      throw new Error(`Pinned sandbox destination does not match the requested path; cannot ${action}: ${target.containerPath}`);
    }
    return { target, place: { path: pin ?? entry, pinned: pin !== undefined, readonly: this.#places.readonly() } };
  }

  #pin(pinnedPath: string | undefined, action: string, target: Target): string | undefined {
    if (pinnedPath === undefined) return undefined;
    const inside = path.relative(this.#root(), path.resolve("/", pinnedPath));
    if (inside === ".." || inside.startsWith("../")) {
      throw new Error(`Sandbox path escapes allowed mounts; cannot ${action}: ${target.containerPath}`);
    }
    return inside;
  }

  async #read(action: string, target: Target, request: Parameters<Files["read"]>[0], signal: AbortSignal | undefined): Promise<FileAnswer> {
    await this.#ready();
    return await this.#files.read(request, signal).catch((error: unknown) => {
      throw explained(error, action, target);
    });
  }

  async #change(action: string, target: Target, request: Parameters<Files["change"]>[0], signal: AbortSignal | undefined, body?: Buffer): Promise<FileAnswer> {
    await this.#ready();
    return await this.#files.change(request, body, signal).catch((error: unknown) => {
      throw explained(error, action, target);
    });
  }
}

/** The jail's word for "there is nothing". */
const NOTHING = null;

function entryOf(target: Target): string {
  if (target.inside === "") throw new Error(`Invalid sandbox entry target: ${target.containerPath}`);
  return target.inside;
}

function pathOf(told: unknown): string {
  return (told as { path: string }).path;
}

function bytes(content: Content): Buffer {
  return Buffer.isBuffer(content.data) ? content.data : Buffer.from(content.data, content.encoding ?? "utf8");
}

/** OpenClaw's own words where it has some; the model and OpenClaw's tools know them. */
function explained(error: unknown, action: string, target: Target): unknown {
  if (!(error instanceof FileError)) return error;
  const { code } = error;
  const say = (text: string): FileError => new FileError(code, text);
  switch (code) {
    case "ENOENT":
      return say(`Sandbox file not found: ${target.containerPath}`);
    case "ESCAPE":
      return say(`Sandbox path escapes allowed mounts; cannot ${action}: ${target.containerPath}`);
    case "READONLY":
      return say(`Sandbox path is read-only; cannot ${action}: ${target.containerPath}`);
    case "HARDLINK":
      return say(`Hardlinked path is not allowed under sandbox mount root: ${target.containerPath}`);
    case "DENIED":
      return say(`mantlet: cannot ${action}: ${error.message}`);
    case "EBUSY":
    case "EROFS":
      return say(`mantlet: cannot ${action}: ${target.containerPath} is protected by the agent's policy, or the place is read-only`);
    default:
      return say(`Sandbox cannot ${action}: ${target.containerPath}: ${error.message} (${code})`);
  }
}

// The part of OpenClaw's plugin SDK that this plugin uses. OpenClaw ships no types for
// `plugin-sdk/sandbox`; these were written from what 2026.9.6 does with the values, not from a promise.

declare module "openclaw/plugin-sdk/plugin-entry" {
  export interface PluginApi {
    readonly pluginConfig?: Readonly<Record<string, unknown>>;
    /** "full" when the plugin is to act; other modes only look at what it would register. */
    readonly registrationMode: string;
    readonly logger: { warn(message: string): void };
    registerTrustedToolPolicy(policy: TrustedToolPolicy): void;
    readonly lifecycle: {
      registerRuntimeLifecycle(lifecycle: {
        id: string;
        cleanup(event: { reason: string; sessionKey?: string; runId?: string }): void;
      }): void;
    };
  }

  export interface ToolEvent {
    readonly toolName: string;
    readonly params: Readonly<Record<string, unknown>>;
    /** Set for tools that share a name with another and are none of it, such as code mode's `exec`. */
    readonly toolKind?: string;
    readonly runId?: string;
    readonly toolCallId?: string;
  }

  export interface ToolContext {
    readonly agentId?: string;
    readonly sessionKey?: string;
    readonly runId?: string;
    readonly toolCallId?: string;
    readonly abortSignal?: AbortSignal;
  }

  /** `undefined` leaves the call as it is. A policy that throws blocks. */
  export type ToolDecision = undefined | { block: true; blockReason: string } | { params: Record<string, unknown> };

  export interface TrustedToolPolicy {
    readonly id: string;
    readonly description: string;
    evaluate(event: ToolEvent, context: ToolContext): Promise<ToolDecision>;
  }

  export function definePluginEntry(entry: {
    id: string;
    name: string;
    description: string;
    register(api: PluginApi): void;
  }): unknown;
}

declare module "openclaw/plugin-sdk/sandbox" {
  /** What OpenClaw asks for when a session needs a sandbox. */
  export interface SandboxRequest {
    readonly sessionKey: string;
    readonly scopeKey: string;
    readonly workspaceDir: string;
    readonly agentWorkspaceDir: string;
    /** Holds `skills/`: what OpenClaw prepared for this sandbox, outside the workspace. */
    readonly skillsWorkspaceDir?: string;
    readonly cfg: {
      readonly workspaceAccess: "none" | "ro" | "rw";
      readonly docker: {
        readonly binds?: readonly string[];
        readonly env?: Readonly<Record<string, string>>;
      };
    };
    /** Throws once the workspace has passed to another owner. */
    readonly assertRuntimeCurrent?: () => void;
  }

  export interface ExecRequest {
    readonly command: string;
    readonly workdir?: string;
    readonly env: Readonly<Record<string, string>>;
    readonly usePty: boolean;
  }

  export interface ExecSpec {
    argv: string[];
    env: Record<string, string>;
    cwd: string;
    stdinMode: "pipe-open" | "pipe-closed";
    assertCurrent?: () => void;
  }

  export interface ShellRequest {
    readonly script: string;
    readonly args?: readonly string[];
    readonly stdin?: Buffer | string;
    readonly allowFailure?: boolean;
    readonly signal?: AbortSignal;
  }

  export interface ShellResult {
    stdout: Buffer;
    stderr: Buffer;
    code: number;
  }

  export interface FsBridgeContext {
    readonly workspaceDir: string;
    readonly agentWorkspaceDir: string;
    readonly skillsWorkspaceDir?: string;
    readonly containerWorkdir: string;
    readonly workspaceAccess: "none" | "ro" | "rw";
  }

  export interface PathRequest {
    readonly filePath: string;
    readonly cwd?: string;
    readonly signal?: AbortSignal;
  }

  export type MutationAction = "write" | "create" | "mkdir" | "remove" | "copy-destination";

  export interface DirectoryEntry {
    readonly name: string;
    readonly isDirectory: boolean;
  }

  interface Content {
    readonly data: Buffer | string;
    readonly encoding?: BufferEncoding;
    readonly mkdir?: boolean;
  }

  /** A place that `resolvePinnedMutationTarget` has answered and OpenClaw has allowed. */
  interface Pinned {
    readonly pinnedPath?: string;
  }

  /** How OpenClaw's file tools reach the workspace. */
  export interface FsBridge {
    readonly pathMappings?: readonly { readonly hostRoot: string; readonly containerRoot: string }[];
    resolvePath(request: PathRequest): { relativePath: string; containerPath: string };
    resolvePinnedMutationTarget(request: PathRequest & { readonly action: MutationAction }): Promise<{ policyPath: string; pinnedPath: string }>;
    readDirectory(request: PathRequest): Promise<DirectoryEntry[]>;
    readFile(request: PathRequest & { readonly maxBytes?: number }): Promise<Buffer>;
    readFileWithSource(request: PathRequest & { readonly maxBytes?: number }): Promise<{ data: Buffer; canonicalPath: string; workspaceRelativePath?: string }>;
    copyFile(request: { sourcePath: string; destinationPath: string; cwd?: string; mkdir?: boolean; signal?: AbortSignal } & Pinned): Promise<void>;
    writeFile(request: PathRequest & Content & Pinned): Promise<void>;
    createFileExclusive(request: PathRequest & Content & Pinned): Promise<"created" | "exists">;
    mkdirp(request: PathRequest & Pinned): Promise<void>;
    remove(request: PathRequest & Pinned & { readonly recursive?: boolean; readonly force?: boolean }): Promise<void>;
    rename(request: { from: string; to: string; cwd?: string; signal?: AbortSignal }): Promise<void>;
    stat(request: PathRequest): Promise<{ type: "file" | "directory" | "other"; size: number; mtimeMs: number } | null>;
  }

  export interface SandboxHandle {
    id: string;
    runtimeId: string;
    runtimeLabel: string;
    configLabel: string;
    configLabelKind: string;
    workdir: string;
    env: Record<string, string>;
    buildExecSpec(request: ExecRequest): Promise<ExecSpec>;
    runShellCommand(request: ShellRequest): Promise<ShellResult>;
    createFsBridge(params: { sandbox: FsBridgeContext }): FsBridge;
  }

  export interface SandboxRuntimeState {
    running: boolean;
    actualConfigLabel: string;
    configLabelMatch: boolean;
  }

  export interface SandboxBackend {
    factory(request: SandboxRequest): Promise<SandboxHandle>;
    manager: {
      describeRuntime(): Promise<SandboxRuntimeState>;
      removeRuntime(): Promise<void>;
    };
    resolveWorkdir(params: { workspaceDir: string }): string;
  }

  /** Returns the call that takes the registration back. */
  export function registerSandboxBackend(id: string, backend: SandboxBackend): () => void;

  /** The skills below a workspace that OpenClaw shows read-only. */
  export function resolveReadOnlyWorkspaceSkillMounts(sandbox: {
    workspaceDir: string;
    agentWorkspaceDir: string;
    skillsWorkspaceDir?: string;
    workdir: string;
    workspaceAccess: "none" | "ro" | "rw";
  }): { hostPath: string; containerPath: string }[];

  /** The stock file bridge: read, write, edit as shell and python3 scripts run through the handle. For comparison. */
  export function createRemoteShellSandboxFsBridge(params: {
    sandbox: FsBridgeContext;
    runtime: {
      remoteWorkspaceDir: string;
      remoteAgentWorkspaceDir: string;
      runRemoteShellScript(request: ShellRequest): Promise<ShellResult>;
    };
  }): FsBridge;
}

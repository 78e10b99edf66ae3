// The part of OpenClaw's plugin SDK that this plugin uses. OpenClaw ships no types for
// `plugin-sdk/sandbox`; these were written from what 2026.9.6 does with the values, not from a promise.

declare module "openclaw/plugin-sdk/plugin-entry" {
  export interface PluginApi {
    readonly pluginConfig?: Readonly<Record<string, unknown>>;
    /** "full" when the plugin is to act; other modes only look at what it would register. */
    readonly registrationMode: string;
    readonly logger: { warn(message: string): void };
    readonly lifecycle: {
      registerRuntimeLifecycle(lifecycle: {
        id: string;
        cleanup(event: { reason: string; sessionKey?: string; runId?: string }): void;
      }): void;
    };
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

  /** Opaque here: made by OpenClaw, handed back to OpenClaw. */
  export interface FsBridge {
    readonly pathMappings?: readonly unknown[];
  }
  export interface FsBridgeContext {
    readonly workspaceDir: string;
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

  /** The stock file bridge: read, write, edit as shell and python3 scripts run through the handle. */
  export function createRemoteShellSandboxFsBridge(params: {
    sandbox: FsBridgeContext;
    runtime: {
      remoteWorkspaceDir: string;
      remoteAgentWorkspaceDir: string;
      runRemoteShellScript(request: ShellRequest): Promise<ShellResult>;
    };
  }): FsBridge;
}

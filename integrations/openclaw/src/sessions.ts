// What the plugin has seen of OpenClaw's sessions: which of them have a sandbox of ours, and which turn is theirs.
// Nothing is allowed by this alone: a session it does not know is asked about.

export interface Jailed {
  readonly workspace: string;
}

/** The oldest are forgotten: then their tools are asked about, which is slower and no less safe. */
const MOST = 1_000;

const OF_PROCESS = Symbol.for("mantlet.openclaw.sessions");

export class Sessions {
  readonly #jailed = new Map<string, Jailed>();
  readonly #runs = new Map<string, string>();

  /** The same for every instance of the plugin in this process: OpenClaw makes several. */
  static ofProcess(): Sessions {
    const place = globalThis as { [OF_PROCESS]?: Sessions };
    return (place[OF_PROCESS] ??= new Sessions());
  }

  /** OpenClaw has got a sandbox for this session. */
  enter(sessionKey: string, jailed: Jailed): void {
    put(this.#jailed, sessionKey, jailed);
  }

  jailed(sessionKey: string | undefined): Jailed | undefined {
    return sessionKey === undefined ? undefined : this.#jailed.get(sessionKey);
  }

  /** A tool is about to run in this turn. */
  note(sessionKey: string | undefined, runId: string | undefined): void {
    if (sessionKey !== undefined && runId !== undefined) put(this.#runs, sessionKey, runId);
  }

  run(sessionKey: string): string | undefined {
    return this.#runs.get(sessionKey);
  }
}

function put<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key);
  map.set(key, value);
  const oldest = map.keys().next();
  if (map.size > MOST && oldest.done !== true) map.delete(oldest.value);
}

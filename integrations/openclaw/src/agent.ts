// Which agent a sandbox belongs to, from the keys OpenClaw gives. The policy is chosen by this
// name, so a key that does not say it is refused: guessing "main" would hand out main's policy.

const AGENT_KEY = /^agent:([a-z0-9][a-z0-9_-]{0,63})(?::|$)/;

/** The agent id in `agent:<id>:...`; the scope is asked first, for a global session names no agent. */
export function agentIdOf(keys: { readonly scopeKey: string; readonly sessionKey: string }): string {
  const id = AGENT_KEY.exec(keys.scopeKey)?.[1] ?? AGENT_KEY.exec(keys.sessionKey)?.[1];
  if (id === undefined) {
    throw new Error(
      `mantlet: cannot tell which agent ${JSON.stringify(keys.sessionKey)} belongs to. hint: set agents.defaults.sandbox.scope to "agent"`,
    );
  }
  return id;
}

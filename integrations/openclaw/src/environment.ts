// The environment mantlet-run itself starts with. The gateway's holds every key of ~/.openclaw/.env;
// the jail's is built from nothing by mantlet-run, but its own /proc entry should not hold them either.

/** Names that locate the policy and the ledger or say how to print; none holds a credential. */
const PASSED = ["HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TERM", "TZ", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"] as const;

/** The few names of `source` that mantlet-run needs. */
export function launcherEnvironment(source: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const env: Record<string, string> = {};
  for (const name of PASSED) {
    const value = source[name];
    if (value !== undefined) env[name] = value;
  }
  return env;
}

// The plugin's entry: registers the sandbox backend `mantlet` and the tool policy, and takes the backend back when
// disabled. It decides nothing. Without it OpenClaw knows no backend of that name and refuses the turn.

import { definePluginEntry } from "openclaw/plugin-sdk/plugin-entry";
import { registerSandboxBackend, resolveReadOnlyWorkspaceSkillMounts } from "openclaw/plugin-sdk/sandbox";
import { BACKEND_ID, createBackend } from "./backend.ts";
import { launcherEnvironment } from "./environment.ts";
import { locateMantlet, locateMantletRun } from "./locate.ts";
import { createToolPolicy } from "./policy.ts";
import { Sessions } from "./sessions.ts";

export default definePluginEntry({
  id: "mantlet",
  name: "Mantlet",
  description: "Runs every command of a sandboxed session in a Mantlet jail.",
  register(api) {
    const configured = api.pluginConfig?.["mantletRun"];
    const sessions = Sessions.ofProcess();
    // In every mode: a turn obeys the policies of a registry of its own, which is made for discovery.
    api.registerTrustedToolPolicy(
      createToolPolicy({
        sessions,
        program: (workspace) => locateMantlet({ configured, workspace }),
        env: () => launcherEnvironment(process.env),
      }),
    );
    if (api.registrationMode !== "full") return;
    const unregister = registerSandboxBackend(
      BACKEND_ID,
      createBackend({
        locate: (workspace) => locateMantletRun({ configured, workspace }),
        warn: (message) => api.logger.warn(message),
        sessions,
        skillMounts: (sandbox) => resolveReadOnlyWorkspaceSkillMounts({ ...sandbox, workdir: sandbox.containerWorkdir }),
      }),
    );
    api.lifecycle.registerRuntimeLifecycle({
      id: "mantlet-sandbox-backend",
      cleanup({ reason, sessionKey, runId }) {
        // The end of one session or run is not the end of the plugin.
        if (sessionKey !== undefined || runId !== undefined) return;
        if (reason === "disable" || reason === "restart") unregister();
      },
    });
  },
});

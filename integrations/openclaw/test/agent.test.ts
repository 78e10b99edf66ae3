// The agent's name decides the policy: it is read from the keys or the call is refused.

import assert from "node:assert/strict";
import { test } from "node:test";
import { agentIdOf } from "../src/agent.ts";

test("the_scope_names_the_agent_before_the_session_does", () => {
  assert.equal(agentIdOf({ scopeKey: "agent:ops:workspace:0123", sessionKey: "agent:main:main" }), "ops");
  assert.equal(agentIdOf({ scopeKey: "agent:main", sessionKey: "global" }), "main");
});

test("a_shared_scope_falls_back_to_the_session", () => {
  assert.equal(agentIdOf({ scopeKey: "shared", sessionKey: "agent:main:subagent:7" }), "main");
});

test("a_key_without_an_agent_is_refused_not_taken_for_main", () => {
  for (const sessionKey of ["global", "", "agent:", "agent:--policy:x", "agent:Main:x", "xagent:main:y"]) {
    assert.throws(() => agentIdOf({ scopeKey: "shared", sessionKey }), /cannot tell which agent/);
  }
});

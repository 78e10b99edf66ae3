// mantlet-run is found by absolute path or not at all.

import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { locateMantletRun, standardPlaces } from "../src/locate.ts";

const root = realpathSync(mkdtempSync(path.join(tmpdir(), "mantlet-locate-")));
after(() => rmSync(root, { recursive: true }));
const workspace = path.join(root, "workspace");
mkdirSync(workspace);

function program(file: string): string {
  writeFileSync(file, "#!/bin/sh\n");
  chmodSync(file, 0o755);
  return file;
}

test("the_first_standard_place_that_holds_a_program_wins", () => {
  const second = program(path.join(root, "second"));
  const third = program(path.join(root, "third"));
  writeFileSync(path.join(root, "not-executable"), "");
  const candidates = [path.join(root, "absent"), workspace, path.join(root, "not-executable"), second, third];
  assert.equal(locateMantletRun({ configured: undefined, workspace, candidates }), second);
});

test("nothing_found_is_an_error_that_names_every_place", () => {
  assert.throws(() => locateMantletRun({ configured: undefined, workspace, candidates: ["/a/b", "/c/d"] }), /tried \/a\/b, \/c\/d.*nothing was run/);
});

test("a_configured_path_is_the_only_one_tried", () => {
  const candidates = [program(path.join(root, "installed"))];
  assert.throws(() => locateMantletRun({ configured: "/nonexistent/mantlet-run", workspace, candidates }), /tried \/nonexistent\/mantlet-run\)/);
});

test("a_relative_or_odd_configured_path_is_refused", () => {
  for (const configured of ["mantlet-run", "./mantlet-run", "", 7, null]) {
    assert.throws(() => locateMantletRun({ configured, workspace }), /absolute path/);
  }
});

test("a_program_that_the_agent_can_replace_is_refused_also_behind_a_link", () => {
  const inside = program(path.join(workspace, "mantlet-run"));
  const link = path.join(root, "link");
  symlinkSync(inside, link);
  for (const configured of [inside, link]) {
    assert.throws(() => locateMantletRun({ configured, workspace }), /inside the agent's workspace/);
  }
});

test("no_standard_place_depends_on_path", () => {
  const before = process.env["PATH"];
  process.env["PATH"] = "/evil";
  assert.ok(standardPlaces().every((place) => path.isAbsolute(place) && !place.startsWith("/evil")));
  process.env["PATH"] = before;
});

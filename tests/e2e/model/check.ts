// Counts what held and what did not, one line each.

const tally = { passed: 0, failed: 0 };

/** Records one claim; `seen` is printed when it does not hold. */
export function check(claim: string, holds: boolean, seen: string): void {
  tally[holds ? "passed" : "failed"] += 1;
  console.log(holds ? `  ok    ${claim}` : `  FAIL  ${claim}\n        seen: ${JSON.stringify(seen.slice(0, 1500))}`);
}

/** Prints the closing line; true when everything held. */
export function close(): boolean {
  console.log(`${tally.passed} passed, ${tally.failed} failed`);
  return tally.failed === 0 && tally.passed > 0;
}

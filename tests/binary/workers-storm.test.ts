import { expect, test } from "bun:test";
import { Gate } from "../../src/sandbox/gate.ts";
import { parseExposition } from "../ops/prometheus-text.ts";
import { Connection } from "../support/connection.ts";
import { WorkersWorld } from "./workers-world.ts";

/** How many callers come at once in each round. */
const ROUNDS = [10_000, 2000, 2000, 2000, 2000];
/** WeChat's answer may not be held back longer, or the attempt counts as lost. */
const PATIENCE_MS = 2500;

/** Resolves when all `callers` wait in the workers, or when the answer can't be held back any longer. */
async function everybodyWaits(url: string, callers: number): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (performance.now() < end) {
    const signal = AbortSignal.timeout(Math.max(1, end - performance.now()));
    const text = await fetch(`${url}/metrics`, { keepalive: false, signal }).then(
      (response) => response.text(),
      () => undefined,
    );
    if (text !== undefined && parseExposition(text).value("accesstoken_refresh_waiters") >= callers) return;
  }
}

test.each([2, 4])(
  "P1: ten thousand cold requests to %d workers cost one upstream call, and all get its token",
  async (workers) => {
    await using at = await WorkersWorld.start({ workers, apps: ROUNDS.length });
    for (const [round, callers] of ROUNDS.entries()) {
      const gate = new Gate();
      at.sandbox.resetCalls();
      at.sandbox.inject({ kind: "gate_before", gate, times: 1 });
      const connections = await Connection.openMany(at.url, callers);
      for (const connection of connections) connection.send(`/AccessToken/getXcx?appid=wx${round}`);
      await gate.arrived();
      await everybodyWaits(at.url, callers);
      gate.open();
      const answers = await Promise.all(connections.map(({ answer }) => answer));
      for (const connection of connections) connection.close();

      expect(answers.filter(({ code }) => code !== 0)).toEqual([]);
      const tokens = [...new Set(answers.map(({ data }) => data.access_token))];
      expect(tokens).toHaveLength(1);
      expect(at.sandbox.accepts(String(tokens[0]))).toBe(true);
      expect(at.sandbox.calls()).toBe(1);
    }
  },
);

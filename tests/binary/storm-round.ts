import { Gate } from "../../src/sandbox/fault.ts";
import { parseExposition } from "../ops/prometheus-text.ts";
import { Connection, type StormAnswer } from "../support/connection.ts";
import type { WorkersHarness } from "./workers-harness.ts";

/** WeChat's answer may not be held back longer, or the attempt counts as lost. */
const PATIENCE_MS = 2500;
const ATTEMPT_MS = 5000;
/** For a connection that was closed without an answer. */
const CUT_OFF: StormAnswer = { code: -1, msg: "", data: {} };

/** What became of many callers who came at once. */
export interface StormRound {
  readonly upstreamCalls: number;
  /** The answers that were no success. */
  readonly failures: readonly { readonly code: number }[];
  /** The different tokens that were handed out. */
  readonly tokens: readonly unknown[];
  /** Whether it took longer than the service waits for WeChat: then failures say something of the machine alone. */
  readonly wasTooSlow: boolean;
}

/** Sends `callers` requests at once, each on a connection of its own, for the app `wx<app>` that has no token yet. */
export async function stormRound(at: WorkersHarness, app: number, callers: number): Promise<StormRound> {
  const gate = new Gate();
  at.sandbox.resetCalls();
  at.sandbox.inject({ kind: "gate_before", gate, times: 1 });
  const startedAt = performance.now();
  const connections = await Connection.openMany(at.url, callers);
  for (const connection of connections)
    connection.send(`/AccessToken/getXcx?appid=wx${String(app).padStart(16, "0")}`);
  await gate.arrived();
  await everybodyWaits(at.url, callers);
  gate.open();
  const answers = await Promise.all(connections.map(({ answer }) => answer.catch(() => CUT_OFF)));
  for (const connection of connections) connection.close();
  return {
    wasTooSlow: performance.now() - startedAt > ATTEMPT_MS,
    upstreamCalls: at.sandbox.calls(),
    failures: answers.filter(({ code }) => code !== 0),
    tokens: [...new Set(answers.map(({ data }) => data.access_token))],
  };
}

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

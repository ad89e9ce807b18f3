import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Sandbox } from "../../src/sandbox/sandbox.ts";
import { Child } from "../support/child.ts";
import { binary } from "../support/process-harness.ts";
import type { Effort } from "./effort.ts";
import type { Figure } from "./figures.ts";

const APP = { appId: "wx00000000000000aa", secret: "a1b2c3d4e5f60718293a4b5c6d7e8f90" };
const UPSTREAM_MS = 100;
const CONNECTING_AT_ONCE = 200;

/** Ten thousand callers at once who find no token, while WeChat takes 100 ms. */
export async function coldStorm({ storms }: Effort): Promise<Figure[]> {
  const lastMs: number[] = [];
  const calls: number[] = [];
  for (let run = 0; run < storms; run++) {
    const outcome = await stormOfCallers(10_000, UPSTREAM_MS);
    lastMs.push(outcome.lastAnswerMs);
    calls.push(outcome.upstreamCalls);
  }
  return [
    { name: "cold storm of 10,000: upstream calls", unit: "calls", values: calls, target: { atMost: 1 } },
    {
      name: "cold storm of 10,000: last answer, upstream 100 ms",
      unit: "ms",
      values: lastMs,
      target: { atMost: UPSTREAM_MS + 400 },
    },
  ];
}

/** What became of a storm. */
interface StormOutcome {
  readonly upstreamCalls: number;
  /** From the first request that was sent to the last answer that was read. */
  readonly lastAnswerMs: number;
}

/** Sends `callers` requests for one app without a token, each on a connection of its own, at once. */
async function stormOfCallers(callers: number, upstreamMs: number): Promise<StormOutcome> {
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-storm-"));
  await using sandbox = Sandbox.start({ weixinApps: [APP], wecomApps: [] });
  await using service = new Child([...binary(), "serve"], {
    cwd: folder,
    env: { PORT: "0", WEIXIN_BASE_URL: sandbox.weixinUrl, [`WEIXIN_SECRET_${APP.appId}`]: APP.secret },
  });
  const ports = [Number(new URL(await service.serviceUrl()).port)];
  const lastAnswerMs = await askAtOnce({
    ports,
    callers,
    appId: APP.appId,
    before: () => {
      sandbox.inject({ kind: "delay", ms: upstreamMs, times: 1 });
    },
  });
  rmSync(folder, { recursive: true, force: true });
  return { upstreamCalls: sandbox.calls("/cgi-bin/stable_token"), lastAnswerMs };
}

/** Who asks whom for what. */
export interface Callers {
  /** Of services of this machine, which are asked in turn. */
  readonly ports: readonly number[];
  readonly appId: string;
  readonly callers: number;
  /** Called when every caller is connected, and none has asked yet. */
  readonly before: () => void;
}

/** Asks for a token on connections of their own, all at once; the milliseconds from the first request to the last answer. */
export async function askAtOnce({ ports, appId, callers, before }: Callers): Promise<number> {
  let answered = 0;
  const all = Promise.withResolvers<void>();
  const onAnswer = (text: string) => {
    if (!text.includes('"code":0')) all.reject(new Error(`an answer was no token: ${text.slice(0, 200)}`));
    answered += 1;
    if (answered === callers) all.resolve();
  };
  const sockets: Bun.Socket[] = [];
  while (sockets.length < callers) {
    const count = Math.min(CONNECTING_AT_ONCE, callers - sockets.length);
    const opening = Array.from({ length: count }, (_, n) =>
      Bun.connect({
        hostname: "127.0.0.1",
        port: ports[(sockets.length + n) % ports.length] ?? 0,
        socket: { data: (_socket, chunk) => onAnswer(chunk.toString()) },
      }),
    );
    sockets.push(...(await Promise.all(opening)));
  }
  before();
  const startedAt = performance.now();
  for (const socket of sockets)
    socket.write(`GET /AccessToken/getXcx?appid=${appId} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  await all.promise;
  const lastAnswerMs = performance.now() - startedAt;
  for (const socket of sockets) socket.terminate();
  return lastAnswerMs;
}

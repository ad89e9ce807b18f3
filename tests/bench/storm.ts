import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Sandbox } from "../../src/sandbox/sandbox.ts";
import { Child } from "../support/child.ts";
import { binary } from "../support/process-harness.ts";

const APP = { appId: "wx00000000000000aa", secret: "a1b2c3d4e5f60718293a4b5c6d7e8f90" };
const CONNECTING_AT_ONCE = 200;

/** What became of a storm. */
export interface StormOutcome {
  readonly upstreamCalls: number;
  /** From the first request that was sent to the last answer that was read. */
  readonly lastAnswerMs: number;
}

/** Sends `callers` requests for one app without a token, each on a connection of its own, at once. */
export async function stormOfCallers(callers: number, upstreamMs: number): Promise<StormOutcome> {
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-storm-"));
  await using sandbox = Sandbox.start({ weixinApps: [APP], wecomApps: [] });
  await using service = new Child([...binary(), "serve"], {
    cwd: folder,
    env: { PORT: "0", WEIXIN_BASE_URL: sandbox.weixinUrl, [`WEIXIN_SECRET_${APP.appId}`]: APP.secret },
  });
  const { port } = new URL(await service.serviceUrl());
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
    const opening = Array.from({ length: count }, () =>
      Bun.connect({
        hostname: "127.0.0.1",
        port: Number(port),
        socket: { data: (_, chunk) => onAnswer(chunk.toString()) },
      }),
    );
    sockets.push(...(await Promise.all(opening)));
  }
  sandbox.inject({ kind: "delay", ms: upstreamMs, times: 1 });
  const startedAt = performance.now();
  for (const socket of sockets)
    socket.write(`GET /AccessToken/getXcx?appid=${APP.appId} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  await all.promise;
  const lastAnswerMs = performance.now() - startedAt;
  for (const socket of sockets) socket.terminate();
  rmSync(folder, { recursive: true, force: true });
  return { upstreamCalls: sandbox.calls("/cgi-bin/stable_token"), lastAnswerMs };
}

import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { ask, ProcessHarness } from "../support/process-harness.ts";
import { type FaultCase, type FaultOptions, must, mustFail, type Outcome } from "./fault-case.ts";

const UPLOADS = 400;
const CALLERS = 8;
const BYTES = 10_000_000;
/** What the documentation promises. */
const MAX_MB = 200;
/** What is held of so many uploads at once: 64 MiB, at 1.5 MiB each. */
const HELD = 42;
const MAX_READ_MS = 5000;

/** What became of a burst of uploads. */
interface Burst {
  /** The most that the service's process had in RAM since its start. */
  readonly peakMb: number;
  readonly passed: number;
  readonly refused: number;
  /** The slowest read of a token meanwhile. */
  readonly readMs: number;
}

/** Four hundred large bodies at once, from a few callers, to a sandbox in a process of its own. */
export function uploadCases({ program }: FaultOptions): FaultCase[] {
  return [
    { name: "uploads: 400 of 10 MB at once", run: () => burst(program) },
    { name: "uploads: control", run: control },
  ];
}

async function burst(program: readonly string[]): Promise<Outcome> {
  await using it = new ProcessHarness(program);
  const sandbox = it.run(["sandbox", "--port", "0"]);
  const [, upstream = ""] = await sandbox.find(/WEIXIN_BASE_URL=(\S+)/);
  const [, appId = "", secret = ""] = await sandbox.find(/WEIXIN_SECRET_(\w+)=(\S+)/);
  const env = { WEIXIN_BASE_URL: upstream, [`WEIXIN_SECRET_${appId}`]: secret, ANONYMOUS_RATE_LIMIT: "0" };
  const { service, url } = await it.serve(env);
  const query = { grant_type: "client_credential", appid: appId, secret };
  const { access_token: token } = JSON.parse((await ask(url, "/cgi-bin/token", query)).text) as {
    access_token: string;
  };
  const state = { isOver: false, readMs: 0 };
  const reads = (async () => {
    while (!state.isOver) {
      const startedAt = performance.now();
      await ask(url, "/cgi-bin/token", query);
      state.readMs = Math.max(state.readMs, performance.now() - startedAt);
      await Bun.sleep(50);
    }
  })();
  const answers = await Promise.all(
    Array.from({ length: UPLOADS }, (_, n) => upload(url, token, `127.0.1.${1 + (n % CALLERS)}`)),
  );
  state.isOver = true;
  await reads;
  const of = (sign: string) => answers.filter((answer) => answer.includes(sign)).length;
  const [passed, refused] = [of('"errcode":0'), of('"errcode":45011')];
  const [, kilobytes] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${service.pid}/status`, "utf8")) ?? [];
  const figures = { peakMb: Number(kilobytes) / 1024, passed, refused, readMs: state.readMs };
  check(figures);
  const again = await upload(url, token, "127.0.1.1");
  must(again.includes('"errcode":0'), `an upload afterwards was answered ${again.slice(-200)}`);
  return {
    figures: `at most ${figures.peakMb.toFixed(0)} MB; ${passed} passed, ${refused} refused at once, none broken; tokens within ${state.readMs.toFixed(0)} ms`,
  };
}

function check({ peakMb, passed, refused, readMs }: Burst): void {
  must(peakMb <= MAX_MB, `${peakMb.toFixed(0)} MB of memory`);
  must(passed + refused === UPLOADS, `${UPLOADS - passed - refused} uploads neither passed nor were refused`);
  must(passed >= HELD, `${passed} uploads passed`);
  must(readMs <= MAX_READ_MS, `a token took ${readMs.toFixed(0)} ms`);
}

/** Sends a body from `from`; the answer, or how the connection ended. */
function upload(url: string, token: string, from: string): Promise<string> {
  const { hostname, port } = new URL(url);
  // The sandbox takes longer for a form of this size.
  const head = '{"touser":"o1","msgtype":"text","text":{"content":"';
  const tail = '"}}';
  const lines = [
    `POST /cgi-bin/message/custom/send?access_token=${token} HTTP/1.1`,
    "Host: localhost",
    "Content-Type: application/json",
    `Content-Length: ${head.length + BYTES + tail.length}`,
  ];
  return new Promise((resolve) => {
    const socket = connect({ host: hostname, port: Number(port), localAddress: from });
    let left = BYTES;
    let answer = "";
    const end = (how: string) => {
      socket.destroy();
      resolve(how);
    };
    socket.on("error", ({ message }) => end(answer || message));
    socket.on("close", () => end(answer || "closed"));
    socket.on("data", (bytes) => {
      answer += bytes.toString("latin1");
      if (answer.endsWith("}")) end(answer);
    });
    const send = () => {
      while (left > 0) {
        const size = Math.min(left, PART.length);
        left -= size;
        if (socket.write(PART.subarray(0, size))) continue;
        socket.once("drain", send);
        return;
      }
      socket.write(tail);
    };
    socket.write(`${lines.join("\r\n")}\r\n\r\n${head}`);
    send();
  });
}

const PART = Buffer.alloc(64 * 1024, "x");

async function control(): Promise<Outcome> {
  const good: Burst = { peakMb: 190, passed: 42, refused: 358, readMs: 100 };
  const caught = [
    await mustFail("too much memory", () => check({ ...good, peakMb: 201 })),
    await mustFail("a broken upload", () => check({ ...good, refused: 357 })),
    await mustFail("too few that pass", () => check({ ...good, passed: 41, refused: 359 })),
    await mustFail("a token that waits", () => check({ ...good, readMs: 6000 })),
  ];
  return { figures: caught.join("; ") };
}

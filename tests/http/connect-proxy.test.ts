import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { makeProxyCertificates } from "../../src/cli/proxy-certificates.ts";
import { ConnectProxy } from "../../src/http/connect-proxy.ts";
import type { Serve } from "../../src/http/server.ts";
import { UPSTREAM_HOSTS } from "../../src/upstream/addresses.ts";
import { createAdmin, createClient } from "../support/access-harness.ts";
import { CORP, Harness, WECOM, WX } from "../support/harness.ts";

const hasOpenssl = Bun.which("openssl") !== null;
if (!hasOpenssl) console.warn("openssl is missing: the tests of the CONNECT proxy are skipped");
const withOpenssl = test.skipIf(!hasOpenssl);

const scratch = mkdtempSync(join(tmpdir(), "accesstoken-connect-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
const folder = join(scratch, "proxy-ca");
if (hasOpenssl) await makeProxyCertificates(folder, false);
const ca = hasOpenssl ? readFileSync(join(folder, "ca.pem"), "utf8") : "";

/** A service with the proxy, and how to send it requests as programs with HTTPS_PROXY do. */
async function setup(environment: Record<string, string> = {}) {
  const world = await Harness.create({
    environment: { CONNECT_PORT: "0", CONNECT_CERTIFICATES: folder, ...environment },
  });
  const started = world.events.find(({ type }) => type === "service.started");
  const proxy = (started?.type === "service.started" && started.connectProxy) || "";
  return { world, proxy, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() };
}

/** A proxy in front of a function. */
async function setupAlone(serve: Serve, headMs?: number) {
  const options = { host: "127.0.0.1", port: 0, folder, ...(headMs === undefined ? {} : { headMs }) };
  const proxy = new ConnectProxy(serve, options);
  await proxy.start();
  const dispose = async () => {
    await proxy.stop();
    await proxy.stop();
  };
  return { proxy, url: proxy.url, [Symbol.asyncDispose]: dispose };
}

/** Sends a request for a host of WeChat's through the proxy. */
function through(proxy: string, url: string, init: RequestInit = {}) {
  return fetch(url, { proxy, tls: { ca }, keepalive: false, ...init });
}

/** Sends `text` as it stands and gives all that comes until the other end closes. */
function exchange(proxy: string, text: string | Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    let received = "";
    const socket = connect(portOf(proxy), "127.0.0.1", () => socket.write(text));
    socket.setTimeout(20_000, () => socket.destroy(new Error("no answer")));
    socket.on("data", (chunk) => (received += chunk.toString("latin1")));
    socket.on("error", reject);
    socket.on("close", () => resolve(received));
  });
}

/** A tunnel to one of WeChat's hosts, from `localAddress`. */
function openTunnel(proxy: string, localAddress = "127.0.0.1", host = "api.weixin.qq.com"): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port: portOf(proxy), host: "127.0.0.1", localAddress }, () =>
      socket.write(`CONNECT ${host}:443 HTTP/1.1\r\nHost: ${host}:443\r\n\r\n`),
    );
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("closed")));
    socket.once("data", (chunk) => {
      expect(chunk.toString()).toBe("HTTP/1.1 200 Connection Established\r\n\r\n");
      resolve(socket);
    });
  });
}

/** Sends a GET with these header lines through a tunnel from `localAddress`, and gives the answer's body. */
async function getFrom(proxy: string, localAddress: string, path: string, headers: readonly string[] = []) {
  const socket = await openTunnel(proxy, localAddress);
  return new Promise<string>((resolve, reject) => {
    let received = "";
    const tls = connectTls({ socket, ca, servername: "api.weixin.qq.com" }, () =>
      tls.write(
        [`GET ${path} HTTP/1.1`, "Host: api.weixin.qq.com", "Connection: close", ...headers, "", ""].join(
          "\r\n",
        ),
      ),
    );
    tls.on("data", (chunk) => (received += chunk.toString()));
    tls.on("error", reject);
    tls.on("close", () => resolve(received.split("\r\n\r\n")[1] ?? ""));
  });
}

function portOf(url: string): number {
  return Number(new URL(url).port);
}

const TOKEN_PATH = `/cgi-bin/token?grant_type=client_credential&appid=${WX.appId}`;

withOpenssl(
  "a program with HTTPS_PROXY gets tokens and makes calls of both platforms, its hosts unchanged",
  async () => {
    await using at = await setup();
    const grants = [{ apps: ["*"], actions: ["token:read", "api:call"] as const }];
    const key = await createClient(at.world, { name: "shop", grants, delivery: "virtual" });
    const ask = async (url: string) =>
      (await through(at.proxy, url)).json() as Promise<Record<string, string>>;
    const { access_token: token } = await ask(`https://api.weixin.qq.com${TOKEN_PATH}&secret=${key}`);
    expect(token).toStartWith("atv1_");
    const call = await ask(`https://sh.api.weixin.qq.com/cgi-bin/getcallbackip?access_token=${token}`);
    expect(call).toMatchObject({ ip_list: expect.any(Array) });
    const wecom = `https://qyapi.weixin.qq.com/cgi-bin/gettoken?corpid=${CORP}&corpsecret=${WECOM.secret}`;
    expect(await ask(wecom)).toMatchObject({ errcode: 0 });
  },
);

withOpenssl("behind it are drop-in endpoints and gateway alone, for an administrator too", async () => {
  await using at = await setup({ ANONYMOUS: "on", ALLOWED_HOSTS: "api.weixin.qq.com" });
  const headers = { "x-api-key": await createAdmin(at.world) };
  for (const path of [
    "/v1/apps",
    "/v1/clients",
    `/AccessToken/getXcx?appid=${WX.appId}`,
    "/",
    "/livez",
    "/metrics",
    "/swagger/json",
  ]) {
    const text = await (await through(at.proxy, `https://api.weixin.qq.com${path}`, { headers })).text();
    expect([path, JSON.parse(text)]).toEqual([
      path,
      { errcode: expect.any(Number), errmsg: expect.any(String) },
    ]);
  }
  expect(at.world.sandbox.calls()).toBe(0);
});

withOpenssl("the caller's address is that of who sent the CONNECT, whatever a header says", async () => {
  await using at = await setup({ TRUSTED_PROXIES: "127.0.0.0/8" });
  const grants = [{ apps: ["*"], actions: ["token:read"] as const }];
  const networks = ["127.0.0.2/32"];
  const key = await createClient(at.world, { name: "near", grants, networks });
  const ask = async (from: string, headers: readonly string[] = []) =>
    JSON.parse(await getFrom(at.proxy, from, `${TOKEN_PATH}&secret=${key}`, headers)) as object;
  expect(await ask("127.0.0.2")).toHaveProperty("access_token");
  for (const headers of [[], ["X-Forwarded-For: 127.0.0.2"], ["X-Real-IP: 127.0.0.2"]])
    expect(await ask("127.0.0.3", headers)).toHaveProperty("errcode");
  expect(await ask("127.0.0.2", ["X-Forwarded-For: 127.0.0.2"])).toHaveProperty("errcode");
});

withOpenssl(
  "every host of the certificate is let through, in capitals too, with what comes right behind the head",
  async () => {
    await using at = await setupAlone((request) => new Response(new URL(request.url).host));
    for (const host of UPSTREAM_HOSTS)
      expect(await (await through(at.url, `https://${host}/`)).text()).toBe(host);
    (await openTunnel(at.url, "127.0.0.1", "API.weixin.QQ.com")).destroy();
    const plain = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // It comes to the TLS server, and is no TLS.
    const established = "HTTP/1.1 200 Connection Established\r\n\r\n";
    expect(await exchange(at.url, `CONNECT api.weixin.qq.com:443 HTTP/1.0\r\n\r\n${plain}`)).toBe(
      established,
    );
  },
);

const OTHERS: readonly (readonly [sent: string, status: number])[] = [
  ["CONNECT example.com:443 HTTP/1.1", 403],
  ["CONNECT api.mch.weixin.qq.com:443 HTTP/1.1", 403],
  ["CONNECT api.weixin.qq.com:80 HTTP/1.1", 403],
  ["CONNECT api.weixin.qq.com:4430 HTTP/1.1", 403],
  ["CONNECT api.weixin.qq.com:0443 HTTP/1.1", 403],
  ["CONNECT api.weixin.qq.com HTTP/1.1", 403],
  ["CONNECT api.weixin.qq.com.:443 HTTP/1.1", 403],
  ["CONNECT api.weixin.qq.com:443@example.com:443 HTTP/1.1", 403],
  ["CONNECT user@api.weixin.qq.com:443 HTTP/1.1", 403],
  ["CONNECT https://api.weixin.qq.com:443 HTTP/1.1", 403],
  ["CONNECT api.weixin.qq.com:443 example.com:443 HTTP/1.1", 403],
  ["CONNECT  api.weixin.qq.com:443 HTTP/1.1", 403],
  ["CONNECT api.weixin.qq.com:443  HTTP/1.1", 403],
  ["CONNECT api.weixin.qq.com:443 HTTP/2.0", 403],
  ["CONNECT api.weixin.qq.com:443 HTTP/1.1\nHost: a", 403],
  ["CONNECT api.weixin.qq.com\u0000:443 HTTP/1.1", 403],
  ["CONNECT api.weixin.qq.com%00:443 HTTP/1.1", 403],
  ["CONNECT 127.0.0.1:443 HTTP/1.1", 403],
  ["CONNECT [::1]:443 HTTP/1.1", 403],
  ["CONNECT localhost:443 HTTP/1.1", 403],
  ["connect api.weixin.qq.com:443 HTTP/1.1", 405],
  ["GET https://api.weixin.qq.com/ HTTP/1.1", 405],
  ["GET / HTTP/1.1", 405],
  ["\r\nCONNECT api.weixin.qq.com:443 HTTP/1.1", 405],
  [`CONNECT api.weixin.qq.com:443 HTTP/1.1\r\nX: ${"a".repeat(9000)}`, 431],
];

withOpenssl(
  "nothing but port 443 of these hosts is let through, and what is refused reaches nothing",
  async () => {
    let served = 0;
    await using at = await setupAlone(() => {
      served++;
      return new Response("");
    });
    for (const [sent, status] of OTHERS) {
      const answer = await exchange(
        at.url,
        `${sent}\r\nHost: api.weixin.qq.com:443\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n`,
      );
      expect([sent, answer.slice(0, 12)]).toEqual([sent, `HTTP/1.1 ${status}`]);
      expect([sent, answer.match(/HTTP\/1/g)?.length]).toEqual([sent, 1]);
    }
    expect(served).toBe(0);
  },
);

withOpenssl("a head that drips or never ends is cut off as a whole", async () => {
  await using at = await setupAlone(() => new Response(""), 300);
  const startedAt = performance.now();
  const drips = [
    "",
    "CONNECT api.weixin.qq.com:443 HTTP/1.1\r\nX: ",
    "CONNECT api.weixin.qq.com:443 HTTP/1.1\n\n",
  ].map(
    (beginning) =>
      new Promise<string>((resolve) => {
        let received = "";
        const socket = connect(portOf(at.url), "127.0.0.1", () => socket.write(beginning));
        const timer = setInterval(() => socket.write("a"), 20);
        socket.on("data", (chunk) => (received += chunk.toString()));
        socket.on("error", () => undefined);
        socket.on("close", () => {
          clearInterval(timer);
          resolve(received);
        });
      }),
  );
  expect(await Promise.all(drips)).toEqual(["", "", ""]);
  expect(performance.now() - startedAt).toBeGreaterThan(250);
});

withOpenssl("one address has at most 200 connections, and then again as many as it closes", async () => {
  await using at = await setupAlone(() => new Response(""));
  const tunnels = await Promise.all(Array.from({ length: 200 }, () => openTunnel(at.url)));
  expect(await openTunnel(at.url).catch(() => "refused")).toBe("refused");
  (await openTunnel(at.url, "127.0.0.2")).destroy();
  tunnels.pop()?.destroy();
  await Harness.until(() =>
    openTunnel(at.url).then(
      (socket) => Boolean(tunnels.push(socket)),
      () => false,
    ),
  );
  for (const socket of tunnels) socket.destroy();
});

withOpenssl("big bodies pass both ways as they are", async () => {
  await using at = await setupAlone(async (request) => new Response(await request.bytes()));
  const body = crypto.getRandomValues(new Uint8Array(65_536));
  const big = Buffer.concat(Array.from({ length: 128 }, () => body));
  const answer = await through(at.url, "https://api.weixin.qq.com/", { method: "POST", body: big });
  expect(Buffer.from(await answer.arrayBuffer()).equals(big)).toBe(true);
});

withOpenssl("a stop lets answers under way end, and takes no connection any more", async () => {
  const { promise: isAsked, resolve: asked } = Promise.withResolvers<void>();
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  await using at = await setupAlone(async () => {
    asked();
    await released;
    return new Response("whole");
  });
  const answer = through(at.url, "https://api.weixin.qq.com/");
  await isAsked;
  const stopped = at.proxy.stop();
  expect(await openTunnel(at.url).catch(() => "refused")).toBe("refused");
  release();
  expect(await (await answer).text()).toBe("whole");
  await stopped;
});

/** The ports of loopback on which this process listens. */
function listeningPorts(): number[] {
  const own = new Set(
    readdirSync("/proc/self/fd").flatMap((name) => {
      try {
        return [/socket:\[(\d+)\]/.exec(readlinkSync(`/proc/self/fd/${name}`))?.[1]];
      } catch {
        return [];
      }
    }),
  );
  const rows = readFileSync("/proc/net/tcp", "utf8")
    .split("\n")
    .map((line) => line.trim().split(/\s+/));
  return rows.flatMap(([, local = "", , state, , , , , , inode]) =>
    state === "0A" && own.has(inode) ? [Number.parseInt(local.split(":")[1] ?? "", 16)] : [],
  );
}

test.skipIf(!hasOpenssl || process.platform !== "linux")(
  "another program of this machine that finds the TLS server's port is refused there",
  async () => {
    let served = 0;
    const before = new Set(listeningPorts());
    await using at = await setupAlone(() => {
      served++;
      return new Response("");
    });
    const inner = listeningPorts().filter((port) => !before.has(port) && port !== portOf(at.url));
    expect(inner).toHaveLength(1);
    const answer = await fetch(`https://127.0.0.1:${inner[0]}/`, {
      tls: { rejectUnauthorized: false },
      keepalive: false,
    });
    expect([answer.status, served]).toEqual([403, 0]);
  },
);

withOpenssl(
  "without a certificate, or on a port that is taken, the service does not start and says why",
  async () => {
    expect(setup({ CONNECT_CERTIFICATES: scratch })).rejects.toThrow("CONNECT_CERTIFICATES: ");
    await using at = await setupAlone(() => new Response(""));
    expect(setup({ CONNECT_PORT: String(portOf(at.url)) })).rejects.toThrow("CONNECT_PORT: ");
  },
);

withOpenssl("without CONNECT_PORT there is no proxy", async () => {
  await using at = await setup({ CONNECT_PORT: "" });
  expect(at.proxy).toBe("");
});

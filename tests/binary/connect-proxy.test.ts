import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { WX } from "../support/harness.ts";
import { binary, ProcessHarness } from "../support/process-harness.ts";

/** Processor time that a process has used, in milliseconds. The kernel counts a hundred ticks a second. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

test.skipIf(process.platform !== "linux" || Bun.which("openssl") === null)(
  "the compiled program's CONNECT proxy leads SDKs to it, and does not spin at the limit of descriptors",
  async () => {
    await using world = new ProcessHarness(["prlimit", "--nofile=160:160", ...binary()]);
    const made = world.run(["proxy-ca"]);
    expect([await made.exited(), made.stderr]).toEqual([0, ""]);
    const { service } = await world.serve({ CONNECT_PORT: "0" });
    const [, proxy = ""] = await service.find(/"connectProxy":"([^"]+)"/);
    const ca = readFileSync(join(world.folder, "proxy-ca/ca.pem"), "utf8");
    const query = `grant_type=client_credential&appid=${WX.appId}&secret=${WX.secret}`;
    const token = async () => {
      const init = { proxy, tls: { ca }, keepalive: false };
      return (await fetch(`https://api.weixin.qq.com/cgi-bin/token?${query}`, init)).json();
    };
    expect(await token()).toHaveProperty("access_token");
    const sockets: Socket[] = [];
    for (let n = 0; n < 180; n++) {
      const socket = connect(Number(new URL(proxy).port), "127.0.0.1");
      socket.on("error", () => undefined);
      socket.write("CONNECT api");
      sockets.push(socket);
    }
    await service.find(/"level":"warn","event":"connections.paused"/);
    const before = cpuMs(service.pid);
    await Bun.sleep(2000);
    expect(cpuMs(service.pid) - before).toBeLessThan(400);
    for (const socket of sockets) socket.destroy();
    await service.find(/"event":"connections.resumed"/);
    const answers = async () => "access_token" in ((await token().catch(() => ({}))) as object);
    while (!(await answers())) await Bun.sleep(20);
    service.signal("SIGTERM");
    expect(await service.exited()).toBe(0);
  },
);

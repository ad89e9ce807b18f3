import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { WX } from "../support/harness.ts";
import { ask, binary, ProcessHarness } from "../support/process-harness.ts";

/** Processor time that a process has used, in milliseconds. The kernel counts a hundred ticks a second. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

test.skipIf(process.platform !== "linux")(
  "at the limit of descriptors it stops accepting and does not spin, and accepts again when there is room",
  async () => {
    await using world = new ProcessHarness(["prlimit", "--nofile=160:160", ...binary()]);
    const { service, url } = await world.serve();
    const token = () => ask(url, "/AccessToken/getXcx", { appid: WX.appId });
    expect((await token()).code).toBe(0);
    const sockets: Socket[] = [];
    // Half a head keeps a connection from being idle.
    for (let n = 0; n < 400; n++) {
      const socket = connect(Number(new URL(url).port), "127.0.0.1");
      socket.on("error", () => undefined);
      socket.write("GET /livez HTTP/1.1\r\n");
      sockets.push(socket);
    }
    await service.find(/"level":"warn","event":"connections.paused"/);
    const before = cpuMs(service.pid);
    await Bun.sleep(2000);
    expect(cpuMs(service.pid) - before).toBeLessThan(400);
    for (const socket of sockets) socket.destroy();
    await service.find(/"event":"connections.resumed"/);
    expect((await token()).code).toBe(0);
    service.signal("SIGTERM");
    expect(await service.exited()).toBe(0);
  },
);

import { readlinkSync } from "node:fs";
import { ask } from "../support/process-harness.ts";
import { comesTrue, type FaultCase, type FaultOptions, must, mustFail, type Outcome } from "./fault-case.ts";
import { appsOf, type FaultApp, FaultHarness, getToken } from "./fault-harness.ts";

const NOTICED_MS = 10_000;
const GETS = 20;

/** What the disk says to which calls: a strace `inject` expression. */
const DISK_FAULTS: readonly { readonly name: string; readonly inject: string }[] = [
  { name: "disk full", inject: "pwrite64,write:error=ENOSPC" },
  { name: "quota exceeded", inject: "pwrite64,write:error=EDQUOT" },
  { name: "I/O error when writing", inject: "pwrite64:error=EIO" },
  { name: "I/O error when syncing", inject: "fsync,fdatasync:error=EIO" },
  { name: "I/O error when reading and writing", inject: "pread64,pwrite64:error=EIO" },
  { name: "file system turned read-only", inject: "pwrite64,ftruncate,openat:error=EROFS" },
];

/** A disk that fails under a running service. */
export function diskCases({ program }: FaultOptions): FaultCase[] {
  return [
    { name: "disk: controls", run: () => unlessMissing(() => controls(program)) },
    ...DISK_FAULTS.map(({ name, inject }) => ({
      name: `disk: ${name}`,
      run: () => unlessMissing(() => failingDisk(program, inject)),
    })),
  ];
}

async function unlessMissing(run: () => Promise<Outcome>): Promise<Outcome> {
  if (!Bun.which("strace")) return { skipped: "strace is not installed (apt-get install strace)" };
  const tried = Bun.spawnSync(["strace", "-e", "trace=none", "true"], { stdout: "ignore", stderr: "ignore" });
  return tried.exitCode === 0 ? run() : { skipped: "strace may not trace here (ptrace is not permitted)" };
}

async function failingDisk(program: readonly string[], inject: string): Promise<Outcome> {
  await using world = new FaultHarness(program, appsOf(2, "stable"));
  const { url, service, living, none } = await begin(world);
  const toldMs = await judgeUnder(world, { url, pid: service.pid, inject, living, none });
  const startedAt = performance.now();
  const isBack = async () => (await ask(url, "/readyz")).status === 200;
  must(await comesTrue(NOTICED_MS, isBack), "it is not ready again although the disk is");
  const readyMs = performance.now() - startedAt;
  must(
    await comesTrue(15_000, async () => (await getToken(url, none)).code === 0),
    "nothing is obtained any more",
  );
  must((await getToken(url, living.app)).value === living.value, "the living credential was lost");
  return {
    figures: `${GETS} served, told in ${Math.round(toldMs)} ms, ready again after ${Math.round(readyMs)} ms`,
  };
}

interface Living {
  readonly app: FaultApp;
  readonly value: string;
}

async function begin(world: FaultHarness) {
  const [app, none] = world.apps;
  if (!app || !none) throw new Error("there are two apps");
  const { service, url } = await world.serve();
  const { value } = await getToken(url, app);
  must((await ask(url, "/readyz")).status === 200, "it is not ready before anything has failed");
  return { service, url, none, living: { app, value } };
}

/** What must hold while the disk fails. Resolves with how long it took until `/readyz` said so, in milliseconds. */
async function judgeUnder(
  world: FaultHarness,
  {
    url,
    pid,
    inject,
    living,
    none,
  }: {
    readonly url: string;
    readonly pid: number;
    readonly inject: string | undefined;
    readonly living: Living;
    readonly none: FaultApp;
  },
): Promise<number> {
  await using _ = await Tracer.attach(pid, inject);
  const startedAt = performance.now();
  let message = "";
  const isTold = async () => {
    const { status, data } = await ask(url, "/readyz");
    const [reason] = (data["reasons"] ?? []) as { part?: string; message?: string }[];
    message = reason?.message ?? "";
    return status === 503 && reason?.part === "database";
  };
  must(await comesTrue(NOTICED_MS / 2, isTold), "/readyz does not say that the database fails");
  const toldMs = performance.now() - startedAt;
  must(message.includes("("), "/readyz does not say what to do");
  for (let round = 0; round < GETS; round++) {
    const got = await getToken(url, living.app);
    must(
      got.code === 0 && got.value === living.value,
      `the living credential is not served: ${got.code} ${got.msg}`,
    );
  }
  const callsBefore = world.tokenCalls();
  const refused = await getToken(url, none);
  must(refused.code === 503, `what can't be kept was answered with ${refused.code} ${refused.msg}`);
  must(world.tokenCalls() <= callsBefore + 1, "a failing disk became a storm");
  must((await ask(url, "/livez")).status === 200, "/livez says that it is dead");
  return toldMs;
}

/** strace, attached to a process, that makes some of its system calls fail until it is disposed of. */
class Tracer implements AsyncDisposable {
  readonly #strace: Bun.Subprocess<"ignore", "ignore", "pipe">;

  private constructor(strace: Bun.Subprocess<"ignore", "ignore", "pipe">) {
    this.#strace = strace;
  }

  /** Without `inject` it only watches. */
  static async attach(pid: number, inject: string | undefined): Promise<Tracer> {
    const calls = inject?.split(":")[0] ?? "pwrite64";
    const injecting = inject === undefined ? [] : ["-e", `inject=${inject}`];
    const database = `${readlinkSync(`/proc/${pid}/cwd`)}/data/accesstoken.db`;
    const files = ["", "-wal"].flatMap((end) => ["-P", database + end]);
    const strace = Bun.spawn(
      ["strace", "-f", "-p", String(pid), "-o", "/dev/null", ...files, "-e", `trace=${calls}`, ...injecting],
      { stdin: "ignore", stdout: "ignore", stderr: "pipe" },
    );
    const reader = strace.stderr.getReader();
    const { value } = await reader.read();
    must(
      value !== undefined && new TextDecoder().decode(value).includes("attached"),
      "strace did not attach",
    );
    reader.releaseLock();
    return new Tracer(strace);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The traced process goes on when its tracer is told to end.
    this.#strace.kill("SIGTERM");
    await this.#strace.exited;
  }
}

async function controls(program: readonly string[]): Promise<Outcome> {
  await using world = new FaultHarness(program, appsOf(2, "stable"));
  const { url, service, living, none } = await begin(world);
  const at = { url, pid: service.pid, living, none };
  const other = { ...living, value: "another" };
  const inject = "pwrite64,write:error=ENOSPC";
  const found = [
    await mustFail("a disk that is sound", () => judgeUnder(world, { ...at, inject: undefined })),
    await mustFail("another value", () => judgeUnder(world, { ...at, inject, living: other })),
  ];
  return { figures: found.join("; ") };
}

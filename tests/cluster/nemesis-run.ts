import { renameSync, writeFileSync } from "node:fs";
import { comesTrue, must, randomFrom } from "../faults/fault-case.ts";
import { fakeTime, hasFakeTime } from "../support/fake-time.ts";
import { PostgresServer } from "../support/postgres-server.ts";
import { ask } from "../support/process-harness.ts";
import { ClusterHarness, type ClusterNode, tokenAt } from "./cluster-harness.ts";
import { type Change, type HistoryEvent, savedIn } from "./nemesis-history.ts";
import { namesOf, type Plan, type PlannedChange, type PlannedFault, type PlanSize } from "./nemesis-plan.ts";
import { IssueBook, RecordingUpstream, secretOf } from "./recording-upstream.ts";

/** `CUT_OFF_AFTER` of the nodes: shorter than some of them are cut. */
export const CUT_OFF_MS = 6000;
/** How often each node is asked for each app, for a key, and whether it is ready. Milliseconds. */
const READ_EVERY_MS = 150;
const KEY_EVERY_MS = 20;
const PROBE_EVERY_MS = 250;
/** Longer than a node is stopped. */
const ANSWER_MS = 20_000;
const TICK_MS = 50;
const STALL_MS = 200;
/** How long a call for a token takes at most. */
const MAX_CALL_MS = 800;
const HEALED_MS = 60_000;

/** What a run is made of beside its seed. */
export interface NemesisOptions extends PlanSize {
  readonly program?: readonly string[];
  /** Another program for the last node. */
  readonly odd?: readonly string[];
}

/** One run: a cluster, its doors to the sandbox, and what is written down. Use it with `await using`. */
export class NemesisRun {
  readonly history: HistoryEvent[] = [];
  readonly #plan: Plan;
  readonly #odd: readonly string[] | undefined;
  readonly #cluster: ClusterHarness;
  readonly #book: IssueBook;
  readonly #doors: readonly RecordingUpstream[];
  readonly #apps: readonly string[];
  readonly #beganAt = performance.now();
  readonly #over = new AbortController();
  readonly #versions = new Map<string, number>();
  #nodes: ClusterNode[] = [];
  #adminKey = "";
  #keys: { readonly id: string; readonly key: string }[] = [];

  private constructor(plan: Plan, cluster: ClusterHarness, odd: readonly string[] | undefined) {
    this.#plan = plan;
    this.#odd = odd;
    this.#cluster = cluster;
    this.#apps = namesOf(plan);
    this.#book = new IssueBook();
    const random = randomFrom(plan.seed);
    this.#doors = plan.faults.map(
      (_, node) =>
        new RecordingUpstream({
          sandbox: cluster.sandbox,
          book: this.#book,
          onCall: (call) => this.history.push({ type: "call", node, ...call }),
          now: () => this.#now(),
          slowness: () => random() * MAX_CALL_MS,
        }),
    );
  }

  /** A cluster that holds the plan's apps, with nothing wrong yet. */
  static async start(plan: Plan, { program, odd }: NemesisOptions): Promise<NemesisRun> {
    const weixinApps = namesOf(plan).map((appId) => ({ appId, secret: secretOf(0) }));
    const server = await PostgresServer.start();
    const how = { server, apps: 0, sandbox: { weixinApps }, ...(program ? { program } : {}) };
    const run = new NemesisRun(plan, await ClusterHarness.create(how), odd);
    await run.#prepare();
    return run;
  }

  /** Does what is planned, asks for everything meanwhile, and says whether all nodes agree in the end. */
  async all(): Promise<boolean> {
    const { faults, restarts, changes, revocations } = this.#plan;
    const watching = [
      this.#watchStalls(),
      ...this.#nodes.flatMap((_, node) => [
        this.#probe(node),
        this.#readKeys(node),
        ...this.#apps.map((app) => this.#readApp(node, app)),
      ]),
    ];
    const startedAt = performance.now();
    const inTime = async <T extends { readonly atMs: number }>(
      planned: readonly T[],
      work: (each: T, index: number) => Promise<unknown>,
    ) => {
      for (const [index, each] of planned.entries()) {
        await Bun.sleep(Math.max(0, startedAt + each.atMs - performance.now()));
        if (performance.now() - startedAt < this.#plan.ms) await work(each, index);
      }
    };
    await Promise.all([
      ...faults.map((each, node) => inTime(each, (fault) => this.#disturb(node, fault))),
      inTime(restarts, (fault) => this.#restart(fault)),
      ...changes.map((each, n) => inTime(each, (change) => this.#change(this.#apps[n]!, change))),
      inTime(revocations, (change, n) => this.#revoke(change, n)),
    ]);
    const isHealed = await this.#healed();
    this.#over.abort();
    await Promise.all(watching);
    for (const [node] of this.#nodes.entries()) this.#readLog(node);
    return isHealed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    for (const { service } of this.#nodes) service.signal("SIGCONT");
    await this.#cluster[Symbol.asyncDispose]();
    for (const door of this.#doors) door[Symbol.dispose]();
    this.#cluster.server.stop();
  }

  #now(): number {
    return performance.now() - this.#beganAt;
  }

  async #prepare(): Promise<void> {
    for (const [node] of this.#plan.faults.entries()) this.#setClock(node, "+0");
    for (const [node] of this.#plan.faults.entries()) this.#nodes.push(await this.#startNode(node));
    this.#adminKey = (await this.#cluster.command("keys", "create", "--admin")).trim();
    for (const app_id of this.#apps) {
      const body = { platform: "weixin", app_id, secret: secretOf(0), mode: this.#plan.mode };
      await this.#done("POST", "/v1/apps", body);
    }
    const grants = [{ apps: ["*"], actions: ["token:read"] }];
    const client = {
      client: "reader",
      environment: "dev",
      delivery: "real",
      policy: { preset: "all" },
      grants,
    };
    await this.#done("POST", "/v1/clients", client);
    for (const [n] of this.#plan.revocations.entries()) {
      const { data } = await this.#done("POST", "/v1/clients/reader/keys", { label: `k${n}` });
      this.#keys.push({ id: String(data["key"]), key: String(data["api_key"]) });
    }
  }

  async #done(method: string, path: string, body: object) {
    const answer = await this.#administer(0, method, path, body);
    must(answer.code === 0, answer.text);
    return answer;
  }

  #administer(node: number, method: string, path: string, body?: object) {
    const headers = { "x-api-key": this.#adminKey, "content-type": "application/json" };
    const signal = AbortSignal.timeout(ANSWER_MS);
    const sent = body ? { body: JSON.stringify(body) } : {};
    return ask(this.#nodes[node]!.url, path, {}, { method, headers, signal, ...sent });
  }

  async #startNode(node: number): Promise<ClusterNode> {
    const env = {
      CUT_OFF_AFTER: String(CUT_OFF_MS / 1000),
      ANONYMOUS_RATE_LIMIT: "0",
      WEIXIN_BASE_URL: this.#doors[node]!.url,
      ...(hasFakeTime ? fakeTime({ file: this.#clockOf(node) }) : {}),
    };
    const isOdd = this.#odd !== undefined && node === this.#plan.nodes - 1;
    const [started] = await this.#cluster.start(1, env, isOdd ? this.#odd : undefined);
    return started!;
  }

  #clockOf(node: number): string {
    return `${this.#cluster.folder}/clock-${node}`;
  }

  /** At once, for whoever reads it meanwhile. */
  #setClock(node: number, offset: string): void {
    writeFileSync(`${this.#clockOf(node)}.new`, `${offset}\n`);
    renameSync(`${this.#clockOf(node)}.new`, this.#clockOf(node));
  }

  async #disturb(node: number, { kind, forMs, offset }: PlannedFault): Promise<void> {
    const { service, line } = this.#nodes[node]!;
    const from = this.#now();
    if (kind === "skew") this.#setClock(node, offset);
    if (kind === "cut") line.cut();
    if (kind === "halt") line.halt();
    if (kind === "stop") service.signal("SIGSTOP");
    if (kind === "kill") service.signal("SIGKILL");
    await Bun.sleep(forMs);
    if (kind === "cut" || kind === "halt") line.restore();
    if (kind === "stop") service.signal("SIGCONT");
    if (kind === "kill") {
      await service.exited();
      this.#readLog(node);
      this.#nodes[node] = await this.#startNode(node);
    }
    this.history.push({ type: "fault", kind, node, from, to: this.#now() });
  }

  async #restart({ kind, forMs }: PlannedFault): Promise<void> {
    const from = this.#now();
    await this.#cluster.server.signal(kind === "crash" ? "SIGQUIT" : "SIGINT");
    await Bun.sleep(forMs);
    await this.#cluster.server.resume();
    this.history.push({ type: "fault", kind, from, to: this.#now() });
  }

  async #change(app: string, { kind, node, forMs }: PlannedChange): Promise<void> {
    const { sandbox } = this.#cluster;
    const path = `/v1/apps/${app}`;
    if (kind === "disable") {
      await this.#ask({ kind, node, of: app, ends: -1 }, "PATCH", path, { disabled: true });
      await Bun.sleep(forMs);
      for (let n = node; !this.#over.signal.aborted; n = (n + 1) % this.#nodes.length) {
        const enable = { kind: "enable", node: n, of: app, ends: -1 } as const;
        if ((await this.#ask(enable, "PATCH", path, { disabled: false })) === 0) return;
        await Bun.sleep(READ_EVERY_MS);
      }
      return;
    }
    const token = kind === "replace" ? await tokenAt(this.#nodes[node]!, app).catch(() => "") : "";
    // Nobody complains about what is no token.
    if (kind === "replace" && this.#book.find(app, token) < 0) return;
    const common = { kind, node, of: app, ends: this.#book.newest(app) };
    sandbox.killTokens(app);
    if (kind === "replace") await this.#complain(node, app, token);
    if (kind === "clear") await this.#ask(common, "DELETE", `${path}/credentials/access_token`);
    if (kind !== "secret") return;
    const secret = (this.#versions.get(app) ?? 0) + 1;
    this.#versions.set(app, secret);
    await this.#ask({ ...common, secret }, "PATCH", path, { secret: secretOf(secret) });
  }

  async #revoke({ kind, node }: PlannedChange, n: number): Promise<void> {
    const { id } = this.#keys[n]!;
    await this.#ask({ kind, node, of: id, ends: -1 }, "DELETE", `/v1/clients/reader/keys/${id}`);
  }

  async #ask(
    change: Omit<Change, "type" | "from" | "to" | "code">,
    method: string,
    path: string,
    body?: object,
  ): Promise<number | undefined> {
    const from = this.#now();
    const answer = await this.#administer(change.node, method, path, body).catch(() => undefined);
    const code = answer === undefined ? {} : { code: answer.code };
    this.history.push({ type: "change", ...change, ...code, from, to: this.#now() });
    return answer?.code;
  }

  async #readApp(node: number, app: string): Promise<void> {
    for (; !this.#over.signal.aborted; await Bun.sleep(READ_EVERY_MS)) await this.#read(node, app);
  }

  async #readKeys(node: number): Promise<void> {
    for (let n = 0; !this.#over.signal.aborted; n++, await Bun.sleep(KEY_EVERY_MS)) {
      const key = this.#keys[n % this.#keys.length];
      if (key) await this.#read(node, this.#apps[n % this.#apps.length]!, key);
    }
  }

  async #read(node: number, app: string, key?: { readonly id: string; readonly key: string }): Promise<void> {
    const from = this.#now();
    const signal = AbortSignal.timeout(ANSWER_MS);
    const headers: Record<string, string> = key ? { "x-api-key": key.key } : {};
    const { url } = this.#nodes[node]!;
    const asked = ask(url, "/AccessToken/getXcx", { appid: app }, { signal, headers });
    const answer = await asked.catch(() => undefined);
    const token = answer?.code === 0 ? String(answer.data["access_token"]) : undefined;
    this.history.push({
      type: "read",
      node,
      app,
      ...(key ? { key: key.id } : {}),
      ...(token === undefined ? {} : { token: this.#book.find(app, token) }),
      ...(answer ? { code: answer.code } : {}),
      from,
      to: this.#now(),
    });
  }

  async #probe(node: number): Promise<void> {
    for (; !this.#over.signal.aborted; await Bun.sleep(PROBE_EVERY_MS)) {
      const from = this.#now();
      const signal = AbortSignal.timeout(ANSWER_MS);
      const status = await ask(this.#nodes[node]!.url, "/readyz", {}, { signal }).then(
        (answer) => answer.status,
        () => 0,
      );
      this.history.push({ type: "probe", node, isReady: status === 200, from, to: this.#now() });
    }
  }

  async #watchStalls(): Promise<void> {
    for (let from = this.#now(); !this.#over.signal.aborted; from = this.#now()) {
      await Bun.sleep(TICK_MS);
      const to = this.#now();
      if (to - from > STALL_MS) this.history.push({ type: "stall", from, to });
    }
  }

  #readLog(node: number): void {
    this.history.push(...savedIn(this.#nodes[node]!.service.stdout, node));
  }

  /** Whether all nodes hand out the same again, which WeChat takes. */
  async #healed(): Promise<boolean> {
    const isHealed = async (app: string) => {
      const tokens = await Promise.all(this.#nodes.map((node) => tokenAt(node, app).catch(() => "")));
      const [token = ""] = tokens;
      if (new Set(tokens).size > 1 || token.startsWith("503 ")) return false;
      if (this.#cluster.sandbox.accepts(token)) return true;
      // It was ended at WeChat for a change that a node refused.
      await this.#complain(0, app, token);
      return false;
    };
    const healed = this.#apps.map((app) => comesTrue(HEALED_MS, () => isHealed(app)));
    return (await Promise.all(healed)).every(Boolean);
  }

  #complain(node: number, app: string, rejected: string) {
    const change = { kind: "replace", node, of: app, ends: this.#book.find(app, rejected) } as const;
    return this.#ask(change, "POST", `/v1/apps/${app}/credentials/access_token/replace`, { rejected });
  }
}

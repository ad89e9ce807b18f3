import { Secret } from "../../src/secret.ts";
import type { SuiteControl } from "../../src/sandbox/suite-control.ts";
import type { Store } from "../../src/store/store.ts";
import { comesTrue, must, randomFrom } from "../faults/fault-case.ts";
import {
  endLeases,
  kill,
  killAgainAndAgain,
  type KillPlan,
  look,
  type Rounds,
  settled,
} from "./kill-cycle.ts";
import { PlatformProcesses, SUITE, TEMPLATE } from "./platform-processes.ts";

const CORPS = 10;
const AT_ONCE = 4;
const MAX_DELAY_MS = 25;
const SERVED_MS = 20_000;
const DELAYED = ["v2/get_permanent_code", "get_permanent_code", "get_auth_info", "get_corp_token"];
const MINT = "/cgi-bin/service/get_suite_token";

/** A corp that may install a suite or have an agency app, and what was promised of it. */
interface Corp {
  readonly corpId: string;
  readonly suiteId: string;
  readonly name: string;
  readonly control: SuiteControl;
  /** Its permanent codes, the oldest first. */
  readonly permanentCodes: string[];
  /** Whether the service has said that it has the permanent code that is valid now, or will have it. */
  isAcknowledged: boolean;
  isStored: boolean;
  isEnded: boolean;
  place: number;
  isTouched: boolean;
}

/** An installation's code. */
interface Code {
  readonly code: string;
  readonly corp: Corp;
  /** How often WeCom was asked with it until the last look. */
  brought: number;
  isSettled: boolean;
  isAcknowledged: boolean;
  readonly again: (url: string) => Promise<boolean>;
}

/**
 * P3: kill -9 while corps install a suite and order agency apps, by push, by redirect and by both, while their secrets are
 * reset and their installations cancelled. Throws `Violation`; resolves with figures.
 *
 * WeCom exchanges a code once and has no list: a permanent code whose answer the killed process had not stored yet is
 * gone until the corp agrees once more. These are counted, and nothing else may be lost.
 */
export async function killSuite(plan: KillPlan): Promise<string> {
  await using world = new PlatformProcesses(plan.program, {
    corps: CORPS,
    // A code that was lost by a kill is asked for with the one before: more often than WeCom would bear.
    switches: { wecomDeadCodes: 100_000 },
  });
  await world.makeAdmin();
  const { service, url } = await world.serve();
  await world.prepare(url);
  const state = await world.linkState(url, SUITE);
  for (const suite of [SUITE, TEMPLATE])
    must((await world.sandbox.suite(suite).pushTicket()).accepted, "the first ticket is not taken");
  await kill(service);
  const run = new SuiteRun(world, state, randomFrom(plan.seed));
  const { hits } = await killAgainAndAgain(world, plan, run);
  return `${plan.kills} kills, ${hits} cut something off; ${await run.finish()}`;
}

class SuiteRun implements Rounds {
  readonly #world: PlatformProcesses;
  readonly #state: string;
  readonly #random: () => number;
  readonly #corps: readonly Corp[];
  readonly #codes: Code[] = [];
  #mints = 0;
  #mayMint = true;
  readonly #figures = { installed: 0, reset: 0, cancelled: 0, tokens: 0, again: 0, gone: 0 };

  constructor(world: PlatformProcesses, state: string, random: () => number) {
    this.#world = world;
    this.#state = state;
    this.#random = random;
    this.#corps = [SUITE, TEMPLATE].flatMap((suiteId) =>
      world.corps.map((corpId) => ({
        ...{ corpId, suiteId, name: `${corpId}_${suiteId}`, control: world.sandbox.suite(suiteId) },
        ...{ permanentCodes: [], place: -1 },
        ...{ isAcknowledged: false, isStored: false, isEnded: false, isTouched: false },
      })),
    );
  }

  begin(url: string): Promise<boolean>[] {
    for (const name of DELAYED) {
      const [endpoint, ms] = [`/cgi-bin/service/${name}`, this.#random() * MAX_DELAY_MS];
      if (this.#random() < 0.6) this.#world.sandbox.inject({ kind: "delay", endpoint, ms, times: 2 });
    }
    const begun = this.#pick(AT_ONCE).map((corp) => this.#act(url, corp));
    if (this.#random() < 0.2)
      begun.push(
        this.#world.sandbox
          .suite(SUITE)
          .pushTicket()
          .then(({ accepted }) => accepted),
      );
    for (const code of this.#codes.filter(({ isAcknowledged, corp }) => !isAcknowledged && !corp.isTouched)) {
      if (this.#random() > 0.7) continue;
      code.corp.isTouched = true;
      begun.push(code.again(url));
    }
    return begun;
  }

  async check(store: Store, round: number): Promise<void> {
    for (const code of this.#codes) await this.#checkCode(store, code, round);
    for (const corp of this.#corps) await this.#checkCorp(store, corp, round);
    for (const corp of this.#pick(AT_ONCE)) await expire(store, corp);
    for (const corp of this.#corps) corp.isTouched = false;
    await this.#checkMints(store, round);
  }

  /** What was acknowledged is served; what was lost comes back when the corp agrees once more. */
  async finish(): Promise<string> {
    await look(this.#world, async (store) => {
      for (const corp of this.#corps) await expire(store, corp);
    });
    endLeases(this.#world);
    const { service, url } = await this.#world.serve();
    await settled(this.#world);
    await look(this.#world, async (store) => {
      for (const code of this.#codes) await this.#checkCode(store, code, -1);
    });
    const installed = this.#corps.filter(({ control, corpId }) => control.permanentCodeOf(corpId));
    const kept = installed.filter(({ isAcknowledged }) => isAcknowledged);
    for (const corp of kept) {
      // A process learns a moment later of what was stored.
      must(await comesTrue(SERVED_MS, () => this.#isServed(url, corp)), `${corp.name} is not served`);
    }
    const missing = installed.filter((corp) => !kept.includes(corp));
    for (const corp of missing) {
      await corp.control.install(corp.corpId, { send: "push" });
      const isServed = await comesTrue(SERVED_MS, () => this.#isServed(url, corp));
      const why = isServed ? "" : (await this.#world.token(url, corp.name)).msg;
      must(isServed, `${corp.name} does not come back: ${why}`);
    }
    await kill(service);
    await look(this.#world, async (store) => {
      for (const { corpId, suiteId, control } of installed) {
        const held = await store.apps.findSecret({ platform: "wecom", appId: corpId, name: suiteId });
        must(held?.secret.reveal() === control.permanentCodeOf(corpId), `${corpId}: an old code is kept`);
      }
    });
    const { installed: all, reset, cancelled, tokens, again, gone } = this.#figures;
    return `${all} installations, ${reset} resets, ${cancelled} ends, ${tokens} tokens, ${again} codes asked about once more after a kill, ${kept.length} acknowledged and served, ${missing.length} installed anew; ${gone} answers of WeCom's went with a killed process, 0 lost otherwise`;
  }

  #pick(count: number): Corp[] {
    const free = this.#corps.filter(({ isTouched }) => !isTouched);
    const picked = Array.from({ length: Math.min(count, free.length) }, () => {
      return free.splice(Math.floor(this.#random() * free.length), 1)[0]!;
    });
    for (const corp of picked) corp.isTouched = true;
    return picked;
  }

  #act(url: string, corp: Corp): Promise<boolean> {
    const isInstalled = corp.control.permanentCodeOf(corp.corpId) !== undefined;
    if (!isInstalled || (!corp.isAcknowledged && this.#random() < 0.5)) return this.#install(url, corp);
    const chance = this.#random();
    if (chance < 0.6) return this.#fetch(url, corp);
    if (chance < 0.7) return corp.control.changeAuth(corp.corpId).then(({ accepted }) => accepted);
    return chance < 0.85 && corp.suiteId === TEMPLATE ? this.#reset(url, corp) : this.#cancel(corp);
  }

  async #install(url: string, corp: Corp): Promise<boolean> {
    const { authCode } = await corp.control.install(corp.corpId, { send: "neither" });
    this.#figures.installed++;
    corp.isEnded = false;
    const push = async () => (await corp.control.pushEvent("create_auth", { AuthCode: authCode })).accepted;
    const back = async (to: string) => {
      // Where its answer went with a killed process, the person is told to begin again. Kills use up what an address may
      // bring; whoever is told to come later has been promised nothing.
      return (await this.#world.comeBack(to, this.#state, authCode)) !== 429;
    };
    const way = corp.suiteId === TEMPLATE ? 0 : this.#random();
    const both = async (to: string) => (await Promise.all([push(), back(to)])).includes(true);
    return this.#bring(url, corp, authCode, way < 0.35 ? push : way < 0.7 ? back : both);
  }

  async #reset(url: string, corp: Corp): Promise<boolean> {
    // The event is sent once for itself, and again like that of an installation.
    const sent = corp.control.resetPermanentCode(corp.corpId);
    this.#figures.reset++;
    corp.isAcknowledged = corp.isStored = false;
    this.#noteCode(corp);
    const { authCode, push } = await sent;
    let isFirst = true;
    return this.#bring(url, corp, authCode, async () => {
      if (isFirst) {
        isFirst = false;
        return push.accepted;
      }
      const { accepted } = await corp.control.pushEvent("reset_permanent_code", { AuthCode: authCode });
      return accepted;
    });
  }

  async #bring(
    url: string,
    corp: Corp,
    code: string,
    bring: (url: string) => Promise<boolean>,
  ): Promise<boolean> {
    this.#noteCode(corp);
    const given: Code = {
      ...{ code, corp, brought: 0, isSettled: false, isAcknowledged: false },
      again: async (to) => {
        const isTaken = await bring(to).catch(() => false);
        if (isTaken) given.isAcknowledged = corp.isAcknowledged = true;
        return isTaken;
      },
    };
    this.#codes.push(given);
    return given.again(url);
  }

  #noteCode({ control, corpId, permanentCodes }: Corp): void {
    const code = control.permanentCodeOf(corpId);
    if (code !== undefined && code !== permanentCodes.at(-1)) permanentCodes.push(code);
  }

  async #cancel(corp: Corp): Promise<boolean> {
    const open = this.#codes.filter((each) => each.corp === corp && !each.isSettled);
    this.#figures.cancelled++;
    corp.isAcknowledged = corp.isStored = false;
    for (const code of open) code.isAcknowledged = code.isSettled = true;
    const { accepted } = await corp.control.cancelAuth(corp.corpId, { isLost: this.#random() < 0.2 });
    corp.isEnded = accepted && open.length === 0;
    return accepted;
  }

  async #fetch(url: string, corp: Corp): Promise<boolean> {
    const got = await this.#world.token(url, corp.name).catch(() => undefined);
    if (!got) return false;
    if (got.code !== 0) {
      must(!corp.isStored, `${corp.name}: ${got.code} ${got.msg}`);
      return true;
    }
    this.#figures.tokens++;
    const isDead = corp.isStored && !this.#world.sandbox.accepts(String(got.data["value"]));
    must(!isDead, `${corp.name}: a dead token is served`);
    return true;
  }

  async #checkCode(store: Store, code: Code, round: number): Promise<void> {
    if (code.isSettled) return;
    const { authorizationCodes } = store;
    const { corp } = code;
    const stored = await authorizationCodes.find(
      authorizationCodes.digestOf(corp.suiteId, new Secret(code.code)),
    );
    const brought = corp.control.timesBrought(code.code);
    must(brought <= code.brought + 1, `round ${round}: one process has asked twice about one code`);
    if (code.brought > 0 && brought > code.brought) this.#figures.again++;
    const wasBrought = code.brought > 0;
    code.brought = brought;
    if (stored === undefined || stored.state === "waiting") return;
    code.isSettled = true;
    if (stored.state === "exchanged" || (await this.#isKept(store, corp))) return;
    must(wasBrought, `round ${round}, ${corp.name}: a code has failed that nobody had used up`);
    const told = (await authorizationCodes.listFailed(Date.now())).map(({ dueAt }) => dueAt);
    must(told.includes(stored.dueAt), `round ${round}, ${corp.name}: nobody is told of what was lost`);
    this.#figures.gone++;
    // Nobody need come with it again.
    code.isAcknowledged = true;
    corp.isAcknowledged = corp.isStored = false;
  }

  async #checkCorp(store: Store, corp: Corp, round: number): Promise<void> {
    const { corpId, suiteId, control, permanentCodes } = corp;
    const held = await store.apps.findSecret({ platform: "wecom", appId: corpId, name: suiteId });
    const where = `round ${round}, ${corp.name}`;
    must(!corp.isEnded || held === undefined, `${where}: what was ended is there again`);
    must(!corp.isStored || held !== undefined, `${where}: a permanent code is lost`);
    if (!held || control.permanentCodeOf(corpId) === undefined) return;
    const place = permanentCodes.indexOf(held.secret.reveal());
    must(place >= corp.place, `${where}: an older permanent code has taken the place of a newer one`);
    corp.place = place;
    corp.isStored = corp.isAcknowledged && place === permanentCodes.length - 1;
  }

  async #checkMints(store: Store, round: number): Promise<void> {
    // The suite's and the template's are counted together.
    const calls = this.#world.sandbox.calls(MINT);
    must(
      this.#mayMint || calls === this.#mints,
      `round ${round}: a suite token was fetched twice in one life`,
    );
    this.#mints = calls;
    const slots = [SUITE, TEMPLATE].map((appId) => ({ platform: "wecom", appId, name: "@suite" }) as const);
    const found = slots.map((slot) => store.credentials.find({ slot, kind: "suite_access_token" }));
    this.#mayMint = (await Promise.all(found)).some(({ credential }) => credential === undefined);
  }

  async #isKept(store: Store, { corpId, suiteId, control }: Corp): Promise<boolean> {
    const held = await store.apps.findSecret({ platform: "wecom", appId: corpId, name: suiteId });
    return held !== undefined && held.secret.reveal() === control.permanentCodeOf(corpId);
  }

  async #isServed(url: string, { name }: Corp): Promise<boolean> {
    const { code, data } = await this.#world.token(url, name);
    return code === 0 && this.#world.sandbox.accepts(String(data["value"]));
  }
}

/** The corp's two hours are over. */
async function expire({ credentials }: Store, { corpId, suiteId }: Corp): Promise<void> {
  const slot = { platform: "wecom", appId: corpId, name: suiteId } as const;
  await credentials.clear([{ name: { slot, kind: "access_token" }, isCurrent: true }]);
}

import { Secret } from "../../src/secret.ts";
import type { Store } from "../../src/store/store.ts";
import { comesTrue, must } from "../faults/fault-case.ts";
import { endLeases, kill, look, type Rounds, settled } from "./kill-cycle.ts";
import { COMPONENT, type PlatformProcesses } from "./platform-processes.ts";

/** How many accounts something happens to in a round, and how many tokens come to their end before it. */
export const AT_ONCE = 4;
const MAX_DELAY_MS = 25;
const SERVED_MS = 20_000;
const DELAYED = ["api_query_auth", "api_authorizer_token", "api_get_authorizer_info", "api_component_token"];
const MINT = "/cgi-bin/component/api_component_token";
const LIST = "/cgi-bin/component/api_get_authorizer_list";

/** An account, and what was promised of it. */
interface Account {
  readonly appId: string;
  readonly name: string;
  /** Whether the service has said that it has the authorization that stands now. */
  isAcknowledged: boolean;
  /** Whether it was seen in the store since then. */
  isStored: boolean;
  /** Whether the service has said that it knows that there is none any more. */
  isEnded: boolean;
  /** The place of the refresh token that was stored last, among all of the account's; those from `since` on are of the authorization that is valid. */
  place: number;
  since: number;
  /** Whether something happens to it in this round. */
  isTouched: boolean;
}

/** A code that was given, and how often WeChat was asked about it until the last look. */
interface Code {
  readonly code: string;
  readonly account: Account;
  brought: number;
  isSettled: boolean;
  /** Brings it once more, as WeChat and people do where they got no answer. */
  readonly again: (url: string) => Promise<boolean>;
  isAcknowledged: boolean;
}

/** What happens to the accounts of a component while it is killed, what was acknowledged of that, and whether it is there. */
export class ComponentRun implements Rounds {
  readonly #world: PlatformProcesses;
  readonly #state: string;
  readonly #random: () => number;
  readonly #accounts: readonly Account[];
  readonly #codes: Code[] = [];
  #mints = 0;
  /** Whether a component token may be minted once in this round. */
  #mayMint = true;
  readonly #figures = { authorized: 0, withdrawn: 0, refreshed: 0, again: 0, minted: 0, refused: 0 };

  constructor(world: PlatformProcesses, state: string, random: () => number) {
    this.#world = world;
    this.#state = state;
    this.#random = random;
    this.#accounts = world.accounts.map((appId) => ({
      ...{ appId, name: `${appId}_${COMPONENT}`, place: -1, since: 0 },
      ...{ isAcknowledged: false, isStored: false, isEnded: false, isTouched: false },
    }));
  }

  begin(url: string): Promise<boolean>[] {
    const { sandbox, component } = this.#world;
    // For half of the rounds a refresh token that was not stored is good for nothing more.
    sandbox.switches.refreshOverlapMs = this.#random() < 0.5 ? 300_000 : 0;
    for (const name of DELAYED) {
      const [endpoint, ms] = [`/cgi-bin/component/${name}`, this.#random() * MAX_DELAY_MS];
      if (this.#random() < 0.6) sandbox.inject({ kind: "delay", endpoint, ms, times: 2 });
    }
    const begun = this.#pick(AT_ONCE).map((account) => this.#act(url, account));
    if (this.#random() < 0.2) begun.push(component.pushTicket().then(({ accepted }) => accepted));
    const open = this.#codes.filter(({ isAcknowledged, account }) => !isAcknowledged && !account.isTouched);
    for (const code of open) {
      if (!this.#isGood(code.account) || this.#random() > 0.7) continue;
      code.account.isTouched = true;
      begun.push(code.again(url));
    }
    return begun;
  }

  async check(store: Store, round: number): Promise<void> {
    for (const account of this.#accounts) await this.#checkAccount(store, account, round);
    for (const code of this.#codes) await this.#checkCode(store, code, round);
    await this.#checkMints(store, round);
    for (const account of this.#pick(AT_ONCE)) await expire(store, account);
    for (const account of this.#accounts) account.isTouched = false;
  }

  /** Every token has come to its end. */
  async expireAll(store: Store): Promise<void> {
    for (const account of this.#accounts) await expire(store, account);
  }

  /** Everything that was acknowledged is served, and WeChat's list brings the rest. */
  async finish(): Promise<string> {
    const { component, sandbox } = this.#world;
    sandbox.switches.refreshOverlapMs = 300_000;
    endLeases(this.#world);
    const { service, url } = await this.#world.serve();
    await settled(this.#world);
    const listed = sandbox.calls(LIST);
    const isAuthorized = ({ appId }: Account) => component.component.authorizer(appId).isAuthorized;
    const acknowledged = this.#accounts.filter((each) => isAuthorized(each) && each.isAcknowledged);
    for (const account of acknowledged) await this.#mustServe(url, account);
    must(sandbox.calls(LIST) === listed, "the list was needed for what had been acknowledged");
    await this.#world.administer(url, `/v1/platforms/${COMPONENT}/reconcile`, "POST");
    const known = this.#accounts.filter(({ appId }) => component.refreshTokenOf(appId) !== undefined);
    for (const account of known) await this.#mustServe(url, account);
    for (const account of this.#accounts.filter((each) => !isAuthorized(each))) {
      const { code } = await this.#world.token(url, account.name);
      must(code !== 0, `${account.appId}: a token of a withdrawn authorization is served`);
    }
    const untold = this.#accounts.filter((each) => isAuthorized(each) && !known.includes(each));
    for (const account of untold) {
      await component.authorize(account.appId);
      must(await comesTrue(SERVED_MS, () => this.#isServed(url, account)), `${account.appId} is not served`);
    }
    await kill(service);
    await look(this.#world, (store) => this.expireAll(store));
    const { service: last, url: lastUrl } = await this.#world.serve();
    for (const account of this.#accounts.filter(isAuthorized)) await this.#mustServe(lastUrl, account);
    await kill(last);
    await look(this.#world, async (store) => {
      for (const account of this.#accounts) await this.#checkNewest(store, account);
    });
    const { authorized, withdrawn, refreshed, again, minted, refused } = this.#figures;
    return `${authorized} authorizations, ${withdrawn} ends, ${refreshed} tokens, ${this.#codes.length} codes, ${again} of them asked about once more after a kill, ${refused} told a person so, ${minted} component tokens, ${acknowledged.length} acknowledged and served, ${untold.length} never told; 0 lost`;
  }

  /** Some accounts to which nothing happens yet. */
  #pick(count: number): Account[] {
    const free = this.#accounts.filter(({ isTouched }) => !isTouched);
    const picked = Array.from({ length: Math.min(count, free.length) }, () => {
      return free.splice(Math.floor(this.#random() * free.length), 1)[0]!;
    });
    for (const account of picked) account.isTouched = true;
    return picked;
  }

  /** Whether the account has authorized the component, as WeChat sees it. */
  #isGood({ appId }: Account): boolean {
    return this.#world.component.component.authorizer(appId).isAuthorized;
  }

  #tokensOf({ appId }: Account): readonly string[] {
    return this.#world.component.component.authorizer(appId).refreshTokens;
  }

  async #act(url: string, account: Account): Promise<boolean> {
    if (!this.#isGood(account)) return this.#authorize(url, account);
    const chance = this.#random();
    if (chance < 0.65) return this.#refresh(url, account);
    return chance < 0.85 ? this.#change(url, account) : this.#withdraw(account);
  }

  async #authorize(url: string, account: Account): Promise<boolean> {
    const { code, sendPush } = await this.#world.component.authorize(account.appId, { send: "neither" });
    this.#figures.authorized++;
    account.isEnded = false;
    const push = async () => (await sendPush()).accepted;
    const back = async (to: string) => {
      const status = await this.#world.comeBack(to, this.#state, code);
      // The code was used up before a kill, and so was every other that could be meant: who asks is told, and the account is here.
      if (status === 502) this.#figures.refused++;
      // Anything else is no word on the code: who is told so comes once more.
      return status === 200 || status === 502;
    };
    const way = this.#random();
    const both = async (to: string) => (await Promise.all([push(), back(to)])).includes(true);
    return this.#bring(url, account, code, way < 0.35 ? push : way < 0.7 ? back : both);
  }

  async #change(url: string, account: Account): Promise<boolean> {
    const newRefreshToken = this.#random() < 0.5;
    const { component } = this.#world;
    const { code } = await component.updateAuthorization(account.appId, { newRefreshToken, push: false });
    const fields = { AuthorizerAppid: account.appId, AuthorizationCode: code };
    const push = async () => (await component.pushEvent("updateauthorized", fields)).accepted;
    return this.#bring(url, account, code, push);
  }

  async #bring(
    url: string,
    account: Account,
    code: string,
    bring: (url: string) => Promise<boolean>,
  ): Promise<boolean> {
    const given: Code = {
      ...{ code, account, brought: 0, isSettled: false, isAcknowledged: false },
      again: async (to) => {
        const isTaken = await bring(to).catch(() => false);
        // It may have been withdrawn meanwhile, or given once more.
        if (isTaken) given.isAcknowledged = account.isAcknowledged = true;
        return isTaken;
      },
    };
    this.#codes.push(given);
    return given.again(url);
  }

  async #withdraw(account: Account): Promise<boolean> {
    const isPushed = this.#random() < 0.8;
    this.#figures.withdrawn++;
    const open = this.#codes.filter((each) => each.account === account && !each.isSettled);
    account.isAcknowledged = account.isStored = false;
    account.since = this.#tokensOf(account).length;
    for (const code of open) code.isAcknowledged = true;
    const push = await this.#world.component.unauthorize(account.appId, { push: isPushed });
    account.isEnded = push?.accepted === true && open.length === 0;
    return push?.accepted ?? true;
  }

  async #refresh(url: string, account: Account): Promise<boolean> {
    const got = await this.#world.token(url, account.name).catch(() => undefined);
    if (!got) return false;
    if (got.code !== 0) {
      must(!account.isStored, `${account.appId}: ${got.code} ${got.msg}`);
      return true;
    }
    this.#figures.refreshed++;
    // What a code has ended whose answer went with a killed process is known when that code is dealt with.
    const isOpen = this.#codes.some((code) => code.account === account && !code.isSettled);
    if (account.isStored && !isOpen)
      must(
        this.#world.sandbox.accepts(String(got.data["value"])),
        `${account.appId}: a dead token is served`,
      );
    return true;
  }

  async #checkAccount(store: Store, account: Account, round: number): Promise<void> {
    const { appId } = account;
    const held = await store.apps.findSecret({ platform: "weixin", appId, name: COMPONENT });
    const where = `round ${round}, ${appId}`;
    must(!account.isEnded || held === undefined, `${where}: what was ended is there again`);
    must(!account.isStored || held !== undefined, `${where}: a refresh token is lost`);
    if (!held || !this.#isGood(account)) return;
    const place = this.#tokensOf(account).indexOf(held.secret.reveal());
    // Those of an authorization that has ended are worth nothing, whichever of them is there.
    const isOlder = place < account.place && account.place >= account.since;
    must(!isOlder, `${where}: an older refresh token has taken the place of a newer one`);
    account.place = place;
    // Where its end was lost, it may still be that of an authorization before.
    account.isStored = account.isAcknowledged && place >= account.since;
  }

  async #checkCode(store: Store, code: Code, round: number): Promise<void> {
    if (code.isSettled) return;
    const { authorizationCodes } = store;
    const stored = await authorizationCodes.find(
      authorizationCodes.digestOf(COMPONENT, new Secret(code.code)),
    );
    const brought = this.#world.component.component.timesBrought(code.code);
    must(brought <= code.brought + 1, `round ${round}: one process has asked twice about one code`);
    if (code.brought > 0 && brought > code.brought) this.#figures.again++;
    code.brought = brought;
    code.isSettled = stored !== undefined && stored.state !== "waiting";
  }

  async #checkMints(store: Store, round: number): Promise<void> {
    const { sandbox } = this.#world;
    const mints = sandbox.calls(MINT) - this.#mints;
    must(mints <= (this.#mayMint ? 1 : 0), `round ${round}: ${mints} component tokens in one life`);
    this.#mints += mints;
    this.#figures.minted += mints;
    const slot = { platform: "weixin", appId: COMPONENT, name: "@component" } as const;
    const name = { slot, kind: "component_access_token" } as const;
    if (this.#random() < 0.1) await store.credentials.clear([{ name, isCurrent: true }]);
    const { credential } = await store.credentials.find(name);
    this.#mayMint = credential === undefined;
  }

  async #checkNewest(store: Store, { appId }: Account): Promise<void> {
    const held = await store.apps.findSecret({ platform: "weixin", appId, name: COMPONENT });
    const newest = this.#world.component.refreshTokenOf(appId);
    must(
      newest === undefined || held?.secret.reveal() === newest,
      `${appId}: it is not the newest that is kept`,
    );
  }

  async #isServed(url: string, { name }: Account): Promise<boolean> {
    const { code, data } = await this.#world.token(url, name);
    return code === 0 && this.#world.sandbox.accepts(String(data["value"]));
  }

  async #mustServe(url: string, account: Account): Promise<void> {
    const { code, msg, data } = await this.#world.token(url, account.name);
    must(code === 0, `${account.appId} is not served: ${code} ${msg}`);
    must(
      this.#world.sandbox.accepts(String(data["value"])),
      `${account.appId}: a dead token is served at last`,
    );
  }
}

/** The account's two hours are over. */
async function expire({ credentials }: Store, { appId }: Account): Promise<void> {
  const slot = { platform: "weixin", appId, name: COMPONENT } as const;
  await credentials.clear([{ name: { slot, kind: "access_token" }, isCurrent: true }]);
}

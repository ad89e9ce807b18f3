import type { Slot } from "../../src/apps/app.ts";
import { CredentialCache } from "../../src/credentials/credential-cache.ts";
import { CredentialManager } from "../../src/credentials/manager.ts";
import { Pacing } from "../../src/credentials/pacing.ts";
import { EventBus } from "../../src/events.ts";
import { Login, type WecomLoginKind } from "../../src/login/login.ts";
import { Sandbox } from "../../src/sandbox/sandbox.ts";
import { Secret } from "../../src/secret.ts";
import { callbackIpProbe, wecomTokenSource } from "../../src/upstream/token-sources.ts";
import { HttpClient } from "../../src/upstream/http-client.ts";
import { wecomLogin, weixinLogin } from "../../src/upstream/login-exchanges.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { weixinSlot } from "../support/slots.ts";
import { StoreFolder } from "../support/store-folder.ts";
import { PATIENT, WECOM, WECOM_CONTACTS, WX } from "../support/harness.ts";

const ALICE = "192.0.2.1";
const WEIXIN_SLOT: Slot = { ...weixinSlot(WX.appId), secret: new Secret(WX.secret) };
export const WECOM_SLOT = wecomSlot(WECOM);
export const CONTACTS_SLOT = wecomSlot(WECOM_CONTACTS);

/** The six logins, by what a test asks them with. */
export const LOGINS = {
  oauth: {
    path: "/sns/oauth2/access_token",
    ask: (login: Login, code: string) => login.oauth(WEIXIN_SLOT, new Secret(code), ALICE),
  },
  miniProgram: {
    path: "/sns/jscode2session",
    ask: (login: Login, code: string) => login.miniProgram(WEIXIN_SLOT, new Secret(code), ALICE),
  },
  wecomUser: wecomVerb("/cgi-bin/auth/getuserinfo", "wecom_user"),
  wecomUserOldForm: wecomVerb("/cgi-bin/user/getuserinfo", "wecom_user_old_form"),
  wecomSchoolUser: wecomVerb("/cgi-bin/school/getuserinfo", "wecom_school_user"),
  wecomMiniProgram: wecomVerb("/cgi-bin/miniprogram/jscode2session", "wecom_mini_program"),
};

function wecomVerb(path: string, kind: WecomLoginKind) {
  const ask = (login: Login, code: string, slot = WECOM_SLOT, caller = ALICE) =>
    login.wecom(kind, slot, new Secret(code), caller);
  return { path, ask };
}

/** Logins as the service joins them, in as many processes as wanted, against a sandbox of their own. */
export class LoginHarness {
  readonly clock = new ManualClock();
  readonly folder = new StoreFolder(this.clock);
  readonly sandbox = Sandbox.start({
    clock: this.clock,
    weixinApps: [WX],
    wecomApps: [WECOM, WECOM_CONTACTS],
  });

  constructor() {
    this.clock.advance(60_000);
  }

  /** A process of its own on the one database. */
  async process(): Promise<{ login: Login; tokens: CredentialManager }> {
    const { clock, sandbox } = this;
    const {
      changes,
      credentials: store,
      pacing: pacingStore,
      loginAnswers: answers,
    } = await this.folder.open();
    const events = new EventBus();
    const pacing = new Pacing({ store: pacingStore, clock, events });
    const http = new HttpClient({
      baseUrls: { weixin: sandbox.weixinUrl, wecom: sandbox.wecomUrl },
      proxyUrl: undefined,
      clock,
      events,
      calls: { count: () => undefined },
      attemptMs: PATIENT.upstreamMs.attempt,
    });
    const tokens = new CredentialManager({
      source: wecomTokenSource(http),
      store,
      pacing,
      probe: callbackIpProbe(http),
      memory: new CredentialCache(store, changes, clock),
      clock,
      events,
      holder: crypto.randomUUID(),
      deadlineMs: PATIENT.upstreamMs.total,
    });
    const login = new Login({
      exchange: weixinLogin(http),
      wecomExchange: wecomLogin(http),
      tokens,
      directory: { platformSlot: () => undefined },
      answers,
      pacing,
      clock,
      deadlineMs: PATIENT.upstreamMs.total,
    });
    return { login, tokens };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.folder[Symbol.dispose]();
    await this.sandbox.stop();
  }
}

function wecomSlot({ corpId, agent, secret }: typeof WECOM): Slot {
  const identity = { platform: "wecom", appId: corpId, name: agent } as const;
  return { ...identity, secret: new Secret(secret), tokenMode: "stable", configured: true };
}

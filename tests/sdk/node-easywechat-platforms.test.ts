import { afterAll, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { OpenPlatform, OpenWork, ServerRequest } from "node-easywechat";
import {
  COMPONENT,
  CORP,
  MINI,
  OFFICIAL,
  type PlatformClient,
  type PlatformTarget,
  PlatformWorld,
  PROVIDER,
  SUITE,
} from "./platform-world.ts";
import { DELIVERIES } from "./sdk-harness.ts";

const at = await PlatformWorld.create();
afterAll(() => at[Symbol.asyncDispose]());

type Message = Readonly<Record<string, string>>;
/** As much of the SDK's server as both modules have; its types differ. */
interface EventServer {
  with(handler: (message: { toObject(): Message }, next: (message: unknown) => unknown) => unknown): unknown;
  serve(): Promise<{ getBody(): Buffer }>;
}

/** A program whose events the SDK's own server verifies, decrypts and handles, as its README shows it. */
class Program<App extends OpenPlatform | OpenWork> {
  /** What arrived, decrypted. */
  readonly messages: Message[] = [];
  /** Its application, a new one for each request: the SDK's server keeps what it has verified. */
  readonly app: () => App;
  readonly #server: Bun.Server<undefined>;

  private constructor(server: Bun.Server<undefined>, app: () => App) {
    this.#server = server;
    this.app = app;
  }

  static async start<App extends OpenPlatform | OpenWork>(
    platform: string,
    client: PlatformClient,
    make: (target: PlatformTarget) => App,
  ): Promise<Program<App>> {
    const ready = Promise.withResolvers<Program<App>>();
    const server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: async (request) => {
        const { pathname, search } = new URL(request.url);
        const body = Buffer.from(await request.arrayBuffer());
        const program = await ready.promise;
        return program.#receive(new ServerRequest("POST", pathname + search, {}, body));
      },
    });
    const target = await at.target(platform, client, `${server.url.origin}/event`);
    const program = new Program<App>(server, () => make(target));
    ready.resolve(program);
    return program;
  }

  /** The event of that type that arrives, or has arrived, last. */
  async event(infoType: string): Promise<Message> {
    const find = () => this.messages.findLast((message) => message["InfoType"] === infoType);
    await at.until(() => find() !== undefined);
    return find() ?? {};
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop(true);
  }

  async #receive(request: ServerRequest): Promise<Response> {
    const app = this.app();
    app.setRequest(request);
    const server = app.getServer() as unknown as EventServer;
    server.with((message, next) => {
      this.messages.push({ ...message.toObject() });
      return next(message);
    });
    return new Response((await server.serve()).getBody().toString());
  }
}

/** The options that its README documents, and no others. */
function options({ folder }: PlatformClient) {
  const file_cache = { path: folder, dirMode: 0o700, fileMode: 0o600, ext: ".cache" };
  return { http: { baseURL: at.url }, file_cache };
}

/** Everything that a program and its SDK have sent, received or kept. */
function everythingSeenBy(
  { folder }: PlatformClient,
  { messages }: Program<OpenPlatform | OpenWork>,
): string {
  const files = readdirSync(folder).map((name) => readFileSync(join(folder, name), "latin1"));
  return [at.heard, JSON.stringify(messages), ...files].join("\n");
}

test.each(DELIVERIES)(
  "OpenPlatform: events, component token, code, refresh, calls and logins on behalf of accounts, %s",
  async (delivery) => {
    const { sandbox, clock } = at.world;
    // Two events of one second are one.
    clock.advance(1000);
    const client = await at.client(`component-${delivery}`, delivery);
    const make = ({ token, aesKey }: PlatformTarget) =>
      new OpenPlatform({
        ...{ app_id: COMPONENT, secret: client.apiKey, token, aes_key: aesKey },
        ...options(client),
      });
    await using program = await Program.start(COMPONENT, client, make);
    const queries = sandbox.calls("/cgi-bin/component/api_query_auth");

    // Its own handler takes the ticket, which is none: nobody needs it.
    expect(await at.component.pushTicket()).toMatchObject({ accepted: true, body: "success" });
    const { ComponentVerifyTicket: ticket = "" } = await program.event("component_verify_ticket");
    expect(ticket).toStartWith("ticket@@@");
    const app = program.app();
    await at.until(
      async () =>
        (await app
          .getVerifyTicket()
          .getTicket()
          .catch(() => "")) === ticket,
    );
    const token = await app.getComponentAccessToken().getToken();
    expect(sandbox.accepts(token)).toBe(delivery === "real");
    const { pre_auth_code } = await app.createPreAuthorizationCode();
    expect(pre_auth_code).toStartWith("preauthcode@@@");

    const official = await at.component.authorize(OFFICIAL);
    expect(official.push).toMatchObject({ accepted: true, body: "success" });
    const authorized = await program.event("authorized");
    expect(authorized).toMatchObject({ AppId: COMPONENT, AuthorizerAppid: OFFICIAL });
    expect(authorized["AuthorizationCode"]).not.toBe(official.code);
    const authorization = await app.getAuthorization(authorized["AuthorizationCode"] ?? "");
    expect(authorization.getAppId()).toBe(OFFICIAL);
    const refreshToken = authorization.getRefreshToken();
    expect(refreshToken).toStartWith("refreshtoken@@@");
    expect(sandbox.accepts(await authorization.getAccessToken().getToken())).toBe(delivery === "real");
    // The browser brings WeChat's own code a moment later, and again.
    for (const code of [official.code, official.code]) {
      expect((await app.getAuthorization(code)).getAppId()).toBe(OFFICIAL);
    }
    expect(sandbox.calls("/cgi-bin/component/api_query_auth") - queries).toBe(1);

    const refreshed = await app.refreshAuthorizerToken(OFFICIAL, refreshToken);
    expect(refreshed).toMatchObject({ authorizer_refresh_token: expect.stringMatching(/^refreshtoken@@@/) });
    const account = await app.getOfficialAccountWithRefreshToken(OFFICIAL, refreshToken);
    const call = await account.getClient().get("/cgi-bin/getcallbackip");
    expect(call.toObject<object>()).toHaveProperty("ip_list");

    await at.component.authorize(MINI);
    await at.until(() => program.messages.at(-1)?.["AuthorizerAppid"] === MINI);
    const mini = await app.getAuthorization((await program.event("authorized"))["AuthorizationCode"] ?? "");
    const program2 = await app.getMiniAppWithRefreshToken(MINI, mini.getRefreshToken());
    const session = await program2.getUtils().code2Session(`sandbox-code-${delivery}`);
    expect(session).toMatchObject({
      openid: expect.stringMatching(/^o/),
      session_key: expect.stringMatching(/.{24}/),
    });

    const seen = everythingSeenBy(client, program);
    const secrets = [OFFICIAL, MINI].map((id) => at.component.refreshTokenOf(id) ?? "");
    for (const secret of [...secrets, at.component.component.latestTicket() ?? ""]) {
      expect(secret).not.toBe("");
      expect(seen).not.toContain(secret);
    }
    await at.component.unauthorize(OFFICIAL);
    expect(await program.event("unauthorized")).toMatchObject({ AuthorizerAppid: OFFICIAL });
    const over = await app.refreshAuthorizerToken(OFFICIAL, refreshToken).catch(String);
    expect(over).toContain("61003");
  },
);

test.each(DELIVERIES)(
  "OpenWork: events, suite and provider token, permanent code, corp token, calls, tickets and logins, %s",
  async (delivery) => {
    const { sandbox, clock } = at.world;
    clock.advance(1000);
    const client = await at.client(`suite-${delivery}`, delivery);
    const { apiKey } = client;
    const make = ({ token, aesKey }: PlatformTarget) =>
      new OpenWork({
        ...{ corp_id: PROVIDER, provider_secret: apiKey, suite_id: SUITE, suite_secret: apiKey },
        ...{ token, aes_key: aesKey, ...options(client) },
      });
    await using program = await Program.start(SUITE, client, make);

    expect((await at.suite().pushTicket()).accepted).toBe(true);
    await program.event("suite_ticket");
    const app = program.app();
    await at.until(
      async () =>
        (await app
          .getSuiteTicket()
          .getTicket()
          .catch(() => "")) !== "",
    );
    const suiteToken = await app.getSuiteAccessToken().getToken();
    expect(sandbox.accepts(suiteToken)).toBe(delivery === "real");
    expect(sandbox.accepts(await app.getProviderAccessToken().getToken())).toBe(delivery === "real");
    // It sends the provider's token along with the suite's.
    expect(await app.createPreAuthorizationCode()).toHaveProperty("pre_auth_code");

    const { authCode, push } = await at.suite().install(CORP, { send: "push", state: "s1" });
    expect(push?.accepted).toBe(true);
    const created = await program.event("create_auth");
    expect(created).toMatchObject({ SuiteId: SUITE, State: "s1" });
    expect(created["AuthCode"]).not.toBe(authCode);
    const api = app.getClient();
    const asSuite = { params: { suite_access_token: suiteToken } };
    const exchange = async (path: string) => {
      const answer = await api.postJson(path, { auth_code: created["AuthCode"] }, asSuite);
      return answer.toObject<{ permanent_code: string; auth_corp_info: { corpid: string } }>();
    };
    const { permanent_code: code, auth_corp_info } = await exchange("/cgi-bin/service/v2/get_permanent_code");
    expect(auth_corp_info.corpid).toBe(CORP);
    expect((await exchange("/cgi-bin/service/get_permanent_code")).permanent_code).toBeString();

    const corp = await app.getAuthorizerAccessToken(CORP, code);
    expect(sandbox.accepts(await corp.getToken())).toBe(delivery === "real");
    expect((await app.getAuthorization(CORP, code)).getCorpId()).toBe(CORP);
    const corpApi = await app.getAuthorizerClient(CORP, code);
    expect((await corpApi.get("/cgi-bin/getcallbackip")).toObject<object>()).toHaveProperty("ip_list");
    expect(await (await app.getJsApiTicket(CORP, code)).getTicket()).toBeString();

    const login = { params: { ...asSuite.params, code: `sandbox-code-${delivery}` } };
    const user = await api.get("/cgi-bin/service/auth/getuserinfo3rd", login);
    expect(user.toObject()).toMatchObject({ corpid: CORP, userid: expect.stringMatching(/^user-/) });

    const permanentCode = at.suite().permanentCodeOf(CORP) ?? "";
    expect(permanentCode).not.toBe("");
    expect(everythingSeenBy(client, program)).not.toContain(permanentCode);
    await at.suite().cancelAuth(CORP);
    expect(await program.event("cancel_auth")).toMatchObject({ AuthCorpId: CORP });
  },
);

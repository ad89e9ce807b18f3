import { createClient, type WantedClient } from "../support/access-harness.ts";
import { AnsweringServer, httpAnswer, type Responder } from "../support/answering-server.ts";
import { CORP, WECOM, Harness, type WorldOptions, WX } from "../support/harness.ts";

/** The public names of the two apps that tests call. */
export const WX_APP = WX.appId;
export const WECOM_APP = `${CORP}_${WECOM.agent}`;

/** What came back of a call, as its caller reads it. */
export interface CallAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** Undefined where the answer is no JSON or says none. */
  readonly errcode: number | undefined;
  readonly errmsg: string;
}

/** What a test may set about its gateway. */
export interface GatewayOptions extends WorldOptions {
  /** Default: a client of production, with real tokens and every path. */
  readonly client?: Partial<WantedClient>;
}

/** Everything that a program may do with any app. */
export const ALL_ACTIONS = [
  "token:read",
  "token:clear",
  "token:refresh",
  "ticket:read",
  "login",
  "api:call",
] as const;

/** A service with one client, in front of the sandbox or of a server of the test's own. */
export class GatewayHarness {
  readonly world: Harness;
  /** The client's API key. */
  readonly key: string;

  private constructor(world: Harness, key: string) {
    this.world = world;
    this.key = key;
  }

  static async create({ client, ...options }: GatewayOptions = {}): Promise<GatewayHarness> {
    const environment = { ANONYMOUS: "off", ...options.environment };
    const world = await Harness.create({ ...options, environment });
    const grants = [{ apps: ["*"], actions: ALL_ACTIONS }];
    return new GatewayHarness(world, await createClient(world, { name: "program", grants, ...client }));
  }

  get url(): string {
    return this.world.service.url;
  }

  get sandbox(): Harness["sandbox"] {
    return this.world.sandbox;
  }

  /** An access token as an SDK fetches it with the client's key, or with another key or a secret. */
  async token(app = WX_APP, secret = this.key): Promise<string> {
    const { text } =
      app === WX_APP
        ? await this.send(`/cgi-bin/token?grant_type=client_credential&appid=${app}&secret=${secret}`)
        : await this.send(`/cgi-bin/gettoken?corpid=${CORP}&agentid=${WECOM.agent}&corpsecret=${secret}`);
    const { access_token: token } = JSON.parse(text) as { access_token?: string };
    if (token === undefined) throw new Error(`no token: ${text}`);
    return token;
  }

  /** The real token that stands, as an administrator of the machine sees it. */
  async realToken(app = WX_APP): Promise<string> {
    const { data } = await this.world.administer(`/v1/apps/${app}/credentials/access_token`);
    return String(data["value"]);
  }

  /** Sends what it is told to. */
  async send(path: string, init: RequestInit = {}): Promise<CallAnswer> {
    return answerOf(await fetch(this.url + path, init));
  }

  /** POSTs JSON. */
  post(path: string, body: unknown, init: RequestInit = {}): Promise<CallAnswer> {
    return this.send(path, { method: "POST", body: JSON.stringify(body), ...init });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.world[Symbol.asyncDispose]();
  }
}

/** Reads an answer whole. */
async function answerOf(response: Response): Promise<CallAnswer> {
  const { status, headers } = response;
  const text = Buffer.from(await response.arrayBuffer()).toString("latin1");
  try {
    const { errcode, errmsg } = JSON.parse(Buffer.from(text, "latin1").toString()) as Partial<CallAnswer>;
    return { status, headers, text, errcode, errmsg: errmsg ?? "" };
  } catch {
    return { status, headers, text, errcode: undefined, errmsg: "" };
  }
}

/**
 * As `GatewayHarness`, in front of a server that answers every call byte by byte as `respond` says. It hands out
 * `real_access_token_1`, `real_access_token_2` and so on, and knows the last one alone.
 */
export async function rawGatewayWorld(respond: Responder | Uint8Array, options: GatewayOptions = {}) {
  const state = { issued: 0 };
  const calls: string[] = [];
  const upstream = await AnsweringServer.start((request) => {
    const { text, socket } = request;
    const [, path = ""] = text.split(" ", 2);
    const token = `real_access_token_${Math.max(1, state.issued)}`;
    if (/^\/cgi-bin\/(stable_token|gettoken)/.test(path)) {
      state.issued += 1;
      const issued = { errcode: 0, access_token: `real_access_token_${state.issued}`, expires_in: 7200 };
      socket.write(httpAnswer(JSON.stringify(issued)));
    } else if (path.startsWith("/cgi-bin/getcallbackip")) {
      const verdict = path.endsWith(`=${token}`) ? { ip_list: [] } : { errcode: 40001, errmsg: "invalid" };
      socket.write(httpAnswer(JSON.stringify(verdict)));
    } else {
      calls.push(text);
      if (typeof respond === "function") respond(request);
      else socket.write(respond);
    }
  });
  const environment = { WEIXIN_BASE_URL: upstream.url, WECOM_BASE_URL: upstream.url, ...options.environment };
  const it = await GatewayHarness.create({ ...options, environment });
  const dispose = async () => {
    await it[Symbol.asyncDispose]();
    await upstream[Symbol.asyncDispose]();
  };
  /** The token that every call from now on finds dead. */
  const killToken = () => void (state.issued += 1);
  return { it, calls, upstream, killToken, [Symbol.asyncDispose]: dispose };
}

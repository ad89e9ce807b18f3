import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Action } from "../access/client.ts";
import { loadConfig, portOfEnvironment } from "../config.ts";
import { Api, apiPath, requestHeaders } from "./api.ts";
import { ALL_APPS } from "./argument-values.ts";
import type { NewClient } from "./client.ts";
import { type ExitCode, stopSignal } from "./exit.ts";
import { SAMPLE_VARIABLES, SAMPLE_WECOM_APP, SAMPLE_WEIXIN_APP, startSandbox } from "./sandbox.ts";

const WEIXIN = SAMPLE_WEIXIN_APP.appId;
const WECOM = `${SAMPLE_WECOM_APP.corpId}_${SAMPLE_WECOM_APP.agent}`;
const ACTIONS: readonly Action[] = ["token:read", "ticket:read", "ticket:sign", "login", "api:call"];

/** Three clients of different environments, and what each of them shows. */
const CLIENTS = {
  admin: { client: "admin", environment: "admin", grants: [{ apps: [ALL_APPS], actions: ["admin"] }] },
  prod: {
    client: "shop-prod",
    environment: "prod",
    grants: [{ apps: [WEIXIN, WECOM], actions: ACTIONS }],
    delivery: "real",
  },
  dev: { client: "shop-dev", environment: "dev", grants: [{ apps: [WEIXIN, WECOM], actions: ACTIONS }] },
} as const satisfies Record<string, NewClient>;

type Keys = Readonly<Record<keyof typeof CLIENTS, string>>;

/**
 * `accesstoken demo`: the service on `port`, or on the environment's `PORT`, against a sandbox of its own, until a signal.
 *
 * It reads nothing else of the environment, and no `.env` file, so real secrets play no part in it, and leaves nothing behind,
 * also when it can't start.
 */
export async function runDemo(port: number | undefined): Promise<ExitCode> {
  const stopping = stopSignal();
  const sandbox = startSandbox(0, 0);
  let folder: string | undefined;
  try {
    folder = mkdtempSync(join(tmpdir(), "accesstoken-demo-"));
    const config = loadConfig({
      ENV_FILE: "",
      PORT: port === undefined ? portOfEnvironment() : String(port),
      DATABASE_URL: `file:${join(folder, "accesstoken.db")}`,
      WEIXIN_BASE_URL: sandbox.weixinUrl,
      WECOM_BASE_URL: sandbox.wecomUrl,
      WEIXIN_OPEN_BASE_URL: sandbox.weixinUrl,
      WECOM_LOGIN_BASE_URL: sandbox.wecomUrl,
      ...SAMPLE_VARIABLES,
    });
    const { startService } = await import("../service.ts");
    const service = await startService(config);
    const keys = await makeKeys((request) => service.handle(request));
    console.log(introduction(service.url, sandbox.weixinUrl, keys));
    await service.stop(await stopping);
  } finally {
    await sandbox.stop();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  }
  return 0;
}

/** Makes the clients with a key each. `handle` answers as to an administrator. */
async function makeKeys(handle: (request: Request) => Promise<Response>): Promise<Keys> {
  const api = new Api({
    send: async (request) =>
      handle(
        new Request(`http://localhost${request.path}`, {
          method: request.method,
          headers: requestHeaders(request),
          body: JSON.stringify(request.body),
        }),
      ),
    close: async () => {},
  });
  const keyOf = async (body: NewClient) => {
    await api.send({ method: "POST", path: "/v1/clients", body });
    const path = apiPath`/v1/clients/${body.client}/keys`;
    return (await api.send<{ api_key: string }>({ method: "POST", path, body: {} })).data.api_key;
  };
  return {
    admin: await keyOf(CLIENTS.admin),
    prod: await keyOf(CLIENTS.prod),
    dev: await keyOf(CLIENTS.dev),
  };
}

function introduction(url: string, sandboxUrl: string, keys: Keys): string {
  const { appId } = SAMPLE_WEIXIN_APP;
  const { corpId } = SAMPLE_WECOM_APP;
  const json = `-H 'Content-Type: application/json' -d`;
  const token = `${url}/cgi-bin/token?grant_type=client_credential&appid=${appId}`;
  return `
演示已启动，微信由本机沙箱模拟。在另一个终端里逐行试试：
The demo is running; WeChat is simulated on this machine. In another terminal, try line by line:

# 公众号/小程序token  access token
curl '${url}/AccessToken/getXcx?appid=${appId}'

# 企业微信token  WeCom access token
curl '${url}/AccessToken/getQyapi?corpid=${corpId}'

# JS-SDK签名  JS-SDK signature
curl -X POST '${url}/JsSDK/getJsApiSign' ${json} '{"wx_app_id":"${appId}","url":"https://example.com/page?id=1"}'

# 小程序登录  Mini Program login: openid
curl "${url}/xcx/jscode2session?appid=${appId}&code=sandbox-code-$RANDOM$RANDOM"

# 网页授权  web OAuth
curl -X POST '${url}/AccessToken/getOauthAccessToken' ${json} "{\\"code\\":\\"sandbox-code-$RANDOM$RANDOM\\",\\"wx_app_id\\":\\"${appId}\\"}"

# 清除token，下次获取时重新请求  forget the token
curl '${url}/AccessToken/clearXcx?appid=${appId}'

每个环境一个密钥，填在SDK原来写AppSecret的地方：
Each environment has a key of its own; an SDK takes it in the place of the AppSecret:

  admin      ${keys.admin}
  shop-prod  ${keys.prod}
  shop-dev   ${keys.dev}

# shop-prod 设为 --delivery real：微信的真实token，路径和应答与微信相同  shop-prod has --delivery real: WeChat's own token, at WeChat's own path
curl '${token}&secret=${keys.prod}'

# shop-dev 与新客户端的默认设置相同：虚拟token，只有本服务接受  shop-dev is as new clients are: a virtual token, which this service alone takes
curl '${token}&secret=${keys.dev}'

# 开发环境不能给真实用户发消息  dev may not send messages to real users
curl -X POST '${url}/gateway/${appId}/cgi-bin/message/custom/send' -H 'Authorization: Bearer ${keys.dev}' ${json} '{"touser":"o1","msgtype":"text","text":{"content":"hi"}}'

# 管理员：谁做了什么  an administrator: who did what
curl '${url}/v1/audit?limit=3' -H 'Authorization: Bearer ${keys.admin}'

# 沙箱收到的调用  what reached the sandbox
curl '${sandboxUrl}/sandbox/state'

控制台，用admin的密钥登录  the console, by the key of admin: ${url}/console/
文档 Documents: ${url}/docs/
接口文档 API: ${url}/swagger
Ctrl+C 停止 stops it.
`;
}

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig, portOfEnvironment } from "../config.ts";
import { ServiceError } from "../errors.ts";
import { Sandbox } from "../sandbox/sandbox.ts";
import { type ExitCode, stopSignal } from "./exit.ts";

/** A WeChat app that the sandbox knows when it is started from the command line. Its secret is no secret. */
const SAMPLE_WEIXIN_APP = {
  appId: "wx0000000000000001",
  secret: "00000000000000000000000000000001",
};

/** A WeCom application that the sandbox knows when it is started from the command line. */
const SAMPLE_WECOM_APP = {
  corpId: "ww0000000000000001",
  agent: "1000002",
  secret: "sample-wecom-secret-00000000000000000000001",
};

/** The variables under which the service holds the sample apps' secrets. */
const SAMPLE_VARIABLES: Readonly<Record<string, string>> = {
  [`WEIXIN_SECRET_${SAMPLE_WEIXIN_APP.appId}`]: SAMPLE_WEIXIN_APP.secret,
  [`WECOM_SECRET_${SAMPLE_WECOM_APP.corpId}_${SAMPLE_WECOM_APP.agent}`]: SAMPLE_WECOM_APP.secret,
};

/** `accesstoken sandbox`: runs the stand-in for WeChat on `port` and the one for WeCom on the next, until a signal. */
export async function runSandbox(port: number): Promise<ExitCode> {
  const stopping = stopSignal();
  const sandbox = startSandbox(port, port === 0 ? 0 : port + 1);
  console.log("微信与企业微信的模拟已启动。在服务的 .env 中加入：");
  console.log("The sandbox is running. Put this into the service's .env:\n");
  console.log(`WEIXIN_BASE_URL=${sandbox.weixinUrl}\nWECOM_BASE_URL=${sandbox.wecomUrl}`);
  for (const [name, value] of Object.entries(SAMPLE_VARIABLES)) console.log(`${name}=${value}`);
  console.log(`\n状态 State: curl ${sandbox.weixinUrl}/sandbox/state`);
  console.log(
    "用户code以 sandbox-code- 开头即可，每个只能用一次 (a user's code starts with sandbox-code- and works once)",
  );
  await stopping;
  await sandbox.stop();
  return 0;
}

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
      ...SAMPLE_VARIABLES,
    });
    const { startService } = await import("../service.ts");
    const service = await startService(config);
    console.log(introduction(service.url, sandbox.weixinUrl));
    await service.stop(await stopping);
  } finally {
    await sandbox.stop();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  }
  return 0;
}

function introduction(url: string, sandboxUrl: string): string {
  const { appId } = SAMPLE_WEIXIN_APP;
  const { corpId } = SAMPLE_WECOM_APP;
  const json = `-H 'Content-Type: application/json' -d`;
  return `
演示已启动，微信由本机沙箱模拟。在另一个终端里逐行试试：
The demo is running; WeChat is simulated on this machine. In another terminal, try line by line:

# 公众号/小程序token  access token
curl '${url}/AccessToken/getXcx?appid=${appId}'

# 企业微信token  WeCom access token
curl '${url}/AccessToken/getQyapi?corpid=${corpId}'

# 与微信同路径同应答，SDK只需换域名  WeChat's own path and answer: an SDK needs another host, no more
curl '${url}/cgi-bin/token?grant_type=client_credential&appid=${appId}'

# JS-SDK签名  JS-SDK signature
curl -X POST '${url}/JsSDK/getJsApiSign' ${json} '{"wx_app_id":"${appId}","url":"https://example.com/page?id=1"}'

# 小程序登录  Mini Program login: openid
curl "${url}/xcx/jscode2session?appid=${appId}&code=sandbox-code-$RANDOM$RANDOM"

# 网页授权  web OAuth
curl -X POST '${url}/AccessToken/getOauthAccessToken' ${json} "{\\"code\\":\\"sandbox-code-$RANDOM$RANDOM\\",\\"wx_app_id\\":\\"${appId}\\"}"

# 清除token，下次获取时重新请求  forget the token
curl '${url}/AccessToken/clearXcx?appid=${appId}'

# 沙箱收到的调用  what reached the sandbox
curl '${sandboxUrl}/sandbox/state'

接口文档 Documentation: ${url}/swagger
Ctrl+C 停止 stops it.
`;
}

/** A sandbox with the sample apps. Throws `invalid_config` when a port is taken. */
function startSandbox(weixinPort: number, wecomPort: number): Sandbox {
  try {
    return Sandbox.start({
      weixinApps: [SAMPLE_WEIXIN_APP],
      wecomApps: [SAMPLE_WECOM_APP],
      weixinPort,
      wecomPort,
    });
  } catch {
    throw new ServiceError(
      "invalid_config",
      `--port: 端口${weixinPort}或${wecomPort}已被占用，请换一个 (port ${weixinPort} or ${wecomPort} is in use; choose another)`,
    );
  }
}

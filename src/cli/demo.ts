import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig } from "../config.ts";
import { startService } from "../service.ts";
import { type ExitCode, stopSignal } from "./exit.ts";
import { SAMPLE_VARIABLES, SAMPLE_WECOM_APP, SAMPLE_WEIXIN_APP } from "./app-commands.ts";
import { startSandbox } from "./sandbox.ts";

/**
 * `accesstoken demo`: the service on `port` against a sandbox of its own, until a signal.
 *
 * It reads neither the environment nor a `.env` file, so real secrets play no part in it, and leaves nothing behind.
 */
export async function runDemo(port: number): Promise<ExitCode> {
  const stopping = stopSignal();
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-demo-"));
  const sandbox = startSandbox(0, 0);
  try {
    const config = loadConfig({
      ENV_FILE: "",
      PORT: String(port),
      DATABASE_URL: `file:${join(folder, "accesstoken.db")}`,
      WEIXIN_BASE_URL: sandbox.weixinUrl,
      WECOM_BASE_URL: sandbox.wecomUrl,
      ...SAMPLE_VARIABLES,
    });
    const service = await startService(config);
    console.log(introduction(service.url, sandbox.weixinUrl));
    await service.stop(await stopping);
  } finally {
    await sandbox.stop();
    rmSync(folder, { recursive: true, force: true });
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

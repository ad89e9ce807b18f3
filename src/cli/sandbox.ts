import { ServiceError } from "../errors.ts";
import { BOT_KINDS, defaultBots } from "../sandbox/bots.ts";
import type { SandboxComponent, SandboxProvider } from "../sandbox/sandbox-settings.ts";
import { Sandbox } from "../sandbox/sandbox.ts";
import { type ExitCode, stopSignal } from "./exit.ts";

/** A WeChat app that the sandbox knows when it is started from the command line. Its secret is no secret. */
export const SAMPLE_WEIXIN_APP = {
  appId: "wx0000000000000001",
  secret: "00000000000000000000000000000001",
};

/** A WeCom application that the sandbox knows when it is started from the command line. */
export const SAMPLE_WECOM_APP = {
  corpId: "ww0000000000000001",
  agent: "1000002",
  secret: "sample-wecom-secret-00000000000000000000001",
};

/** Token and EncodingAESKey of all its third-party platforms. */
const PUSH_KEY = { token: "sandboxtoken", aesKey: "accesstokenSandboxKey0123456789abcdefghijkI" };

/** A third-party platform of WeChat, with an account of each kind to authorize it. */
const SAMPLE_COMPONENT: SandboxComponent = {
  appId: "wxc000000000000001",
  secret: "0000000000000000000000000000000c",
  ...PUSH_KEY,
  authorizers: [
    { appId: "wxa000000000000001", name: "沙箱公众号", userName: "gh_000000000001", kind: "official" },
    { appId: "wxa000000000000002", name: "沙箱小程序", userName: "gh_000000000002", kind: "miniprogram" },
  ],
};

const SAMPLE_CORP = { corpId: "wwcustomer0000001", name: "沙箱企业" };

/** A service provider of WeCom with a third-party app and a template of agency apps, and a corp to install them. */
const SAMPLE_PROVIDER: SandboxProvider = {
  corpId: "wwprovider00000001",
  secret: "sample-provider-secret-00000000000000000001",
  suites: [
    {
      suiteId: "ww5000000000000001",
      secret: "sample-suite-secret-00000000000000000000001",
      ...PUSH_KEY,
      corps: [{ ...SAMPLE_CORP, agentId: 1_000_010 }],
    },
    {
      suiteId: "dk5000000000000001",
      secret: "sample-template-secret-00000000000000000001",
      ...PUSH_KEY,
      corps: [{ ...SAMPLE_CORP, agentId: 1_000_020 }],
    },
  ],
};

/** The third-party platforms that the sandbox knows when it is started from the command line. */
export const SAMPLE_PLATFORMS = { components: [SAMPLE_COMPONENT], providers: [SAMPLE_PROVIDER] };

/** The variables under which the service holds the sample apps' secrets. */
export const SAMPLE_VARIABLES: Readonly<Record<string, string>> = {
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
  console.log(`WEIXIN_OPEN_BASE_URL=${sandbox.weixinUrl}\nWECOM_LOGIN_BASE_URL=${sandbox.wecomUrl}`);
  for (const [name, value] of Object.entries(SAMPLE_VARIABLES)) console.log(`${name}=${value}`);
  console.log(`\n状态 State: curl ${sandbox.weixinUrl}/sandbox/state`);
  console.log(
    "用户code以 sandbox-code- 开头即可，每个只能用一次 (a user's code starts with sandbox-code- and works once)",
  );
  console.log(
    `\n第三方平台 (third-party platforms): Token ${PUSH_KEY.token}, EncodingAESKey ${PUSH_KEY.aesKey}`,
  );
  console.log(`component ${SAMPLE_COMPONENT.appId}: ${SAMPLE_COMPONENT.secret}`);
  console.log(`provider ${SAMPLE_PROVIDER.corpId}: ${SAMPLE_PROVIDER.secret}`);
  for (const { suiteId, secret } of SAMPLE_PROVIDER.suites) console.log(`suite ${suiteId}: ${secret}`);
  console.log(
    "\n告警用的群机器人，收到的消息见 /sandbox/bots (group bots for alarms; what they get: /sandbox/bots)",
  );
  for (const kind of BOT_KINDS) {
    const secret = defaultBots[kind].secret;
    const signed = secret === undefined ? "" : `  加签密钥 (secret): ${secret}`;
    console.log(`${kind}: ${sandbox.bots.urlOf(kind, sandbox.wecomUrl)}${signed}`);
  }
  await stopping;
  await sandbox.stop();
  return 0;
}

/** A sandbox with the sample apps. Throws `invalid_config` when a port is taken. */
export function startSandbox(weixinPort: number, wecomPort: number): Sandbox {
  try {
    return Sandbox.start({
      weixinApps: [SAMPLE_WEIXIN_APP],
      wecomApps: [SAMPLE_WECOM_APP],
      ...SAMPLE_PLATFORMS,
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

import { join } from "node:path";
import { warnOfFilePermissions } from "../store/key-file.ts";
import { UPSTREAM_HOSTS } from "../upstream/addresses.ts";
import { usageError } from "./arguments.ts";
import type { ExitCode } from "./exit.ts";
import {
  CA,
  CA_KEY,
  makeProxyCertificates,
  type ProxyCertificates,
  renewProxyCertificate,
  SERVER,
  SERVER_KEY,
} from "./proxy-certificates.ts";
import { localTime, plainText, type Terminal } from "./terminal.ts";

/** The options of `accesstoken proxy-ca`. */
export interface ProxyCaOptions {
  readonly folder: string;
  /** Whether the CA that is there makes a new server certificate. */
  readonly renews: boolean;
  /** Whether a new CA takes the place of the one that is there. */
  readonly isForced: boolean;
}

/**
 * Makes what TLS in front of the service needs, for SDKs whose host can't be changed, and says what to do with it.
 *
 * @throws {ServiceError} `invalid_parameter` when it was used wrongly.
 */
export async function runProxyCa(
  { folder, renews, isForced }: ProxyCaOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  if (renews && isForced)
    throw usageError(
      "--renew 与 --force 不能同时使用 (--renew and --force can't be used together: one keeps the CA, the other replaces it)",
    );
  const made = renews
    ? await renewProxyCertificate(folder, terminal.clock.now())
    : await makeProxyCertificates(folder, isForced);
  for (const line of warnOfFilePermissions([join(made.folder, CA_KEY)])) terminal.tell(line);
  const text = renews ? renewedText(made) : madeText(made);
  await terminal.print(text[terminal.language]);
  return 0;
}

function renewedText({ folder, serverEndsAt, caEndsAt }: ProxyCertificates) {
  const path = plainText(join(folder, SERVER));
  const [end, caEnd] = [localTime(serverEndsAt), localTime(caEndsAt)];
  return {
    en: `Renewed: ${path}, until ${end}. Have nginx read it: nginx -s reload. The service's own proxy reads it at a restart.\nThe CA lasts until ${caEnd}; callers have nothing to do.\n`,
    zh: `已续期：${path}，有效期至 ${end}。让nginx重新加载：nginx -s reload。服务自带的代理在重启后生效。\nCA有效期至 ${caEnd}；调用方无需改动。\n`,
  };
}

function madeText({ folder, serverEndsAt, caEndsAt }: ProxyCertificates) {
  const path = (name: string) => plainText(join(folder, name));
  const files = (ca: string, caKey: string, server: string) =>
    [
      `  ${path(CA)}      ${ca}`,
      `  ${path(CA_KEY)}      ${caKey}`,
      `  ${path(SERVER)}  ${server}`,
      `  ${path(SERVER_KEY)}`,
    ].join("\n");
  const [end, caEnd] = [localTime(serverEndsAt), localTime(caEndsAt)];
  const trust = `   cp ca.pem /usr/local/share/ca-certificates/accesstoken-proxy.crt && update-ca-certificates
   cp ca.pem /etc/pki/ca-trust/source/anchors/accesstoken-proxy.pem && update-ca-trust
   Node    NODE_EXTRA_CA_CERTS=ca.pem
   Python  REQUESTS_CA_BUNDLE, SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
   Java    keytool -importcert -keystore truststore.p12 -alias accesstoken-proxy -file ca.pem`;
  const nginx = `   server_name ${UPSTREAM_HOSTS.join(" ")};
   ssl_certificate ${path(SERVER)};
   ssl_certificate_key ${path(SERVER_KEY)};`;
  return {
    en: `A CA that is good for WeChat's and WeCom's API hosts alone:

${files(`the CA, until ${caEnd}: the only file that callers get`, "its key: keep it to this machine", `the server's certificate, until ${end}, and its key`)}

1. nginx, on the service's machine:
${nginx}
2. Each machine that calls trusts the CA:
${trust}
   PHP, Ruby, Go and curl use the system's list, by the first line (Debian) or the second (RHEL).
3. There, not on the service's own machine, /etc/hosts has the address of nginx for these names.
   Or without nginx and hosts: CONNECT_PORT=3128 CONNECT_CERTIFICATES=${plainText(folder)} for the service,
   HTTPS_PROXY=http://127.0.0.1:3128 for the program.
4. Once a month: accesstoken proxy-ca --renew --out ${plainText(folder)} && nginx -s reload

docs/transparent-proxy.md has the whole of it, with HTTPS_PROXY, and what it does not cover.
`,
    zh: `已生成仅对微信与企业微信接口域名有效的CA：

${files(`CA证书，有效期至 ${caEnd}：只有这个文件要交给调用方`, "CA私钥：不要离开本机", `服务器证书，有效期至 ${end}，及其私钥`)}

1. 服务所在机器上的nginx：
${nginx}
2. 每台调用方机器信任该CA：
${trust}
   PHP、Ruby、Go和curl使用系统的证书列表，用第一行（Debian）或第二行（RHEL）加入。
3. 在调用方机器（而不是服务所在机器）的 /etc/hosts 中，把这些域名指向nginx的地址。
   或者不用nginx和hosts：服务设置 CONNECT_PORT=3128 CONNECT_CERTIFICATES=${plainText(folder)}，
   程序设置 HTTPS_PROXY=http://127.0.0.1:3128。
4. 每月执行一次：accesstoken proxy-ca --renew --out ${plainText(folder)} && nginx -s reload

完整说明（含 HTTPS_PROXY 以及不适用的情况）见 docs/zh/transparent-proxy.md。
`,
  };
}

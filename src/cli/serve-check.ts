import { type Config, loadConfig } from "../config.ts";
import { ConnectProxy } from "../http/connect-proxy.ts";
import { reservePort } from "../http/server.ts";
import { filesInDoubt } from "../service.ts";
import { checkPostgresStart, checkSqliteStart, type StartOutlook } from "../store/start-check.ts";
import type { Text } from "./arguments.ts";
import type { ExitCode } from "./exit.ts";
import { halfOf, plainText, type Terminal } from "./terminal.ts";

/**
 * `accesstoken serve --check`: all that a start does before it serves, without making or changing anything, and what it
 * would do. For `newDatabase` see `UnlockOptions`.
 *
 * @throws {ServiceError} what the start would throw.
 */
export async function runServeCheck(newDatabase: boolean, terminal: Terminal): Promise<ExitCode> {
  const config = loadConfig();
  const outlook = await checkStore(config, newDatabase, terminal);
  await reservePort(config);
  if (config.connectProxy) {
    const proxy = new ConnectProxy(() => new Response(null, { status: 503 }), config.connectProxy);
    await proxy.start();
    await proxy.stop();
  }
  for (const message of [...config.warnings, ...filesInDoubt(config)])
    terminal.tell(plainText(halfOf(message, terminal.language)));
  const lines = linesOf(outlook, config).map((text) => `${text[terminal.language]}\n`);
  await terminal.print(lines.join(""));
  return 0;
}

function checkStore(
  { databasePath: path, postgres, masterKey, masterKeyFile, nextKeyFile }: Config,
  newDatabase: boolean,
  { clock }: Terminal,
): Promise<StartOutlook> {
  const shared = { masterKey, masterKeyFile, clock, onKeyCreated: () => undefined };
  return postgres
    ? checkPostgresStart({ ...shared, nextKeyFile, address: postgres.address })
    : checkSqliteStart({ ...shared, path: path ?? "", newDatabase });
}

function linesOf(
  { isNew, makesKey, pending, secrets }: StartOutlook,
  { apps, databasePath, masterKeyFile, host, port }: Config,
): Text[] {
  const place = databasePath ?? "PostgreSQL";
  const names = pending.map((name) => name.slice(0, 4)).join(", ");
  const copies =
    databasePath === undefined ? { en: "", zh: "" } : { en: ", after a copy", zh: "（之前先复制）" };
  const lines: (Text | false)[] = [
    {
      en: `The configuration is valid: ${apps.length} apps in it, ${host}:${port} is free.`,
      zh: `配置有效：其中有${apps.length}个应用，${host}:${port} 可用。`,
    },
    isNew
      ? { en: `A start would make a new database: ${place}`, zh: `启动时会新建数据库：${place}` }
      : {
          en: `The key fits the database ${place}, and ${secrets} secrets of apps open.`,
          zh: `主密钥与数据库 ${place} 匹配，${secrets}个应用的secret均可解密。`,
        },
    makesKey && {
      en: `A start would make a new master key: ${masterKeyFile}`,
      zh: `启动时会生成主密钥：${masterKeyFile}`,
    },
    pending.length > 0 && {
      en: `A start would apply migrations ${names}${copies.en}.`,
      zh: `启动时会执行迁移 ${names}${copies.zh}。`,
    },
  ];
  return lines.filter((line) => line !== false);
}

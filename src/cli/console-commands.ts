import { isWebOrigin } from "../access/origin.ts";
import type { LinkData } from "../api/console-schema.ts";
import { Api } from "./api.ts";
import { CLIENT } from "./argument-values.ts";
import { type Arguments, bilingual, type CommandSpec, option, usageError } from "./arguments.ts";
import { type ExitCode, showFailure } from "./exit.ts";
import { LocalTransport } from "./local.ts";
import { halfOf, localTime, plainText, type Terminal } from "./terminal.ts";

const URL_OPTION = option(
  "--url <origin>",
  "Where the browser reaches the service, as https://tokens.example.com; default: this machine's address and port",
  "浏览器访问本服务的地址，如 https://tokens.example.com；默认为本机的监听地址和端口",
);

const NOTES = [
  bilingual(
    "For the service's own machine alone, also while the service runs. The link works once.",
    "只能在服务所在的机器上执行，服务运行中也可以。链接只能使用一次。",
  ),
];

/** `accesstoken console …`: links that open the console. */
export const CONSOLE_COMMANDS: readonly CommandSpec[] = [
  {
    words: ["console", "setup"],
    meaning: bilingual(
      "Print a link that makes the first administrator, within 15 minutes",
      "输出创建首个管理员的控制台链接，15分钟内有效",
    ),
    notes: NOTES,
    options: [URL_OPTION],
    run: (args, terminal) => showLink(args, terminal, undefined),
  },
  {
    words: ["console", "login"],
    meaning: bilingual(
      "Print a link that signs a client in to the console, within five minutes",
      "输出让某个客户端登录控制台的链接，5分钟内有效",
    ),
    notes: NOTES,
    positionals: [{ ...CLIENT, isOptional: true, meaning: bilingual("Default: admin", "客户端，默认admin") }],
    options: [URL_OPTION],
    run: (args, terminal) => showLink(args, terminal, args.find("client") ?? "admin"),
  },
];

async function showLink(args: Arguments, terminal: Terminal, client: string | undefined): Promise<ExitCode> {
  const origin = args.find("url")?.replace(/\/(console\/?)?$/, "");
  if (origin !== undefined && !isWebOrigin(origin))
    throw usageError(
      "--url: 应为源，如 https://tokens.example.com (must be an origin, as https://tokens.example.com)",
    );
  const ignore = () => undefined;
  const service = new LocalTransport({
    ...{ mayCreate: false, newDatabase: false, onCreate: ignore, onKeyCreated: ignore },
  });
  try {
    const api = new Api(service, (hint) => terminal.tell(plainText(halfOf(hint, terminal.language))));
    const body = client === undefined ? {} : { client };
    const { data } = await api.send<LinkData>({
      ...{ method: "POST", path: "/v1/console/links", body },
    });
    const end = localTime(data.expires_at) ?? "";
    await terminal.print(`${origin ?? service.origin}${data.path}\n`);
    terminal.tell(
      bilingual(
        `Open it in a browser before ${end}. It works once. From elsewhere: by https (--url), or by an SSH tunnel as localhost`,
        `请在 ${end} 之前用浏览器打开，只能使用一次。从其他机器访问须用https（--url），或经SSH隧道以localhost打开`,
      )[terminal.language],
    );
    return 0;
  } catch (error) {
    return await showFailure(error, terminal, false);
  } finally {
    await service.close();
  }
}

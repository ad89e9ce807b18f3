import type { Platform } from "../../errors.ts";
import { type Finding, fine, Skipped, warning } from "../../ops/doctor.ts";
import { ticketMissingAfterMs, ticketRemedy } from "../../ops/platform-states.ts";
import { type Setup, someOf } from "./setup.ts";

const PLATFORMS = `SELECT a.platform, a.app_id, c.app, t.issued_at FROM apps a
  LEFT JOIN callbacks c ON c.app = a.app_id
  LEFT JOIN credentials t ON t.platform = a.platform AND t.app_id = a.app_id AND t.slot = a.agent
    AND t.kind IN ('component_verify_ticket', 'suite_ticket')
  WHERE a.source = 'managed' AND a.is_disabled = 0 AND a.agent IN ('@component', '@suite') ORDER BY a.app_id`;

const LOST = `SELECT app_id, agent FROM apps
  WHERE source = 'managed' AND is_disabled = 0 AND third_party LIKE '%"lostAt":%' ORDER BY app_id`;

/** Whether each third-party platform gets its tickets, and its accounts still have it authorized. */
export async function checkPlatforms(setup: Setup): Promise<Finding[]> {
  const examination = await setup.current;
  const platforms = (await examination.rows(PLATFORMS)).map(([platform, id, callback, ticketAt]) => ({
    platform: platform as Platform,
    id: String(id),
    hasCallback: callback !== null,
    ticketAt: ticketAt === null ? -Infinity : Number(ticketAt),
  }));
  if (platforms.length === 0) throw new Skipped("没有第三方平台 (there is no third-party platform)");
  const now = setup.clock.now();
  const found = [fine(someOf(platforms.map(({ id }) => id)))];
  for (const each of platforms) {
    const { id, hasCallback, ticketAt } = each;
    if (!hasCallback)
      found.push(
        warning(
          `平台 ${id} 没有配置接收推送，收不到ticket (the platform ${id} has no callbacks, and gets no ticket)`,
          `执行 accesstoken callbacks set ${id}，并在其后台填写URL、Token和EncodingAESKey (accesstoken callbacks set ${id}, and enter URL, Token and EncodingAESKey in its console)`,
        ),
      );
    else if (now - ticketAt >= ticketMissingAfterMs(each))
      found.push(
        warning(`平台 ${id} 收不到ticket (no ticket reaches the platform ${id})`, ticketRemedy(each)),
      );
  }
  const lost = (await examination.rows(LOST)).map((row) => row.join("_"));
  if (lost.length > 0)
    found.push(
      warning(
        `授权已失效：${someOf(lost)} (their authorization is lost: ${someOf(lost)})`,
        "在控制台的平台页生成链接，请账号管理员重新授权 (make a link on the platform's page of the console, and have their administrators authorize again)",
      ),
    );
  return found;
}

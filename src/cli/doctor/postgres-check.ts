import { failure, type Finding, fine, warning } from "../../ops/doctor.ts";
import { type Setup, someOf } from "./setup.ts";

/** With fewer the next process may not get its own. */
const MIN_CONNECTIONS = 20;
const MIN_VERSION = 130_000;

/** Whether PostgreSQL can be used as the service uses it. */
export async function checkPostgres(setup: Setup): Promise<Finding[]> {
  const { postgres } = setup;
  const refusal = await setup.refusal;
  if (refusal !== undefined) return [refused(refusal)];
  const facts = await postgres.facts();
  const found = [
    fine(
      `版本 ${facts.version}，剩余连接 ${facts.connectionsLeft} (version ${facts.version}, ${facts.connectionsLeft} connections left)`,
    ),
  ];
  const primary = "连接主库：修正DATABASE_URL (connect to the primary: correct DATABASE_URL)";
  if (facts.isStandby)
    return [failure("该PostgreSQL是只读备库 (this PostgreSQL is a read-only standby)", primary)];
  if (facts.isReadOnly)
    return [
      failure(
        "default_transaction_read_only为on (default_transaction_read_only is on)",
        "对该角色或数据库关闭它 (turn it off for the role or the database)",
      ),
    ];
  if (facts.version < MIN_VERSION)
    found.push(
      failure(
        "PostgreSQL版本低于13 (PostgreSQL is older than 13)",
        "升级到13或更高版本 (upgrade it to 13 or later)",
      ),
    );
  if (facts.missingRights.length > 0)
    found.push(
      failure(
        `角色缺少权限：${someOf(facts.missingRights)} (the role lacks rights: ${someOf(facts.missingRights)})`,
        "使该角色成为数据库的所有者，或GRANT相应权限 (make it the owner of the database, or GRANT them)",
      ),
    );
  if (facts.connectionsLeft < MIN_CONNECTIONS)
    found.push(
      warning(
        `只剩 ${facts.connectionsLeft} 个连接，每个进程最多需要9个 (${facts.connectionsLeft} connections are left, and each process takes up to 9)`,
        "提高max_connections，或使用连接池 (raise max_connections, or use a pooler)",
      ),
    );
  if (facts.isAsynchronous)
    found.push(
      warning(
        "有备库，但提交不等待备库确认：主备切换可能丢失最近的变更 (it has standbys, and commits wait for none: a failover may lose the last changes)",
        "设置synchronous_standby_names (set synchronous_standby_names)",
      ),
    );
  const { config } = setup;
  if (config.postgres && !(await postgres.hearsItself(config.postgres.listenAddress)))
    found.push(
      warning(
        "收不到通知（事务模式的连接池？），每250毫秒查询一次变更 (notifications don't arrive, as behind a pooler in transaction mode: changes are looked for every 250 ms)",
        "用DATABASE_LISTEN_URL指定直连地址 (name a direct way in DATABASE_LISTEN_URL)",
      ),
    );
  return found;
}

function refused(code: string): Finding {
  if (code.startsWith("28"))
    return failure(
      `PostgreSQL拒绝用户名或密码（${code}） (PostgreSQL refuses user or password (${code}))`,
      "检查DATABASE_URL中的用户，以及DATABASE_PASSWORD_FILE或PGPASSFILE中的密码 (check the user in DATABASE_URL, and the password in DATABASE_PASSWORD_FILE or PGPASSFILE)",
    );
  if (code === "3D000")
    return failure(
      "该数据库不存在（3D000） (there is no such database (3D000))",
      "创建数据库，或修正DATABASE_URL (create it, or correct DATABASE_URL)",
    );
  return failure(
    `无法连接PostgreSQL（${code}） (PostgreSQL can't be reached (${code}))`,
    "检查地址、端口、防火墙、sslmode，以及PostgreSQL是否在运行 (check address, port, firewall and sslmode, and whether it runs)",
  );
}

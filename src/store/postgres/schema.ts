import { bigint, customType, index, pgTable, primaryKey, smallint, uniqueIndex } from "drizzle-orm/pg-core";
import { getTableConfig, type SQLiteColumn, type SQLiteTable } from "drizzle-orm/sqlite-core";
import * as schema from "../schema.ts";

/** Compared by its bytes, as on SQLite, whatever the locale of the database. */
const text = customType<{ data: string }>({ dataType: () => 'text COLLATE "C"' });

function columnOf({ name, dataType, primary, notNull, isUnique, default: value }: SQLiteColumn) {
  // Drizzle's dialect for SQLite writes a boolean as 0 or 1.
  const typed =
    dataType === "string"
      ? text(name)
      : dataType === "boolean"
        ? smallint(name)
        : // SQLite counts such a key up by itself.
          primary
          ? bigint(name, { mode: "number" }).generatedByDefaultAsIdentity()
          : bigint(name, { mode: "number" });
  // The type of a default is the column's.
  const started =
    value === undefined
      ? typed
      : typed.default((typeof value === "boolean" ? Number(value) : value) as never);
  const required = notNull && !primary ? started.notNull() : started;
  const unique = isUnique ? required.unique() : required;
  return primary ? unique.primaryKey() : unique;
}

/**
 * A table of `schema.ts` as PostgreSQL has it, for drizzle-kit alone: queries are built with those of `schema.ts`. Every
 * number is a `bigint`, which holds an instant.
 */
function tableOf(table: SQLiteTable) {
  const { name, columns, indexes, primaryKeys } = getTableConfig(table);
  const made = Object.fromEntries(columns.map((column) => [column.name, columnOf(column)]));
  return pgTable(name, made, (own) => {
    const ownColumns = (all: readonly unknown[]) =>
      all.map((column) => own[(column as SQLiteColumn).name]) as [never, ...never[]];
    return [
      ...primaryKeys.map((key) => primaryKey({ columns: ownColumns(key.columns) })),
      ...indexes.map(({ config }) =>
        (config.unique ? uniqueIndex : index)(config.name).on(...ownColumns(config.columns)),
      ),
    ];
  });
}

export const apps = tableOf(schema.apps);
export const fingerprints = tableOf(schema.fingerprints);
export const credentials = tableOf(schema.credentials);
export const rejectedTokens = tableOf(schema.rejectedTokens);
export const tokenCutoffs = tableOf(schema.tokenCutoffs);
export const pacing = tableOf(schema.pacing);
export const callCounts = tableOf(schema.callCounts);
export const loginAnswers = tableOf(schema.loginAnswers);
export const userTokens = tableOf(schema.userTokens);
export const keyring = tableOf(schema.keyring);
export const dataKeys = tableOf(schema.dataKeys);
export const clients = tableOf(schema.clients);
export const apiKeys = tableOf(schema.apiKeys);
export const settings = tableOf(schema.settings);
export const revisions = tableOf(schema.revisions);
export const auditEntries = tableOf(schema.auditEntries);
export const auditEnds = tableOf(schema.auditEnds);
export const counts = tableOf(schema.counts);
export const dueWork = tableOf(schema.dueWork);
export const nodes = tableOf(schema.nodes);
export const environments = tableOf(schema.environments);
export const redirectOrigins = tableOf(schema.redirectOrigins);
export const verifyFiles = tableOf(schema.verifyFiles);
export const waitingLogins = tableOf(schema.waitingLogins);
export const loginCodes = tableOf(schema.loginCodes);
export const callbacks = tableOf(schema.callbacks);
export const callbackTargets = tableOf(schema.callbackTargets);
export const callbackRoutes = tableOf(schema.callbackRoutes);
export const pushes = tableOf(schema.pushes);
export const deliveries = tableOf(schema.deliveries);
export const refreshLog = tableOf(schema.refreshLog);
export const hourlyCounts = tableOf(schema.hourlyCounts);
export const consoleSessions = tableOf(schema.consoleSessions);
export const consoleLinks = tableOf(schema.consoleLinks);
export const milestones = tableOf(schema.milestones);
export const notificationChannels = tableOf(schema.notificationChannels);
export const alarms = tableOf(schema.alarms);
export const notifications = tableOf(schema.notifications);
export const authorizationCodes = tableOf(schema.authorizationCodes);
export const authorizationLinks = tableOf(schema.authorizationLinks);

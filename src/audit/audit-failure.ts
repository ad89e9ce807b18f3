import { ServiceError } from "../errors.ts";

const failures = new WeakSet<ServiceError>();

/** What somebody is told whose change was not made because its audit entry could not be written. */
export function auditFailure(cause: unknown): ServiceError {
  const failure = new ServiceError(
    "unavailable",
    "审计无法写入，未作更改 (the audit can't be written; nothing was changed)",
    { cause, hint: "原因见 /readyz (/readyz says why)" },
  );
  failures.add(failure);
  return failure;
}

/** Whether `error` was made by `auditFailure`, so that it has been told of already. */
export function isAuditFailure(error: unknown): boolean {
  return error instanceof ServiceError && failures.has(error);
}

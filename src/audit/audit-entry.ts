import { createHash } from "node:crypto";
import type { Secret } from "../secret.ts";
import { ServiceError } from "../errors.ts";

/** Who is calling, as the audit names it. */
export interface Identity {
  /** A client's name; in parentheses for any other: `(anonymous)`, `(app secret)`, `(command line)`, `(service)`. */
  readonly client: string;
  /** The client's environment; empty for a caller that is no client. */
  readonly environment: string;
  /** Where it comes by a session of the console: then the detail of what is recorded says so. */
  readonly via?: "console";
}

/** Who did something, as the audit records it. */
export interface AuditActor extends Identity {
  readonly address: string;
  /** Of the request; empty where there is none. */
  readonly traceId: string;
  /** The trace of the caller's own that the request is a part of: then the detail of what is recorded names it. */
  readonly parentTraceId?: string | undefined;
}

/** Who makes a change, and of which version alone; undefined for any. */
export interface ChangeOptions {
  readonly actor: AuditActor;
  readonly version?: number | undefined;
}

/** The actor of what the service does on its own. */
export const SERVICE: AuditActor = { client: "(service)", environment: "", address: "", traceId: "" };

/** The actor of what `user` does by the command line of this machine, past the service. */
export function commandLineActor(user: string): AuditActor {
  return { ...SERVICE, client: "(command line)", address: user };
}

/** The actions that are recorded one by one. */
export const AUDIT_ACTIONS = [
  "app.created",
  "app.updated",
  "app.secret_changed",
  /** A secret that an administrator had verified, and that was refused or could not be verified. */
  "app.secret_verified",
  "app.deleted",
  "app.unblocked",
  /** An account or a corp has authorized a third-party platform, or changed what it may do. */
  "authorization.granted",
  /** WeChat has exchanged, or no longer takes, what it was authorized with. */
  "authorization.lost",
  /** It was withdrawn. */
  "authorization.revoked",
  /** A link to a consent page was made. */
  "authorization_link.created",
  "client.created",
  "client.updated",
  "client.deleted",
  "key.created",
  "key.rolled",
  "key.revoked",
  "setting.changed",
  "callback.updated",
  /** A Token or key took the place of another, or the other is no longer accepted. */
  "callback.key_rotated",
  "callback.deleted",
  "callback_target.updated",
  "callback_target.deleted",
  "callback_routes.updated",
  "environment.created",
  "environment.updated",
  "environment.deleted",
  "redirect_origins.updated",
  "verify_file.updated",
  "verify_file.deleted",
  /** Somebody has seen the message of one. */
  "delivery.shown",
  "delivery.replayed",
  "delivery.dropped",
  /** An administrator has made a call through the gateway as another client. */
  "gateway.called_as",
  "credential.cleared",
  "credential.refreshed",
  "credential.replaced",
  "audit.exported",
  "audit.pruned",
  /** The database has lost entries that a process had seen, as after a failover. */
  "audit.lost",
  "master_key.rotated",
  "backup.created",
  /** The database is that of a backup since: what came after that is lost. */
  "backup.restored",
  /** The database is a copy of another since, which its service was stopped for. */
  "store.copied",
  "notification_channel.created",
  "notification_channel.updated",
  "notification_channel.deleted",
  /** A message was taken by a channel, or by none of the attempts. */
  "notification.sent",
  "notification.failed",
  "console.signed_in",
  "console.signed_out",
  /** The first administrator was made by a link of the command line. */
  "console.setup",
] as const;
export type AuditAction = (typeof AUDIT_ACTIONS)[number];

/** One action, before it is recorded. */
export interface AuditEntry extends AuditActor {
  readonly action: AuditAction;
  /** The public name of the app concerned; empty where none is. */
  readonly app: string;
  /** `ok`, `begun` when another entry records the end, or the error code with which it failed. */
  readonly outcome: string;
  /** `tokenDigest` of the token concerned; empty where none is. */
  readonly tokenDigest: string;
  /** What changed, for a person. Nothing secret. */
  readonly detail: Readonly<Record<string, unknown>>;
}

/** An entry of the chain. */
export interface AuditRecord extends AuditEntry {
  /** Ascending; the order of the chain. */
  readonly id: number;
  /** Epoch milliseconds. */
  readonly at: number;
  /** Keyed digest of the hash before and of this entry, 64 hex digits. */
  readonly hash: string;
}

/**
 * The public name of a token in the audit: the first 16 hex digits of its SHA-256. A holder of the token can find its
 * entries; the token can't be derived from it.
 */
export function tokenDigest(token: Secret): string {
  return createHash("sha256").update(token.reveal()).digest("hex").slice(0, 16);
}

/** A change that was not made, because its audit entry could not be written. */
export class AuditFailure extends ServiceError {
  constructor(cause: unknown) {
    super("unavailable", "审计无法写入，未作更改 (the audit can't be written; nothing was changed)", {
      cause,
      hint: "原因见 /readyz (/readyz says why)",
    });
  }
}

import { type Platform, ServiceError } from "../errors.ts";
import { isPathAllowed, recipientFields } from "./api-policy.ts";
import { denied, notAllowedByPolicy, type Principal } from "./principal.ts";
import { type MessageCall, testMessage } from "./test-messages.ts";

/**
 * Refuses a client whose policy does not allow `path`, as it is sent, on that platform. A caller that is no client
 * may call any.
 *
 * @throws {ServiceError} `forbidden`, which names the policy and the path's family.
 */
export function checkPath(principal: Principal, platform: Platform, path: string): void {
  if (principal.kind !== "client") return;
  const { policy } = principal.owner.client;
  if (!isPathAllowed(policy, platform, path)) throw denied(principal, notAllowedByPolicy(policy, path));
}

/**
 * What goes up in place of `body` where the client may send this message to its test openids only; undefined for any
 * other call. The path must have passed `checkPath`. Throws as `testMessage`.
 */
export function testMessageFor(
  principal: Principal,
  platform: Platform,
  call: MessageCall & { readonly path: string },
  body: object | undefined,
): Uint8Array | undefined {
  if (principal.kind !== "client") return undefined;
  const { policy } = principal.owner.client;
  const fields = recipientFields(policy, platform, call.path);
  if (!fields) return undefined;
  try {
    return testMessage(call, body, { fields, openids: policy.testOpenids ?? [] });
  } catch (error) {
    throw error instanceof ServiceError && error.code === "forbidden" ? denied(principal, error) : error;
  }
}

import type { Answer } from "./answer.ts";
import { Refusal } from "./refusal.ts";
import type { SandboxRequest } from "./sandbox-request.ts";
import { callingApp, ok } from "./wecom-endpoints.ts";
import type { WecomPlatform } from "./wecom-platform.ts";

const USER_ID = /^[\w@.-]{1,64}$/;
const ROOT_DEPARTMENT = "1";

/**
 * `GET /cgi-bin/user/get?userid=`: a member; whoever has a well-formed id is one.
 *
 * @see https://developer.work.weixin.qq.com/document/path/90196
 */
export function getMember(platform: WecomPlatform, request: SandboxRequest): Answer {
  callingApp(platform, request);
  const userid = request.query.get("userid") ?? "";
  if (userid === "") throw new Refusal(40058, "invalid parameter");
  if (!USER_ID.test(userid)) throw new Refusal(60111, "userid not found");
  return ok({ userid, name: userid, department: [1], main_department: 1, status: 1, isleader: 0, enable: 1 });
}

/**
 * `GET /cgi-bin/department/list?id=`: the departments from that one on; the sandbox has the root alone.
 *
 * @see https://developer.work.weixin.qq.com/document/path/90208
 */
export function listDepartments(platform: WecomPlatform, request: SandboxRequest): Answer {
  callingApp(platform, request);
  const id = request.query.get("id") ?? ROOT_DEPARTMENT;
  if (id !== ROOT_DEPARTMENT) throw new Refusal(60123, "invalid party id");
  return ok({
    department: [{ id: 1, name: "沙箱", parentid: 0, order: 100_000_000, department_leader: [] }],
  });
}

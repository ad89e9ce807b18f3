import { expect, test } from "bun:test";
import {
  ALLOW_ALL,
  ALLOW_NONE,
  API_PATTERN,
  API_PRESETS,
  type ApiPolicy,
  type ApiPreset,
  familyPattern,
  isPathAllowed,
  isUnrestricted,
  MESSAGING_PATHS,
  READING_PATHS,
  readPolicy,
  SHARED_PATHS,
} from "../../src/access/api-policy.ts";
import { RECIPIENT_FIELDS } from "../../src/access/test-messages.ts";

const PLATFORMS = ["weixin", "wecom"] as const;
const CUSTOM_SEND = "/cgi-bin/message/custom/send";

function policy(preset: ApiPreset, lists: Partial<ApiPolicy> = {}): ApiPolicy {
  return { preset, allow: [], deny: [], ...lists };
}

function isAllowed(by: ApiPolicy, path: string, platform: "weixin" | "wecom" = "weixin"): boolean {
  return isPathAllowed(by, platform, path);
}

test("only the preset all without a path denied is unrestricted, and it allows whatever is asked", () => {
  for (const preset of API_PRESETS) {
    expect([preset, isUnrestricted(policy(preset, { allow: ["/**"] }))]).toEqual([preset, preset === "all"]);
    expect(isUnrestricted(policy(preset, { deny: ["/wxa/release"] }))).toBe(false);
  }
  for (const path of [CUSTOM_SEND, "/", "", "/odd%2fpath", "//x"])
    expect(isAllowed(ALLOW_ALL, path)).toBe(true);
  for (const path of [CUSTOM_SEND, "/cgi-bin/getcallbackip"]) expect(isAllowed(ALLOW_NONE, path)).toBe(false);
});

test("what is denied is refused even where it is allowed, and what is allowed beats the preset", () => {
  const both = policy("none", { allow: ["/cgi-bin/message/**"], deny: [CUSTOM_SEND] });
  expect(isAllowed(both, CUSTOM_SEND)).toBe(false);
  expect(isAllowed(both, "/cgi-bin/message/custom/typing")).toBe(true);
  expect(isAllowed(both, "/cgi-bin/user/get")).toBe(false);
  expect(isAllowed(policy("no-messaging", { allow: [CUSTOM_SEND] }), CUSTOM_SEND)).toBe(true);
  expect(isAllowed(policy("all", { deny: ["/**"] }), "/cgi-bin/user/get")).toBe(false);
});

test("a pattern is one path, or one path with everything below it, whatever the case and the slashes at the end", () => {
  const one = policy("none", { allow: ["/wxa/Msg_Sec_Check/"] });
  for (const path of ["/wxa/msg_sec_check", "/WXA/MSG_SEC_CHECK", "/wxa/msg_sec_check//"])
    expect([path, isAllowed(one, path)]).toEqual([path, true]);
  for (const path of ["/wxa/msg_sec_check/x", "/wxa/msg_sec_checks", "/wxa", "/x/wxa/msg_sec_check"])
    expect([path, isAllowed(one, path)]).toEqual([path, false]);
  const all = policy("none", { allow: ["/datacube/**"] });
  for (const path of ["/datacube", "/datacube/a", "/Datacube/a/b/"]) expect(isAllowed(all, path)).toBe(true);
  for (const path of ["/datacubes", "/datacub", "/x/datacube/a"]) expect(isAllowed(all, path)).toBe(false);
});

test.each([
  "/cgi-bin/mess%61ge/custom/send",
  "/cgi-bin//message/custom/send",
  "/cgi-bin/./message/custom/send",
  "/cgi-bin/user/../message/custom/send",
  "/cgi-bin/user/get;/message/custom/send",
  "/cgi-bin\\message\\custom\\send",
  "/cgi-bin/message/custom/send\u0000",
  "/cgi-bin/message/custom/ſend",
  "/cgi-bin/tic\u212Aet/get",
  "/cgi-bin/user/..",
  "cgi-bin/user/get",
  "/",
  "",
])("a path that is spelt as none of WeChat's is (%j) is refused wherever anything is", (path) => {
  for (const preset of ["no-messaging", "safe", "read-only", "none"] as const) {
    expect(isAllowed(policy(preset), path)).toBe(false);
    expect(isAllowed(policy(preset, { allow: ["/**"] }), path)).toBe(false);
  }
  expect(isAllowed(policy("all", { deny: ["/wxa/release"] }), path)).toBe(false);
});

test.each([
  ["weixin", "/cgi-bin/message/custom/send"],
  ["weixin", "/cgi-bin/message/mass/sendall"],
  ["weixin", "/cgi-bin/message/template/send"],
  ["weixin", "/cgi-bin/message/subscribe/send"],
  ["weixin", "/cgi-bin/message/wxopen/template/uniform_send"],
  ["weixin", "/cgi-bin/menu/create"],
  ["weixin", "/cgi-bin/menu/delete"],
  ["weixin", "/cgi-bin/menu/addconditional"],
  ["weixin", "/cgi-bin/template/del_private_template"],
  ["weixin", "/wxaapi/newtmpl/deltemplate"],
  ["weixin", "/cgi-bin/freepublish/submit"],
  ["weixin", "/customservice/kfsession/create"],
  ["weixin", "/cgi-bin/guide/addguidemassendjob"],
  ["weixin", "/wxa/set_user_notify"],
  ["weixin", "/wxa/business/push_message"],
  ["weixin", "/promoter/sendmsg"],
  ["weixin", "/tcb/sendsmsv2"],
  ["weixin", "/tcb/invokecloudfunction"],
  ["weixin", "/xpay/refund_order"],
  ["weixin", "/wxa/game/pay"],
  ["weixin", "/cgi-bin/midas/pay"],
  ["weixin", "/nontax/unifiedorder"],
  ["weixin", "/retail/B2b/refund"],
  ["weixin", "/shop/pay/refundorder"],
  ["weixin", "/channels/ec/order/price/update"],
  ["weixin", "/card/code/consume"],
  ["weixin", "/cgi-bin/express/intracity/addorder"],
  ["weixin", "/wxa/release"],
  ["wecom", "/cgi-bin/message/send"],
  ["wecom", "/cgi-bin/message/recall"],
  ["wecom", "/cgi-bin/appchat/create"],
  ["wecom", "/cgi-bin/appchat/send"],
  ["wecom", "/cgi-bin/linkedcorp/message/send"],
  ["wecom", "/cgi-bin/externalcontact/message/send"],
  ["wecom", "/cgi-bin/externalcontact/add_msg_template"],
  ["wecom", "/cgi-bin/externalcontact/send_welcome_msg"],
  ["wecom", "/cgi-bin/externalcontact/add_moment_task"],
  ["wecom", "/cgi-bin/externalcontact/transfer_customer"],
  ["wecom", "/cgi-bin/kf/send_msg"],
  ["wecom", "/cgi-bin/webhook/send"],
  ["wecom", "/cgi-bin/batch/invite"],
  ["wecom", "/cgi-bin/user/create"],
  ["wecom", "/cgi-bin/exmail/app/compose_send"],
  ["wecom", "/cgi-bin/pstncc/call"],
  ["wecom", "/cgi-bin/meeting/create"],
  ["wecom", "/cgi-bin/menu/create"],
  ["wecom", "/cgi-bin/externalpay/set_mch_use_scope"],
  ["wecom", "/cgi-bin/miniapppay/create_order"],
] as const)(
  "no-messaging and safe on %s refuse %s, in any case and with more behind it",
  (platform, path) => {
    for (const preset of ["no-messaging", "safe"] as const)
      for (const spelt of [path, path.toUpperCase(), `${path}/`, `${path}/more`])
        expect([spelt, isAllowed(policy(preset), spelt, platform)]).toEqual([spelt, false]);
    expect(isAllowed(policy("read-only"), path, platform)).toBe(false);
  },
);

test.each([
  ["weixin", "/cgi-bin/material/del_material"],
  ["weixin", "/cgi-bin/material/update_news"],
  ["weixin", "/cgi-bin/draft/delete"],
  ["weixin", "/cgi-bin/draft/update"],
  ["weixin", "/cgi-bin/draft/switch"],
  ["weixin", "/cgi-bin/tags/delete"],
  ["weixin", "/cgi-bin/tags/members/batchblacklist"],
  ["weixin", "/cgi-bin/tags/members/batchuntagging"],
  ["weixin", "/cgi-bin/user/info/updateremark"],
  ["weixin", "/cgi-bin/wxopen/deletecategory"],
  ["weixin", "/cgi-bin/account/modifysignature"],
  ["weixin", "/cgi-bin/clear_quota"],
  ["weixin", "/customservice/kfaccount/del"],
  ["weixin", "/customservice/kfaccount/uploadheadimg"],
  ["weixin", "/wxa/modify_domain"],
  ["weixin", "/wxa/modify_domain_directly"],
  ["weixin", "/wxa/setwebviewdomain"],
  ["weixin", "/wxa/plugin"],
  ["weixin", "/wxa/submit_audit"],
  ["weixin", "/wxa/unbind_tester"],
  ["weixin", "/wxa/resetusersessionkey"],
  ["weixin", "/tcb/databasedelete"],
  ["weixin", "/tcb/databasecollectiondelete"],
  ["weixin", "/tcb/databaseupdate"],
  ["weixin", "/tcb/batchdeletefile"],
  ["weixin", "/bizwifi/shop/clean"],
  ["weixin", "/scan/product/modstatus"],
  ["weixin", "/made/up/delsomething"],
  ["wecom", "/cgi-bin/user/delete"],
  ["wecom", "/cgi-bin/user/batchdelete"],
  ["wecom", "/cgi-bin/department/update"],
  ["wecom", "/cgi-bin/tag/deltagusers"],
  ["wecom", "/cgi-bin/batch/replaceparty"],
  ["wecom", "/cgi-bin/agent/set"],
  ["wecom", "/cgi-bin/externalcontact/remark"],
  ["wecom", "/cgi-bin/externalcontact/edit_corp_tag"],
  ["wecom", "/cgi-bin/wedrive/space_dismiss"],
  ["wecom", "/cgi-bin/wedoc/mod_doc_member"],
] as const)(
  "safe on %s refuses %s, which deletes or sets, in any case and with more behind it",
  (platform, path) => {
    for (const spelt of [path, path.toUpperCase(), `${path}/`, `${path}/more`])
      expect([spelt, isAllowed(policy("safe"), spelt, platform)]).toEqual([spelt, false]);
    expect(isAllowed(policy("no-messaging"), path, platform)).toBe(true);
    expect(isAllowed(policy("safe", { allow: [path] }), path, platform)).toBe(true);
  },
);

test.each([
  "/cgi-bin/tags/create",
  "/cgi-bin/material/add_material",
  "/cgi-bin/media/upload",
  "/cgi-bin/draft/add",
  "/cgi-bin/qrcode/create",
  "/customservice/kfaccount/add",
  "/wxa/msg_sec_check",
  "/wxa/getwxacodeunlimit",
  "/wxa/business/getuserphonenumber",
  "/wxa/business/model/get",
  "/tcb/databasequery",
])("safe allows %s", (path) => {
  expect(isAllowed(policy("safe"), path)).toBe(true);
});

test("safe refuses no read but those of families that no-messaging closes as a whole", () => {
  for (const platform of PLATFORMS)
    for (const pattern of READING_PATHS[platform]) {
      const path = pattern.replace(/\/\*\*$/, "");
      const expected = isAllowed(policy("no-messaging"), path, platform);
      expect([path, isAllowed(policy("safe"), path, platform)]).toEqual([path, expected]);
    }
});

test.each([
  ["weixin", "/cgi-bin/user/info/updateremark"],
  ["weixin", "/cgi-bin/tags/create"],
  ["weixin", "/cgi-bin/material/add_material"],
  ["weixin", "/cgi-bin/media/upload"],
  ["weixin", "/cgi-bin/draft/add"],
  ["weixin", "/cgi-bin/qrcode/create"],
  ["weixin", "/wxa/msg_sec_check"],
  ["weixin", "/wxa/getwxacodeunlimit"],
  ["weixin", "/wxa/business/getuserphonenumber"],
  ["wecom", "/cgi-bin/media/upload"],
  ["wecom", "/cgi-bin/department/create"],
  ["wecom", "/cgi-bin/tag/addtagusers"],
  ["wecom", "/cgi-bin/externalcontact/remark"],
] as const)("no-messaging on %s allows %s, which is a write, and read-only refuses it", (platform, path) => {
  expect(isAllowed(policy("no-messaging"), path, platform)).toBe(true);
  expect(isAllowed(policy("read-only"), path, platform)).toBe(false);
});

test.each([
  ["weixin", "/cgi-bin/getcallbackip"],
  ["weixin", "/cgi-bin/user/info"],
  ["weixin", "/cgi-bin/menu/get"],
  ["weixin", "/cgi-bin/material/batchget_material"],
  ["weixin", "/cgi-bin/media/get/jssdk"],
  ["weixin", "/datacube/getusersummary"],
  ["weixin", "/cgi-bin/freepublish/getarticle"],
  ["weixin", "/wxaapi/newtmpl/gettemplate"],
  ["weixin", "/wxa/getwxadevinfo"],
  ["wecom", "/cgi-bin/user/simplelist"],
  ["wecom", "/cgi-bin/department/list"],
  ["wecom", "/cgi-bin/externalcontact/groupchat/list"],
  ["wecom", "/cgi-bin/checkin/getcheckindata"],
  ["wecom", "/cgi-bin/oa/getapprovaldetail"],
] as const)("read-only on %s allows %s, and each platform has a list of its own", (platform, path) => {
  expect(isAllowed(policy("read-only"), path, platform)).toBe(true);
  expect(isAllowed(policy("read-only"), "/cgi-bin/department/list", "weixin")).toBe(false);
  expect(isAllowed(policy("read-only"), "/datacube/getusersummary", "wecom")).toBe(false);
});

test("every listed path is a pattern, stands in lower case, once, and beneath no family that is listed with it", () => {
  for (const lists of [READING_PATHS, MESSAGING_PATHS, SHARED_PATHS]) {
    for (const platform of PLATFORMS) {
      const list = lists[platform];
      expect(new Set(list).size).toBe(list.length);
      for (const pattern of list) {
        expect(pattern).toMatch(API_PATTERN);
        expect(pattern).toBe(pattern.toLowerCase());
        const path = pattern.replace(/\/\*\*$/, "");
        const others = policy("none", { allow: list.filter((each) => each !== pattern) });
        expect([path, isAllowed(others, path, platform)]).toEqual([path, false]);
      }
    }
  }
});

test("every path that may send to test openids is one that no-messaging refuses, and has its fields", () => {
  for (const [path, fields] of RECIPIENT_FIELDS) {
    expect([path, isAllowed(policy("no-messaging"), path)]).toEqual([path, false]);
    expect(path).toMatch(/^\/[a-z_/-]+$/);
    expect(fields.every((field) => /^[a-z_]+$/.test(field)) && fields.length > 0).toBe(true);
  }
  expect(RECIPIENT_FIELDS.size).toBe(10);
});

test.each(["/a", "/a/b.c-d_E", "/a/", "/a/**", "/**", "/a.", "/a.."])("%j is a pattern", (pattern) => {
  expect(pattern).toMatch(API_PATTERN);
});

test.each([
  "",
  "/",
  "a",
  "a/**",
  "/a/*",
  "/a**",
  "/**/a",
  "/a//b",
  "/a/../b",
  "/.a",
  "/.",
  "/a/.",
  "/a b",
  "/a%20",
  "/a?b",
  "//**",
])("%j is no pattern", (pattern) => {
  expect(pattern).not.toMatch(API_PATTERN);
});

test("a stored policy is read as it was written, and one that is damaged or not known allows nothing", () => {
  const testOpenids = ["oListed-0000000000000000001x"];
  const lists = { allow: ["/a"], deny: ["/b/**"] };
  for (const written of [ALLOW_ALL, policy("no-messaging", lists), policy("safe", { ...lists, testOpenids })])
    expect(readPolicy(JSON.stringify(written))).toEqual(written);
  for (const text of [
    "",
    "null",
    "[]",
    "all",
    '"all"',
    '{"preset":"all"}',
    '{"preset":"most","allow":[],"deny":[]}',
    '{"preset":"all","allow":"/a","deny":[]}',
    '{"preset":"all","allow":[],"deny":["b"]}',
    '{"preset":"all","allow":[],"deny":[1]}',
    '{"preset":"all","allow":[],"deny":[],"only":["/a"]}',
    '{"preset":"all","allow":[],"deny":[]',
    '{"preset":"safe","allow":[],"deny":[],"testOpenids":["o"]}',
    '{"preset":"safe","allow":[],"deny":[],"testOpenids":null}',
  ])
    expect([text, readPolicy(text)]).toEqual([text, ALLOW_NONE]);
});

test("the family of a path are its first two parts, and of an unusual one nothing that was sent", () => {
  expect(familyPattern("/cgi-bin/message/custom/send")).toBe("/cgi-bin/message/**");
  expect(familyPattern("/wxa/Msg_Sec_Check/")).toBe("/wxa/msg_sec_check");
  expect(familyPattern("/sns")).toBe("/sns");
  for (const path of ["/a%20b/c", "//x", "", "/../x"]) expect(familyPattern(path)).toBe("*");
});

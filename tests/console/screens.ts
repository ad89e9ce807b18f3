import { WX } from "../support/harness.ts";
import { COMPONENT, GAME, nameWith, SUITE } from "../support/platforms.ts";

/** A screen, or a dialog on it, as the tests of every screen open it. */
export interface ScreenUnderTest {
  /** Names its pictures. */
  readonly name: string;
  /** What follows `#`. */
  readonly path: string;
  /** Selectors of what is clicked then, one after the other, as for a dialog. */
  readonly clicks?: readonly string[];
}

const CALL = `/tools/call?app=${WX.appId}&path=/cgi-bin/user/get`;
const NOTIFICATIONS = "/settings?tab=notifications";
const PLATFORM = `/platforms/${COMPONENT.id}`;
const PUSHES = `/pushes/${WX.appId}`;

/**
 * Every screen of the console. Over this list `every-screen.browser.test.ts` looks for what a screen reader can't use, for
 * violations of the Content Security Policy, for requests to other hosts, for what is wider than a telephone, and for
 * text that becomes markup. A screen that is not here is not tested: add yours, and each of its dialogs.
 */
export const SCREENS: readonly ScreenUnderTest[] = [
  { name: "overview", path: "/" },
  { name: "apps", path: "/apps" },
  { name: "apps-blocked", path: "/apps?state=blocked&sort=-expires_at" },
  { name: "apps-none", path: "/apps?q=nothing" },
  { name: "app", path: "/apps/wx00000000000000aa" },
  { name: "app-blocked", path: "/apps/wx00000000000000bb" },
  { name: "app-history", path: "/apps/wx00000000000000aa?tab=history" },
  { name: "app-set-up", path: "/apps/wx00000000000000aa?tab=set-up" },
  { name: "add-app", path: "/apps", clicks: [".page-actions button"] },
  { name: "app-of-platform", path: `/apps/${COMPONENT.id}` },
  { name: "app-authorized", path: `/apps/${nameWith(GAME, COMPONENT.id)}` },
  { name: "platforms", path: "/platforms" },
  { name: "platform-new", path: "/platforms", clicks: [".page-actions .primary"] },
  { name: "platform", path: PLATFORM },
  { name: "platform-suite", path: `/platforms/${SUITE.id}` },
  { name: "platform-link", path: PLATFORM, clicks: [".page-actions .primary"] },
  { name: "signature", path: "/tools/signature" },
  {
    name: "signature-found",
    path: "/tools/signature?app=wx00000000000000aa",
    clicks: [".debugger form .row .button:nth-child(2)", ".debugger form [type=submit]"],
  },
  { name: "error-lookup", path: "/tools/rid" },
  { name: "not-found", path: "/nowhere" },
  { name: "commands", path: "/", clicks: ["header [aria-label*='Ctrl K']"] },
  { name: "menu", path: "/", clicks: ["[aria-haspopup=menu]"] },
  { name: "clients", path: "/clients" },
  { name: "client-new", path: "/clients", clicks: [".page-actions .primary"] },
  { name: "client-keys", path: "/clients/shop-dev" },
  { name: "key-create", path: "/clients/shop-dev", clicks: [".page-actions .primary"] },
  { name: "key-revoke", path: "/clients/shop-dev", clicks: ["td .button.danger"] },
  { name: "client-grants", path: "/clients/shop-dev?tab=grants" },
  { name: "client-policy", path: "/clients/shop-dev?tab=policy&path=%2Fcgi-bin%2Fmessage%2Fmass%2Fsend" },
  { name: "client-settings", path: "/clients/shop-dev?tab=settings" },
  { name: "environments", path: "/environments" },
  { name: "audit", path: "/audit" },
  { name: "audit-entry", path: "/audit?entry=1" },
  { name: "audit-denials", path: "/audit?tab=denials" },
  { name: "audit-verify", path: "/audit", clicks: [".page-actions .button:nth-child(2)"] },
  { name: "pushes", path: "/pushes" },
  { name: "pushes-reception", path: PUSHES },
  { name: "pushes-edit", path: PUSHES, clicks: [".framed header button:last-child"] },
  { name: "pushes-remove", path: PUSHES, clicks: ["main .button.danger"] },
  { name: "pushes-routes", path: `${PUSHES}?tab=routes` },
  { name: "pushes-target", path: `${PUSHES}?tab=routes`, clicks: ["section:first-of-type header button"] },
  { name: "pushes-route", path: `${PUSHES}?tab=routes`, clicks: ["section:last-of-type header button"] },
  { name: "pushes-deliveries", path: `${PUSHES}?tab=deliveries` },
  { name: "web-logins", path: `${PUSHES}?tab=logins` },
  { name: "web-logins-edit", path: `${PUSHES}?tab=logins`, clicks: ["td.end button"] },
  { name: "verify-file", path: `${PUSHES}?tab=logins`, clicks: ["section:last-of-type header button"] },
  { name: "call", path: CALL },
  { name: "call-answer", path: CALL, clicks: ["form [type=submit]"] },
  {
    name: "call-confirm",
    path: `/tools/call?app=${WX.appId}&method=POST&path=/cgi-bin/message/mass/send&as=shop-dev`,
    clicks: ["form [type=submit]"],
  },
  { name: "settings", path: "/settings" },
  { name: "settings-origins", path: "/settings", clicks: ["section:nth-of-type(2) header button"] },
  { name: "notifications", path: NOTIFICATIONS },
  { name: "channel-new", path: NOTIFICATIONS, clicks: ["section:nth-of-type(2) header button"] },
  { name: "channel-test", path: NOTIFICATIONS, clicks: ["section:nth-of-type(2) td .button:nth-child(1)"] },
  { name: "channel-edit", path: NOTIFICATIONS, clicks: ["section:nth-of-type(2) td .button:nth-child(2)"] },
  { name: "channel-remove", path: NOTIFICATIONS, clicks: ["section:nth-of-type(2) td .button:nth-child(3)"] },
  { name: "condition", path: NOTIFICATIONS, clicks: ["section:nth-of-type(4) td button"] },
  { name: "configuration", path: "/settings?tab=configuration" },
  { name: "nodes", path: "/settings?tab=nodes" },
  { name: "sessions", path: "/settings?tab=sessions" },
];

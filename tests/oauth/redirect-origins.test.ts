import { expect, test } from "bun:test";
import { readRedirectOrigin, RedirectOrigins, redirectOriginText } from "../../src/oauth/redirect-origins.ts";
import { SteadyChanges } from "./steady-changes.ts";

/** The redirect origins of one app, by environment. */
async function originsOf(listed: Readonly<Record<string, readonly string[]>>): Promise<RedirectOrigins> {
  const origins = Object.entries(listed).flatMap(([environment, texts]) =>
    texts.map((text) => ({ app: "wx1", environment, ...readRedirectOrigin(text) })),
  );
  const made = new RedirectOrigins({ loadOrigins: () => Promise.resolve(origins) }, new SteadyChanges());
  await made.refresh();
  return made;
}

const LISTED = {
  dev: ["https://dev.example.com", "http://localhost:8080", "https://[2001:db8::1]:8443"],
  st: ["https://h5.example.com/st", "https://*.st.example.com"],
  prod: ["https://h5.example.com", "https://www.st.example.com"],
};

test("a redirect belongs to the environment whose origin it has, the narrowest where several fit", async () => {
  const origins = await originsOf(LISTED);
  const environmentOf = (url: string) => origins.ownerOf(["wx1"], url)?.environment;
  expect(environmentOf("https://dev.example.com")).toBe("dev");
  expect(environmentOf("https://dev.example.com/")).toBe("dev");
  expect(environmentOf("https://dev.example.com/a%20b/张?next=https://evil.example/#/login")).toBe("dev");
  expect(environmentOf("https://dev.example.com?a=b")).toBe("dev");
  expect(environmentOf("http://localhost:8080/cb")).toBe("dev");
  expect(environmentOf("https://[2001:db8::1]:8443/cb")).toBe("dev");
  expect(environmentOf("https://h5.example.com/st")).toBe("st");
  expect(environmentOf("https://h5.example.com/st/cb")).toBe("st");
  expect(environmentOf("https://h5.example.com/stable")).toBe("prod");
  expect(environmentOf("https://a-1.st.example.com/cb")).toBe("st");
  expect(environmentOf("https://www.st.example.com/cb")).toBe("prod");
  expect(origins.ownerOf(["wx2"], "https://dev.example.com")).toBeUndefined();
});

/** What must lead nowhere, though some program or another would take it for an origin that is listed, or for its path. */
const VARIANTS = [
  // Another host, scheme or port.
  "https://evil.example/",
  "https://example.com/",
  "http://dev.example.com/",
  "https://dev.example.com:8443/",
  "https://dev.example.com:443/",
  "https://dev.example.com:/",
  "https://dev.example.com:99999/",
  "https://dev.example.com.evil.example/",
  "https://evildev.example.com/",
  "https://xdev.example.com/",
  "http://localhost/cb",
  "http://localhost:8081/cb",
  "http://127.0.0.1:8080/cb",
  "https://[2001:db8:0::1]:8443/",
  "https://[2001:db8::2]:8443/",
  "https://[2001:db8::1%25eth0]:8443/",
  // Users before the host.
  "https://dev.example.com@evil.example/",
  "https://user@dev.example.com/",
  "https://user:password@dev.example.com/",
  "https://dev.example.com:443@evil.example/",
  "https://dev.example.com%40evil.example/",
  "https://dev.example.com%2f@evil.example/",
  "https://dev.example.com;@evil.example/",
  // Backslashes and slashes.
  "https://dev.example.com\\@evil.example/",
  "https://evil.example\\@dev.example.com/",
  "https:\\\\dev.example.com/",
  "https://dev.example.com\\.evil.example/",
  "https:/dev.example.com/",
  "https:dev.example.com/",
  "https:///dev.example.com/",
  "//dev.example.com/",
  "/\\dev.example.com/",
  "https://dev.example.com//evil.example/",
  "/cb",
  // What a browser drops, decodes or lower-cases.
  "https://dev.example.com\t/",
  "ht\ntps://dev.example.com/",
  "https://dev.example\r\n.com/",
  " https://dev.example.com/",
  "https://dev.example.com/ ",
  "https://dev.example.com/a b",
  "https://dev.example.com\0/",
  "https://DEV.example.com/",
  "HTTPS://dev.example.com/",
  "https://dev.example.com./",
  "https://dev.example.com../",
  "https://%64ev.example.com/",
  "https://dev%2eexample%2ecom/",
  "https://ｄｅｖ.example.com/",
  "https://dev。example。com/",
  "https://dév.example.com/",
  "https://xn--dv-bja.example.com/",
  "https://dev.exa\u00ADmple.com/",
  // Other schemes, and none.
  "javascript:alert(1)//https://dev.example.com/",
  "data:text/html,https://dev.example.com/",
  "ftp://dev.example.com/",
  "dev.example.com",
  "",
  // Wildcards are one whole label.
  "https://st.example.com/",
  "https://.st.example.com/",
  "https://a.b.st.example.com/",
  "https://evil.example/.st.example.com/",
  "https://evil.example#.st.example.com",
  "https://evil.example?.st.example.com",
  "https://a.st.example.com:8443/",
  "https://*.st.example.com/",
];

test.each(VARIANTS)("nobody is sent to %j", async (variant) => {
  const origins = await originsOf(LISTED);
  expect(origins.ownerOf(["wx1"], variant)).toBeUndefined();
});

test("the variants are at least fifty, and each differs", () => {
  expect(new Set(VARIANTS).size).toBe(VARIANTS.length);
  expect(VARIANTS.length).toBeGreaterThanOrEqual(50);
});

test.each([
  "https://h5.example.com/stable",
  "https://h5.example.com/ST/cb",
  "https://h5.example.com/",
  "https://h5.example.com/x/st",
  "https://h5.example.com/st/../admin",
  "https://h5.example.com/st/..",
  "https://h5.example.com/st/%2e%2e/admin",
  "https://h5.example.com/st/..%2fadmin",
  "https://h5.example.com/st/%2e%2e%2fadmin",
  "https://h5.example.com/st/..%5cadmin",
  "https://h5.example.com/st/%252e%252e/admin",
  "https://h5.example.com/st%2fcb",
  "https://h5.example.com/st%00/cb",
  "https://h5.example.com//st/cb",
  "https://h5.example.com/./st/cb",
  "https://h5.example.com/st//../cb",
  "https://h5.example.com/%73t/cb",
])("%s is not below the path that is listed", async (variant) => {
  const origins = await originsOf({ st: ["https://h5.example.com/st/"] });
  expect(origins.ownerOf(["wx1"], "https://h5.example.com/st/cb")?.environment).toBe("st");
  expect(origins.ownerOf(["wx1"], variant)).toBeUndefined();
});

test.each([
  "/%64ev/cb",
  "/%44EV/cb",
  "/x%2f..%2fdev/cb",
  "/dev%2fcb",
  "/dev%2f..%2fcb",
  "/%2564ev/cb",
  "/DEV/cb",
  "/dev;x/cb",
  "/;x/dev/cb",
  "/x/..;/dev/cb",
  "/x/..;y=1/dev/cb",
  "/dev/..;/cb",
  "/%ff/cb",
  "/%u0064ev/cb",
  "/%E9%A2%84/cb",
  "/a/%e9%a2%84",
  "/a/ST/cb",
])("where paths divide an origin, %s is nobody's: some server would take it for another's", async (path) => {
  const origins = await originsOf({
    prod: ["https://h5.example.com"],
    dev: ["https://h5.example.com/dev"],
    pre: ["https://h5.example.com/预", "https://h5.example.com/a/预"],
    st: ["https://h5.example.com/a/St"],
  });
  const environmentOf = (below: string) =>
    origins.ownerOf(["wx1"], `https://h5.example.com${below}`)?.environment;
  expect(environmentOf(path)).toBeUndefined();
  expect(environmentOf("/dev/cb%20;x=1?next=%2f..%2f")).toBe("dev");
  expect(environmentOf("/a/St/cb")).toBe("st");
  expect(environmentOf("/预/cb")).toBe("pre");
  for (const prod of ["", "/", "/development", "/a/%E5%BC%A0;x=1/Cb", "/x/dev/cb"])
    expect(environmentOf(prod)).toBe("prod");
});

test("where one environment has the whole origin, its paths may be encoded as they like", async () => {
  const origins = await originsOf({
    prod: ["https://h5.example.com", "https://h5.example.com/app"],
    dev: ["https://*.example.com"],
  });
  const environmentOf = (url: string) => origins.ownerOf(["wx1"], url)?.environment;
  expect(environmentOf("https://h5.example.com/%61pp%2fcb;x/%ff")).toBe("prod");
});

test("an operator lists origins as browsers send them", () => {
  for (const text of [
    "https://a.example.com",
    "http://10.0.0.8:8080",
    "https://*.dev.example.com",
    "https://*.example.com.cn",
    "https://*.com.example",
    "https://com.cn",
    "https://a.example.com/app",
  ])
    expect(redirectOriginText(readRedirectOrigin(text))).toBe(text);
  expect(redirectOriginText(readRedirectOrigin("https://a.example.com/"))).toBe("https://a.example.com");
  for (const bad of [
    "a.example.com",
    "https://*",
    "https://*.com",
    "https://*.example",
    "https://*.com.cn",
    "https://*.co.uk:8443",
    "https://a.*.example.com",
    "https://**.example.com",
    "https://*.10.0.0.8",
    "https://a.example.com?x",
    "https://a.example.com/#x",
    "https://a.example.com/x/../y",
    "https://a.example.com/%2e",
    "https://A.example.com",
    "https://u@a.example.com",
    "https://a.example.com:443",
    "ftp://a.example.com",
  ])
    expect(() => readRedirectOrigin(bad)).toThrow("应为源");
});

import { expect, test } from "bun:test";
import { cleanUrl, differences, urlVariants } from "../../src/signing/url-variants.ts";

const PAGE = "https://a.com/p?x=1&y=%E4%B8%80";

test.each([
  [PAGE, []],
  [`${PAGE}#/b`, ["hash_included"]],
  [PAGE.replace("&", "&amp;"), ["html_escaped"]],
  [PAGE.replace("&", "&amp;amp;"), ["html_escaped"]],
  [encodeURIComponent(PAGE), ["encoding"]],
  [encodeURIComponent(encodeURIComponent(PAGE)), ["encoding"]],
  [decodeURI(PAGE), ["encoding"]],
  [encodeURI(PAGE), ["encoding"]],
  [PAGE.replace("https", "http"), ["scheme"]],
  [PAGE.replace("https", "HTTPS"), ["url_form"]],
  [PAGE.replace("a.com", "A.com"), ["url_form"]],
  [PAGE.replace("a.com", "a.com:443"), ["url_form"]],
  [PAGE.replace("/p", "/p/"), ["url_form"]],
  [PAGE.replace("a.com", "b.com"), ["other_page"]],
  [PAGE.replace("/p", "/q"), ["other_page"]],
  [PAGE.replace("x=1", "x=2"), ["other_page"]],
  ["https://a.com/p?y=%E4%B8%80&x=1", ["other_page"]],
  ["https://a.com/p", ["other_page"]],
  [`${PAGE}&from=timeline&isappinstalled=0`, ["added_parameters"]],
  [`${PAGE}&code=0a&state=`, ["added_parameters"]],
  ["/p?x=1", ["other_page"]],
  ["undefined", ["other_page"]],
  [
    `http://A.com/p/?x=1&amp;y=一&from=x#/`,
    ["hash_included", "html_escaped", "scheme", "url_form", "added_parameters", "encoding"],
  ],
] as const)("%s differs from the page's address by %j", (signed, expected) => {
  expect(differences(signed, PAGE)).toEqual([...expected]);
});

test("the address that a browser shows is made of what was signed, and stays itself", () => {
  for (const signed of [`${PAGE}#/b`, PAGE.replace("&", "&amp;"), encodeURIComponent(PAGE), decodeURI(PAGE)])
    expect(cleanUrl(signed)).toBe(PAGE);
  expect(cleanUrl("HTTP://A.com:80?x")).toBe("http://a.com/?x");
  expect(cleanUrl("https://a.com/p%2Fq+r?s=%7e")).toBe("https://a.com/p%2Fq+r?s=%7e");
});

test("several mistakes at once are among what is tried, the fewest first, and never more than wanted", () => {
  const signed = PAGE.replace("https", "http").replace("&", "&amp;");
  const variants = urlVariants([`${PAGE}#/b`], 400);
  expect(variants.map(({ url }) => url)).toContain(signed);
  const counts = variants.map(({ changes }) => changes);
  expect([counts[0], counts]).toEqual([0, counts.toSorted((a, b) => a - b)]);
  expect(urlVariants([PAGE, "https://b.com/?code=1&from=x"], 50)).toHaveLength(50);
  expect(urlVariants(["", "%", "https://", "nonsense?"], 400).length).toBeLessThanOrEqual(400);
});

test("of long addresses fewer are tried: all of them together are not long", () => {
  const long = ["a", "b", "c"].map((host) => `https://${host}.com/?${"&x=1".repeat(505)}`);
  const lengths = urlVariants(long, 400).map(({ url }) => url.length);
  expect(lengths.reduce((sum, length) => sum + length, 0)).toBeLessThan(600_000);
  expect(lengths.length).toBeGreaterThan(20);
});

import { expect, test } from "bun:test";
import { callerNetwork } from "../../src/access/networks.ts";

test.each([
  ["192.0.2.1", "192.0.2.1"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
  ["2001:db8:1:2::6", "2001:db8:1:2"],
  ["2001:DB8:0001:2::", "2001:db8:1:2"],
  ["2001:db8::6", "2001:db8:0:0"],
  ["::1", "0:0:0:0"],
  ["::", "0:0:0:0"],
  ["64:ff9b::192.0.2.1", "64:ff9b:0:0"],
  ["", ""],
])("the caller at %s is counted as %s", (address, network) => {
  expect(callerNetwork(address)).toBe(network);
});

test("all addresses of one IPv6 network are one caller, and those of the next are another", () => {
  expect(callerNetwork("2001:db8:1:2:ffff::1")).toBe(callerNetwork("2001:db8:1:2::9"));
  expect(callerNetwork("2001:db8:1:3::1")).not.toBe(callerNetwork("2001:db8:1:2::1"));
});

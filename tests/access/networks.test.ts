import { expect, test } from "bun:test";
import { Networks, plainAddress } from "../../src/access/networks.ts";

function setup(text = "127.0.0.0/8, ::1/128 ,10.1.2.3,2001:db8::/32") {
  return new Networks(text);
}

test("an address is found in the networks of its family, at their very edges", () => {
  const networks = setup();
  for (const inside of ["127.0.0.0", "127.255.255.255", "::1", "10.1.2.3", "2001:db8::", "2001:db8:ffff::1"])
    expect(networks.includes(inside), inside).toBeTrue();
  for (const outside of ["126.255.255.255", "128.0.0.0", "::2", "::", "10.1.2.2", "10.1.2.4", "2001:db9::"])
    expect(networks.includes(outside), outside).toBeFalse();
});

test("an IPv4 address is found also in the form that a dual-stack socket gives it", () => {
  for (const mapped of ["::ffff:127.0.0.1", "::FFFF:10.1.2.3", "::ffff:7f00:1"])
    expect(setup().includes(plainAddress(mapped)), mapped).toBeTrue();
  expect(setup().includes(plainAddress("::ffff:10.1.2.4"))).toBeFalse();
});

test("what is no address is in no network", () => {
  for (const text of ["", "localhost", "127.0.0.1:80", "127.1", "unix", "0x7f.0.0.1"])
    expect(setup("0.0.0.0/0,::/0").includes(text), text).toBeFalse();
});

test("an empty list holds nobody", () => {
  for (const text of ["", " ", ","]) expect(setup(text).includes("127.0.0.1")).toBeFalse();
});

test("an entry that is neither a block nor an address is refused", () => {
  for (const entry of [
    "localhost",
    "10.0.0.0/33",
    "::/129",
    "10.0.0.0/-1",
    "10.0.0.0/8/8",
    "10.0.0.0/",
    "1.2.3",
    "*",
    "10.0.0.0/a",
  ])
    expect(() => setup(`127.0.0.1,${entry}`), entry).toThrow(RangeError);
});

test("the mapping and the zone of an address are taken off, and nothing else", () => {
  expect(plainAddress("::ffff:192.0.2.1")).toBe("192.0.2.1");
  expect(plainAddress("fe80::1%eth0")).toBe("fe80::1");
  expect(plainAddress("192.0.2.1")).toBe("192.0.2.1");
  expect(plainAddress("2001:db8::1")).toBe("2001:db8::1");
});

test("an IPv6 zone is ignored, in a list and in an address", () => {
  expect(new Networks("fe80::1%eth0").includes("fe80::1")).toBeTrue();
  expect(new Networks("fe80::/64").includes("fe80::1%eth1")).toBeTrue();
});
